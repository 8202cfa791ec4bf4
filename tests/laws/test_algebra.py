"""The identities of convolution, on random integers exactly and on floats within rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit as ck
from tests.oracle.strategies import lattice, random_array

SHAPES = st.sampled_from((((9,), (4,)), ((6, 7), (2, 3)), ((5, 3, 4), (2, 2, 3)), ((3,), (8,))))
KINDS = st.sampled_from(("int64", "float64", "complex128", "float32"))
SEEDS = st.integers(0, 999)


def same(one: np.ndarray, other: np.ndarray) -> None:
    assert one.shape == other.shape
    if one.dtype.kind in "iu":
        assert np.array_equal(one, other)
    else:
        scale = np.abs(one).max(initial=1)
        np.testing.assert_allclose(one, other, atol=200 * np.finfo(one.dtype).eps * scale)


@lattice(60)
@given(SHAPES, KINDS, SEEDS)
def test_an_impulse_gives_the_kernel(shapes: tuple, kind: str, seed: int) -> None:
    size, kernel = shapes
    k = random_array(kernel, kind, seed)
    place = tuple(seed % n for n in size)
    x = np.zeros(size, kind)
    x[place] = 1
    out = ck.convolve(x, k)
    expected = np.zeros_like(out)
    expected[tuple(slice(p, p + n) for p, n in zip(place, kernel))] = k
    same(out, expected)
    # Correlation gives it reversed and conjugated.
    expected[tuple(slice(p, p + n) for p, n in zip(place, kernel))] = np.conj(np.flip(k))
    same(ck.correlate(x, k), expected)


@lattice(60)
@given(
    SHAPES,
    KINDS,
    SEEDS,
    st.sampled_from(("full", "same")),
    st.sampled_from(("zero", "reflect", "wrap", "edge")),
)
def test_an_impulse_kernel_gives_the_input_back(shapes: tuple, kind: str, seed: int, mode: str, boundary: str) -> None:
    x = random_array(shapes[0], kind, seed)
    one = np.ones((1,) * x.ndim, kind)
    same(ck.convolve(x, one, mode, boundary=boundary), x)
    anchor = tuple(seed % n for n in shapes[1])
    k = np.zeros(shapes[1], kind)
    k[anchor] = 1
    same(ck.convolve(x, k, "same", boundary=boundary, anchor=anchor), x)
    same(ck.correlate(x, k, "same", boundary=boundary, anchor=anchor), x)


@lattice(60)
@given(SHAPES, KINDS, SEEDS, st.sampled_from(("zero", "symmetric", "wrap")), st.sampled_from((1, 2)))
def test_linearity_in_both(shapes: tuple, kind: str, seed: int, boundary: str, stride: int) -> None:
    a, b = (random_array(shapes[0], kind, seed + i) for i in (0, 1))
    k, l = (random_array(shapes[1], kind, seed + i) for i in (2, 3))  # noqa: E741
    options = {"boundary": boundary, "stride": stride}
    for verb in (ck.convolve, ck.correlate):
        joint = verb(3 * a - 2 * b, k, "same", **options)
        same(joint, 3 * verb(a, k, "same", **options) - 2 * verb(b, k, "same", **options))
        joint = verb(a, 5 * k + l, "same", **options)
        same(joint, 5 * verb(a, k, "same", **options) + verb(a, l, "same", **options))


@lattice(60)
@given(SHAPES, KINDS, SEEDS)
def test_shift_in_shift_out(shapes: tuple, kind: str, seed: int) -> None:
    x, k = random_array(shapes[0], kind, seed), random_array(shapes[1], kind, seed + 1)
    shift = tuple((seed >> i) % 4 for i in range(x.ndim))
    axes = tuple(range(x.ndim))
    wide = np.pad(x, [(0, 3)] * x.ndim)
    for verb in (ck.convolve, ck.correlate):
        same(verb(np.roll(wide, shift, axes), k), np.roll(verb(wide, k), shift, axes))
        options = {"boundary": "wrap"}
        same(
            verb(np.roll(x, shift, axes), k, "same", **options),
            np.roll(verb(x, k, "same", **options), shift, axes),
        )


@lattice(60)
@given(SHAPES, KINDS, SEEDS)
def test_full_convolution_commutes_associates_and_distributes(shapes: tuple, kind: str, seed: int) -> None:
    a = random_array(shapes[0], kind, seed)
    b, c = (random_array(shapes[1], kind, seed + i) for i in (1, 2))
    d = random_array(tuple(n + 1 for n in shapes[1]), kind, seed + 3)
    same(ck.convolve(a, b), ck.convolve(b, a))
    same(ck.convolve(ck.convolve(a, b), d), ck.convolve(a, ck.convolve(b, d)))
    same(ck.convolve(a, b + c), ck.convolve(a, b) + ck.convolve(a, c))


def test_correlation_neither_commutes_nor_associates() -> None:
    a, b, c = np.array([1, 2, 3]), np.array([0, 1, 4]), np.array([2, 0, 5])
    assert not np.array_equal(ck.correlate(a, b), ck.correlate(b, a))
    assert np.array_equal(ck.correlate(a, b), ck.correlate(b, a)[::-1])
    left, right = ck.correlate(ck.correlate(a, b), c), ck.correlate(a, ck.correlate(b, c))
    assert left.shape == right.shape
    assert not np.array_equal(left, right)
    # What holds instead: the second kernel moves across by a convolution.
    assert np.array_equal(left, ck.correlate(a, ck.convolve(b, c)))


@lattice(60)
@given(
    SHAPES,
    KINDS,
    SEEDS,
    st.sampled_from(("full", "same", "valid")),
    st.sampled_from(("zero", "edge", "reflect")),
)
def test_correlation_is_convolution_with_the_conjugate_reversed(
    shapes: tuple, kind: str, seed: int, mode: str, boundary: str
) -> None:
    x, k = random_array(shapes[0], kind, seed), random_array(shapes[1], kind, seed + 1)
    if mode == "valid" and any(n < m for n, m in zip(x.shape, k.shape)):
        x, k = k, x
    for stride, dilation in ((1, 1), (2, 1), (1, 2)):
        if mode == "valid" and dilation == 2:
            continue
        options = {"boundary": boundary, "stride": stride, "dilation": dilation}
        same(ck.correlate(x, k, mode, **options), ck.convolve(x, np.conj(np.flip(k)), mode, **options))


@lattice(40)
@given(SHAPES, SEEDS)
def test_convolution_is_multiplication_of_polynomials_and_of_spectra(shapes: tuple, seed: int) -> None:
    x, k = random_array(shapes[0], "float64", seed), random_array(shapes[1], "float64", seed + 1)
    out = ck.convolve(x, k)
    axes = range(x.ndim)
    spectra = np.fft.fftn(x, out.shape, axes) * np.fft.fftn(k, out.shape, axes)
    same(out, np.real(np.fft.ifftn(spectra)))
    circular = ck.convolve(x, k, "same", boundary="wrap", anchor=0)
    folded = np.zeros(x.shape)
    for index in np.ndindex(k.shape):
        folded[tuple(i % n for i, n in zip(index, x.shape))] += k[index]
    same(circular, np.real(np.fft.ifftn(np.fft.fftn(x) * np.fft.fftn(folded))))


@lattice(40)
@given(SEEDS, st.sampled_from(("full", "same")))
def test_an_outer_product_is_two_passes(seed: int, mode: str) -> None:
    x = random_array((9, 8), "int64", seed)
    column, row = random_array((4,), "int64", seed + 1), random_array((3,), "int64", seed + 2)
    both = ck.convolve(x, np.outer(column, row), mode, boundary="symmetric")
    twice = ck.convolve(x, column, mode, axes=0, boundary="symmetric")
    twice = ck.convolve(twice, row, mode, axes=1, boundary="symmetric") if mode == "same" else None
    if twice is not None:
        same(both, twice)
    zero = ck.convolve(ck.convolve(x, column, mode, axes=0), row, mode, axes=1)
    same(ck.convolve(x, np.outer(column, row), mode), zero)


@pytest.mark.parametrize("k", [4, 5])
def test_the_sum_of_the_output_is_the_product_of_the_sums(k: int) -> None:
    x, kernel = random_array((11, 6), "int64", 1), random_array((k, 3), "int64", 2)
    assert ck.convolve(x, kernel).sum() == x.sum() * kernel.sum()
    assert ck.convolve(x, kernel, "same", boundary="wrap").sum() == x.sum() * kernel.sum()
