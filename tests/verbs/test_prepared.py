"""Convolver and Stream as objects: printed, pickled, cut anywhere."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import convkit as ck


def test_pickle_and_copy_after_use() -> None:
    convolver = ck.Convolver([1.0, 2.0], mode="same", boundary="reflect")
    x = np.arange(5.0)
    expected = convolver.apply(x)
    ck.Convolver([1.0, 2.0]).apply(x)
    for twin in (pickle.loads(pickle.dumps(convolver)), copy.deepcopy(convolver)):
        assert np.array_equal(twin.apply(x), expected)
    plain = ck.Convolver([1.0, 2.0])
    plain.apply(x)
    assert np.array_equal(pickle.loads(pickle.dumps(plain)).apply(x), np.convolve(x, [1.0, 2.0]))


def test_they_say_what_they_are() -> None:
    convolver = ck.Convolver([1, 2], mode="same", stride=2)
    assert repr(convolver) == "Convolver(2 int64, operation='convolution', mode='same', stride=2)"
    stream = convolver.stream()
    stream.push([1, 2, 3])
    assert repr(stream) == "Stream(2 int64 along axis -1, 3 samples taken)"


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(("size", "stride"), [(1, 2), (3, 1), (8, 3), (40, 1)])
def test_complex_streams_have_the_same_bits_however_cut(dtype: str, size: int, stride: int) -> None:
    source = np.random.default_rng(size)

    def numbers(count: int) -> np.ndarray:
        return (source.standard_normal(count) + 1j * source.standard_normal(count)).astype(dtype)

    x, convolver = numbers(150), ck.Convolver(numbers(size), mode="same", stride=stride)

    def streamed(cuts: list[int]) -> bytes:
        stream = convolver.stream()
        parts = [stream.push(block) for block in np.split(x, cuts)]
        return np.concatenate([*parts, stream.flush()]).tobytes()

    whole = streamed([])
    for _ in range(20):
        assert streamed(sorted(source.integers(0, 150, 9).tolist())) == whole
    assert streamed(list(range(150))) == whole


@pytest.mark.parametrize("boundary", ["edge", "reflect", "symmetric"])
def test_an_empty_signal_streams_as_it_convolves(boundary: str) -> None:
    stream = ck.Convolver([1.0, 2.0, 5.0], mode="same", boundary=boundary).stream()
    assert stream.push(np.empty(0)).size == 0
    assert stream.flush().size == 0
