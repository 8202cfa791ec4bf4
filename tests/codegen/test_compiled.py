"""The algorithm `compiled`: every boundary, rank and layout; the same bits however it is called."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest

import convkit as ck
from convkit.algorithms import compiled
from convkit.errors import AccuracyError
from tests.oracle.strategies import Case, random_array
from tests.oracle.test_algorithms import assert_within_bound_of_sums

BOUNDARIES = ("zero", "constant", "edge", "reflect", "symmetric", "wrap", ("reflect", "zero"))
SHAPES = [((900,), (23,)), ((45, 61), (4, 7)), ((11, 12, 40), (3, 2, 5)), ((4, 5, 13, 17), (2, 3, 2, 3))]
X, K = random_array((400, 350), "float64", 2), random_array((9, 6), "float64", 3)


@pytest.fixture(autouse=True)
def restore(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small problems too, and as many threads afterwards as before."""
    monkeypatch.setattr(compiled, "LEAST_PRODUCTS", 0)
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "kernel"), SHAPES)
def test_every_boundary_and_rank(shape: tuple, kernel: tuple, boundary: object, dtype: str) -> None:
    sides = boundary if isinstance(boundary, str) else (boundary,) * len(shape)
    for operation, mode, dilation in (("convolution", "full", 1), ("correlation", "same", 2)):
        options = {"boundary": sides, "fill": 2.5, "dilation": dilation}
        case = Case(random_array(shape, dtype, 1), random_array(kernel, dtype, 2), operation, mode, options)
        assert_within_bound_of_sums(case, "compiled")


@pytest.mark.parametrize("small", [0, 1 << 16])
def test_the_frame_and_the_inside_meet(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of a few outputs, every one of them beside another; with and without a frame."""
    expected = [ck.convolve(X, K, mode, boundary="wrap", method="compiled").tobytes() for mode in ("full", "same")]
    monkeypatch.setattr(compiled, "SMALL_IMAGE", small)
    monkeypatch.setattr(compiled, "TILE_OUTPUTS", (300, 300))
    monkeypatch.setattr(compiled, "TILE_COLUMNS", 19)
    again = [ck.convolve(X, K, mode, boundary="wrap", method="compiled").tobytes() for mode in ("full", "same")]
    assert again == expected


def test_layouts() -> None:
    """Views with any strides in, views with any strides out, other types of samples and of bytes."""
    reference = ck.convolve(X, K, "same", method="compiled")
    wide = np.zeros((800, 700))
    wide[::2, ::2] = X
    backwards = X[::-1, ::-1].copy()[::-1, ::-1]
    unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float64).reshape(X.shape)
    for x in (np.asfortranarray(X), wide[::2, ::2], backwards, unaligned, X.astype(">f8")):
        assert ck.convolve(x, K, "same", method="compiled").tobytes() == reference.tobytes()
        assert ck.convolve(x, np.asfortranarray(K), "same", method="compiled").tobytes() == reference.tobytes()
    for out in (wide[::2, ::2], wide[::-2, ::-2], np.empty(X.shape[::-1]).T):
        assert ck.convolve(X, K, "same", method="compiled", out=out) is out
        assert np.array_equal(out, reference)
    image = (np.abs(X) * 40).astype(np.uint8)
    assert np.array_equal(
        ck.convolve(image, K, "same", method="compiled"), ck.convolve(image.astype(float), K, "same", method="compiled")
    )


def test_a_batch_threads_and_callers_change_no_bit() -> None:
    images = random_array((5, 3, 80, 90), "float32", 4)
    kernel = K.astype(np.float32)
    one = [ck.convolve(image, kernel, "same", boundary="reflect", method="compiled") for image in images[:, 0]]
    for count in (1, 2, 3):
        ck.set_num_threads(count)
        many = ck.convolve(images, kernel, "same", boundary="reflect", axes=(2, 3), method="compiled")
        assert all(a.tobytes() == b.tobytes() for a, b in zip(many[:, 0], one, strict=True))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: ck.convolve(X, K, method="compiled").tobytes(), range(24)))
    assert len(set(results)) == 1


@pytest.mark.parametrize("batch", [1, 4])
def test_each_channel_its_own_kernel(batch: int) -> None:
    x, w = random_array((batch, 6, 30, 41), "float32", 5), random_array((6, 1, 3, 5), "float32", 6)
    ours = ck.conv(x, w, groups=6, padding=2, method="compiled")
    for b, g in product(range(batch), range(6)):
        alone = ck.conv(x[b : b + 1, g : g + 1], w[g : g + 1], padding=2, method="compiled")
        assert ours[b, g].tobytes() == alone[0, 0].tobytes()
    assert np.allclose(ours, ck.conv(x, w, groups=6, padding=2, method="direct"), atol=1e-5)


def test_a_nan_stays_in_its_windows() -> None:
    x, k = X.copy(), K.copy()
    x[100, 200], x[0, 0] = np.nan, np.inf
    assert np.array_equal(
        np.isfinite(ck.convolve(x, k, method="compiled")), np.isfinite(ck.convolve(x, k, method="direct"))
    )
    k[2, 3] = np.inf  # times the zeros beyond the edge it would be a NaN; such kernels go another way
    assert np.array_equal(ck.convolve(X, k, method="compiled"), ck.convolve(X, k, method="direct"), equal_nan=True)


def _in_child(expected: bytes) -> None:
    same = ck.convolve(X, K, method="compiled").tobytes() == expected
    os._exit(0 if same else 3)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_after_use() -> None:
    ck.set_num_threads(2)
    child = multiprocessing.get_context("fork").Process(
        target=_in_child, args=(ck.convolve(X, K, method="compiled").tobytes(),)
    )
    child.start()
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize(
    ("dtype", "stride", "words"),
    [
        ("float64", 2, "the stride leaves some out"),
        ("complex128", 1, "no compiled kernel for complex128"),
        ("float64", 1, "one sample takes 10800 products, fewer than the 16384"),
    ],
)
def test_what_it_leaves_to_others(dtype: str, stride: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LEAST_PRODUCTS", 1 << 14)
    with pytest.raises(AccuracyError) as caught:
        ck.convolve(X[:10, :20].astype(dtype), K, "same", stride=stride, method="compiled")
    assert caught.value.code == "accuracy.method-does-not-apply"
    assert words in str(caught.value)


def test_it_is_chosen_where_it_is_fastest() -> None:
    for size in (3, 5, 7, 11, 15):
        assert ck.plan((2048, 2048), (size, size), "float32", mode="same").choice == "compiled"
    assert ck.plan((1 << 20,), (31,), "float32", mode="same").choice == "rows"
