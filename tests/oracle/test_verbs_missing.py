"""NaN, infinities, ``nan="omit"``, ``mask`` and ``weights`` against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit as ck
from tests.oracle.agreement import truth, verb
from tests.oracle.strategies import Case, array_cases, lattice, random_array

FLOATS = (("float64", "float64"), ("float32", "float32"), ("float64", "float32"))


def _close(ours: np.ndarray, expected: np.ndarray, case: Case) -> None:
    assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
    assert np.array_equal(np.isnan(ours), np.isnan(expected))
    size = np.abs(case.k[np.isfinite(case.k)]).sum()
    scale = 50 * (np.abs(case.x[np.isfinite(case.x)]).max(initial=0) + 2) * size
    finite = np.isfinite(expected)
    assert np.array_equal(ours[~finite & ~np.isnan(expected)], expected[~finite & ~np.isnan(expected)])
    assert np.all(np.abs(ours[finite] - expected[finite]) <= scale * np.finfo(expected.dtype).eps)


def _spoiled(case: Case, values: tuple[float, ...], seed: int, share: float = 0.2) -> Case:
    source = np.random.default_rng(seed)
    case.x = np.where(source.random(case.x.shape) < share, source.choice(values, case.x.shape), case.x).astype(
        case.x.dtype
    )
    return case


@lattice(150)
@given(array_cases(dtypes=FLOATS), st.integers(0, 99), st.sampled_from((0.02, 0.2)))
def test_nan_and_infinity_touch_exactly_their_windows(case: Case, seed: int, share: float) -> None:
    case = _spoiled(case, (np.nan, np.inf, -np.inf), seed, share)
    _close(verb(case), truth(case), case)


@lattice(60)
@given(array_cases(dtypes=FLOATS), st.integers(0, 99), st.sampled_from((np.nan, np.inf, 0.0)))
def test_kernels_that_are_not_finite(case: Case, seed: int, value: float) -> None:
    flat = case.k.reshape(-1)
    flat[seed % flat.size] = value
    _close(verb(case), truth(case), case)


@pytest.mark.parametrize(
    ("method", "shape"),
    [
        ("direct", (900,)),
        ("direct", (60, 47)),
        ("fft", (900,)),
        ("fft", (60, 47)),
        ("overlap-save", (900,)),
        ("gemm", (60, 47)),
        ("separable", (60, 47)),
        ("low-rank", (60, 47)),
    ],
)
def test_one_nan_under_every_algorithm(method: str, shape: tuple[int, ...]) -> None:
    x = random_array(shape, "float64", 1)
    k = np.arange(1.0, 8.0)
    if len(shape) == 2:
        k = np.outer(np.arange(1.0, 7.0), np.arange(3.0, 8.0))
        k += 0 if method == "separable" else np.outer([1, 0, 2, 1, 0, 1], [0, 1, 1, 0, 2])
    x[tuple(n // 2 for n in shape)] = np.nan
    ours = ck.convolve(x, k, "same", method=method)
    spoiled = np.isnan(ours)
    assert spoiled.sum() == k.size
    expected = ck.convolve(x, k, "same", method="direct")
    np.testing.assert_allclose(ours, expected, atol=1e-12)


@lattice(120)
@given(array_cases(dtypes=FLOATS), st.integers(0, 99), st.sampled_from((0.1, 0.7)))
def test_omit(case: Case, seed: int, share: float) -> None:
    case = _spoiled(case, (np.nan,), seed, share)
    case.k = np.where(np.abs(case.k) < 0.1, case.k.dtype.type(0.5), case.k)
    case.options.pop("fill")
    _conditioned(verb(case, nan="omit"), truth(case, nan="omit"), case)


@lattice(100)
@given(array_cases(dtypes=FLOATS, axes="never"), st.integers(0, 99), st.booleans())
def test_masks_and_weights(case: Case, seed: int, spoiled: bool) -> None:
    source = np.random.default_rng(seed)
    mask = source.random(case.x.shape) < 0.7
    weights = np.where(source.random(case.x.shape) < 0.3, 0.0, source.integers(1, 5, case.x.shape) / 4)
    case.k = np.where(np.abs(case.k) < 0.1, case.k.dtype.type(0.5), case.k)
    case.options.pop("fill")
    if spoiled:
        # What a mask or a weight of 0 hides may be anything.
        case.x = np.where(mask & (weights > 0), case.x, case.x.dtype.type(np.nan))
    else:
        _conditioned(verb(case, mask=mask), truth(case, mask=mask), case)
        _conditioned(verb(case, weights=weights), truth(case, weights=weights), case)
    more = {"nan": "omit", "weights": weights, "mask": mask}
    _conditioned(verb(case, **more), truth(case, **more), case)


def _conditioned(ours: np.ndarray, expected: np.ndarray, case: Case) -> None:
    """Means over few samples with a small share of the kernel: allow for the division."""
    assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
    assert np.array_equal(np.isnan(ours), np.isnan(expected))
    scale = (
        (np.abs(case.x[np.isfinite(case.x)]).max(initial=0) + 2)
        * np.abs(case.k).sum() ** 2
        / np.abs(case.k).min()
        * 400
    )
    present = ~np.isnan(expected)
    assert np.all(np.abs(ours[present] - expected[present]) <= scale * np.finfo(expected.dtype).eps)


def test_hidden_samples_are_never_looked_at() -> None:
    x, k = random_array((9, 8), "float64", 2), random_array((3, 4), "float64", 3)
    mask = np.ones(x.shape, bool)
    mask[2:4, 3] = False
    plain = ck.convolve(x, k, "same", mask=mask)
    x[~mask] = np.nan
    assert np.array_equal(ck.convolve(x, k, "same", mask=mask), plain)
    assert np.array_equal(ck.convolve(x, k, "same", weights=mask.astype(float)), plain)
    assert not np.isnan(plain).any()


def test_nothing_missing_changes_nothing() -> None:
    x, k = random_array((20, 17), "float64", 4), random_array((4, 3), "float64", 5)
    plain = ck.correlate(x, k, "same", boundary="symmetric")
    np.testing.assert_allclose(ck.correlate(x, k, "same", boundary="symmetric", nan="omit"), plain, atol=1e-12)
    np.testing.assert_allclose(
        ck.correlate(x, k, "same", boundary="symmetric", weights=np.ones(x.shape)), plain, atol=1e-12
    )


def test_a_constant_stays_constant_over_any_gaps() -> None:
    x = np.full((12, 11), 7.0)
    x[np.random.default_rng(6).random(x.shape) < 0.5] = np.nan
    k = np.arange(1.0, 21.0).reshape(5, 4)
    out = ck.convolve(x, k / k.sum(), "same", boundary="wrap", nan="omit")
    np.testing.assert_allclose(out, 7.0, rtol=1e-12)
