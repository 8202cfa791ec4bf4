"""``ck.convolve`` and ``ck.correlate`` against the oracle, over the whole option lattice."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit as ck
from convkit.errors import IntegerOverflowError
from convkit.oracle import adapters
from tests.oracle.agreement import assert_agrees, magnitudes, truth, verb
from tests.oracle.strategies import EXACT_DTYPES, Case, array_cases, lattice, random_array


@lattice(400)
@given(array_cases())
def test_every_option(case: Case) -> None:
    expected = truth(case)
    scale = magnitudes(case).max(initial=0)
    before = case.x.copy(), case.k.copy()
    assert_agrees(verb(case), expected, scale, case.k.size)
    assert np.array_equal(case.x, before[0])
    assert np.array_equal(case.k, before[1])


@lattice(150)
@given(array_cases())
def test_elementwise_accuracy_holds_output_by_output(case: Case) -> None:
    expected = truth(case)
    assert_agrees(verb(case, accuracy="elementwise"), expected, magnitudes(case), case.k.size)


@lattice(120)
@given(array_cases(dtypes=EXACT_DTYPES), st.sampled_from(("uint8", "int8", "int16", "uint32")))
def test_overflow(case: Case, dtype: str) -> None:
    for policy in ("saturate", "wrap"):
        expected = truth(case, dtype=dtype, overflow=policy)
        assert_agrees(verb(case, dtype=dtype, overflow=policy), expected, 0, 0)
    try:
        expected = truth(case, dtype=dtype)
    except IntegerOverflowError:
        with pytest.raises(IntegerOverflowError):
            verb(case, dtype=dtype)
    else:
        assert_agrees(verb(case, dtype=dtype), expected, 0, 0)


@pytest.mark.parametrize("policy", ["saturate", "wrap"])
@pytest.mark.parametrize(("x", "k"), [("int64", "int64"), ("uint64", "uint64"), ("uint64", "uint8")])
def test_overflow_of_the_widest_integers(policy: str, x: str, k: str) -> None:
    values = np.array([np.iinfo(x).max, np.iinfo(x).min, 3, np.iinfo(x).max // 3, 1], x)
    kernel = np.array([2, 1, np.iinfo(k).max], k)
    case = Case(values, kernel)
    assert_agrees(verb(case, overflow=policy), truth(case, overflow=policy), 0, 0)
    with pytest.raises(IntegerOverflowError):
        verb(case)


def test_sums_that_overflow_on_the_way_but_fit_in_the_end() -> None:
    big = 2**62
    case = Case(np.array([big, big, -big, -big, 5]), np.array([1, 1, 1, 1]), mode="valid")
    assert verb(case).tolist() == truth(case).tolist() == [0, 5 - big]
    case = Case(np.array([2**63 - 1, 2**63 - 1]), np.array([1, -1]), mode="valid")
    assert verb(case).tolist() == [0]


@lattice(60)
@given(array_cases(dtypes=(("uint8", "float32"), ("uint8", "float64"), ("int16", "float64"))))
def test_float_results_into_integers_round_and_saturate(case: Case) -> None:
    case.k = np.round(case.k * 4) / 4  # quarters, so that sums are exact and halves are met
    if case.options["fill"] == 0.5:
        case.options["fill"] = 2
    for dtype in ("uint8", "int16"):
        assert_agrees(verb(case, dtype=dtype), truth(case, dtype=dtype), 0, 0)


@lattice(60)
@given(array_cases(dtypes=(("float64", "float64"), ("float32", "float32"), ("int64", "int64"))))
def test_a_float_dtype_can_be_asked_for(case: Case) -> None:
    for dtype in ("float32", "float64"):
        ours = verb(case, dtype=dtype)
        assert ours.dtype == dtype
        scale = magnitudes(case).max(initial=0)
        error = np.abs(ours.astype(np.float64) - truth(case, dtype="float64"))
        assert np.all(error <= 8 * (case.k.size + 8) * np.finfo(np.float32).eps * scale)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_object_arrays_run_through_the_oracle(mode: str) -> None:
    x = np.array([Fraction(n, 7) for n in range(1, 7)], dtype=object)
    k = np.array([Fraction(1, 3), Fraction(2, 5)], dtype=object)
    ours = ck.convolve(x, k, mode, boundary="reflect")
    assert ours.dtype == object
    assert ours.tolist() == adapters.oracle_convolve(x, k, mode, boundary="reflect").tolist()
    assert isinstance(ours[0], Fraction)
    decimals = np.array([Decimal("0.1")] * 4, dtype=object)
    assert ck.correlate(decimals, np.array([Decimal(3), Decimal(4)], dtype=object), "valid")[0] == Decimal("0.7")


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("operation", ["convolution", "correlation"])
def test_hardly_any_samples(size: int, k: int, operation: str) -> None:
    for mode in ("full", "same"):
        for stride in (1, 3):
            case = Case(random_array((size,), "int64", 1), random_array((k,), "int64", 2), operation, mode)
            case.options = {"stride": stride}
            assert_agrees(verb(case), truth(case), 0, 0)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (3, 0, 4)])
def test_empty_axes(shape: tuple[int, ...]) -> None:
    k = random_array((2, 3, 2)[: len(shape)], "float64", 3)
    for mode in ("full", "same"):
        case = Case(np.zeros(shape), k, mode=mode)
        assert_agrees(verb(case), truth(case), 0, 1)
    for axes in ((0,), (len(shape) - 1,)):
        case = Case(np.zeros(shape), k[(slice(None), *[0] * (len(shape) - 1))], options={"axes": axes})
        assert_agrees(verb(case), truth(case), 0, 1)


@pytest.mark.parametrize("boundary", ["edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("operation", ["convolution", "correlation"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_kernels_many_times_longer_than_the_array(boundary: str, operation: str, size: int) -> None:
    case = Case(random_array((size,), "int64", 4), random_array((24,), "int64", 5), operation, "same")
    case.options = {"boundary": boundary}
    assert_agrees(verb(case), truth(case), 0, 0)
    case = Case(random_array((size, 2), "float64", 4), random_array((13, 8), "float64", 5), operation, "full")
    case.options = {"boundary": (boundary, ("wrap", boundary))}
    assert_agrees(verb(case), truth(case), magnitudes(case).max(), case.k.size)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize("boundary", ["zero", "reflect", ("wrap", "edge")])
@pytest.mark.parametrize("operation", ["convolution", "correlation"])
def test_long_signals(dtype: str, boundary: str, operation: str) -> None:
    """Long enough for transforms to pay, checked by sampling outputs against exact sums."""
    x, k = random_array((6001,), dtype, 6), random_array((310,), dtype, 7)
    case = Case(x, k, operation, "same", {"boundary": boundary})
    ours, spread = verb(case), extended_norms(case)
    laid = np.conj(k) if operation == "correlation" else k[::-1]
    anchor = k.size // 2 if operation == "correlation" else k.size - 1 - (k.size - 1) // 2
    sides = (boundary, boundary) if isinstance(boundary, str) else boundary
    padded = np.pad(x, (k.size, 0), mode="constant" if sides[0] == "zero" else sides[0])
    padded = np.concatenate(
        [padded[: k.size], np.pad(x, (0, k.size), mode="constant" if sides[1] == "zero" else sides[1])]
    )
    for i in (0, 1, 154, 155, 156, 2999, 4000, 5999, 6000):
        window = padded[k.size + i - anchor : k.size + i - anchor + k.size]
        exact = np.sum(window.astype(np.complex128) * laid.astype(np.complex128))
        assert abs(ours[i] - exact) <= 40 * np.finfo(dtype).eps * spread


def extended_norms(case: Case) -> float:
    return float(np.linalg.norm(np.pad(case.x, case.k.size, mode="reflect")) * np.linalg.norm(case.k))
