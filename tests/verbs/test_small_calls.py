"""Calls that come again take a shorter way: it means the same, whatever the arrays are like."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import convkit as ck
from convkit.algorithms.support import alone
from convkit.codegen.memory import address
from convkit.errors import DTypeError, IntegerOverflowError, OptionError, ShapeError

Array = np.ndarray[Any, Any]
CASES = [
    ("compiled", (61, 67), (3, 4), "float32"), ("compiled", (61, 67), (3, 4), "complex64"),
    ("rows", (1500,), (31,), "float64"), ("box", (61, 67), (7, 8), "float32"),
    ("separable", (61, 67), (3, 4), "float32"), ("overlap-save", (4000,), (300,), "float64"),
    ("overlap-save", (4000,), (300,), "complex128"), ("compiled-exact", (61, 67), (3, 4), "uint8"),
    ("compiled-exact", (61, 67), (3, 4), "int64"), ("exact-integer", (30,), (4,), "int64"),
    ("dot", (90,), (5,), "float32"), ("gemm", (61, 67), (3, 4), "float64"),
]  # fmt: skip
SOURCE = np.random.default_rng(8)


def numbers(shape: tuple[int, ...], dtype: str) -> Array:
    kind = np.dtype(dtype).kind
    if kind in "iu":
        return SOURCE.integers(0, 50, shape).astype(dtype)
    values = SOURCE.standard_normal(shape)
    return (values + 1j * SOURCE.standard_normal(shape) if kind == "c" else values).astype(dtype)


def kernel_for(method: str, shape: tuple[int, ...], dtype: str) -> Array:
    if method == "box":
        return np.full(shape, SOURCE.random(), dtype)
    if method == "separable":
        return np.multiply.outer(*(numbers((n,), dtype) for n in shape))
    return numbers(shape, dtype)


def ways(k: Array, **options: Any) -> list[Callable[..., Array]]:
    """The verb and the object."""
    convolver = ck.Convolver(k, mode="same", **options)
    return [lambda x, out=None: ck.convolve(x, k, "same", out=out, **options), convolver.apply]


def layouts(x: Array) -> list[Array]:
    """The same numbers, in memory in other ways."""
    wide = np.zeros(tuple(3 * n for n in x.shape), x.dtype)
    strided = wide[tuple(slice(1, None, 3) for _ in x.shape)]
    strided[...] = x
    backwards = np.ascontiguousarray(x[::-1])[::-1]
    fixed = x.copy()
    fixed.flags.writeable = False
    packed = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    packed[...] = x
    return [x, strided, backwards, np.asfortranarray(x), fixed, x.astype(x.dtype.newbyteorder()), packed]


@pytest.mark.parametrize(("method", "shape", "kernel", "dtype"), CASES)
def test_every_call_gives_the_bits_of_the_first(
    method: str, shape: tuple[int, ...], kernel: tuple[int, ...], dtype: str
) -> None:
    k = kernel_for(method, kernel, dtype)
    x = numbers(shape, dtype)
    expected = ck.convolve(x, k, "same", method="direct" if "exact" not in method else "auto")
    scale = np.abs(expected).max()
    for call in ways(k, method=method):
        first = call(x)
        assert np.abs(first - expected).max() <= (0 if "exact" in method else 1e-5 * scale)
        for again in layouts(x) * 2:
            assert np.array_equal(call(again), first)
            out = np.full_like(first, 77)
            assert call(again, out) is out
            assert np.array_equal(out, first)
            apart = np.full((*first.shape, 2), 77, first.dtype)[..., 0]
            assert np.array_equal(call(again, apart), first)
        same = x.astype(first.dtype)
        for call_same in ways(k, method=method, dtype=first.dtype.name) if same.dtype == x.dtype else ():
            for _ in range(2):
                overlapping = x.copy()
                assert np.array_equal(call_same(overlapping, overlapping), first)
        with pytest.raises(ShapeError):
            call(x, np.empty((*first.shape, 2), first.dtype))
        with pytest.raises(DTypeError):
            call(x, np.empty(first.shape, "float16"))
        fixed = np.empty_like(first)
        fixed.flags.writeable = False
        with pytest.raises(OptionError):
            call(x, fixed)


@pytest.mark.parametrize(("method", "shape", "kernel", "dtype"), CASES)
def test_a_kernel_that_is_changed_in_place_is_another_kernel(
    method: str, shape: tuple[int, ...], kernel: tuple[int, ...], dtype: str
) -> None:
    x, k = numbers(shape, dtype), kernel_for(method, kernel, dtype)
    before = [ck.convolve(x, k, "same", method=method) for _ in range(3)][-1]
    k *= np.array(2, k.dtype)
    assert np.array_equal(ck.convolve(x, k, "same", method=method), 2 * before)
    out = k if k.shape == before.shape else None
    assert np.array_equal(ck.convolve(x, k, "same", method=method, out=out), 2 * before)


def test_the_result_may_be_written_over_the_kernel() -> None:
    x = numbers((50, 40), "float32")
    for _ in range(3):
        k = x * 2
        expected = ck.convolve(x, k.copy(), "same", method="compiled")
        assert np.array_equal(ck.convolve(x, k, "same", method="compiled", out=k), expected)


@pytest.mark.parametrize(("method", "shape", "kernel", "dtype"), [case for case in CASES if case[3][0] in "fc"])
@pytest.mark.parametrize("where", ["kernel", "samples"])
def test_what_is_not_finite_stays_in_its_windows_in_later_calls(
    method: str, shape: tuple[int, ...], kernel: tuple[int, ...], dtype: str, where: str
) -> None:
    x, k = numbers(shape, dtype), kernel_for(method, kernel, dtype)
    ck.convolve(x, k, "same", method=method)
    if where == "kernel":
        k[(1,) * k.ndim] = np.nan
        if method in ("separable", "box"):
            method = "auto"
    else:
        x[(20,) * x.ndim] = np.inf
    expected = ck.convolve(x, k, "same", method="direct")
    for call in ways(k, method=method):
        for _ in range(3):
            assert np.array_equal(np.isfinite(call(x)), np.isfinite(expected))


def test_integers_that_do_not_fit_are_refused_every_time() -> None:
    x, k = np.full((64, 64), 200, np.uint8), np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    small = np.ones_like(x)
    for call in ways(k, dtype="uint8"):
        for _ in range(3):
            assert call(small).max() == 16
            with pytest.raises(IntegerOverflowError):
                call(x)
    for call in ways(k, dtype="uint8", overflow="saturate"):
        assert [call(x).max() for _ in range(3)] == [255] * 3
    for call in ways(k, dtype="uint8", overflow="wrap"):
        assert [call(x)[5, 5] for _ in range(3)] == [3200 % 256] * 3


def test_integers_of_any_size_one_after_another() -> None:
    """What is exact for small samples is not for large ones: each call looks anew."""
    k = np.array([[1, -2, 1], [2, 4, 2], [1, 3, 1]])
    for call in ways(k):
        for bits in (3, 20, 40, 56, 20, 3):
            x = SOURCE.integers(-(2**bits), 2**bits, (64, 64))
            expected = ck.convolve(x, k, method="exact-integer")[1:-1, 1:-1]
            assert np.array_equal(call(x), expected)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("operation", ["convolution", "correlation"])
@pytest.mark.parametrize("dtypes", [("int64", "int64"), ("uint8", "int32"), ("bool", "int64"), ("uint64", "uint64")])
def test_short_exact_signals_up_to_the_last_that_fits(mode: str, operation: str, dtypes: tuple[str, str]) -> None:
    verb = ck.convolve if operation == "convolution" else ck.correlate
    k = np.array([1, 2, 0, 4]).astype(dtypes[1])
    bits = 64 if dtypes[0] == "uint64" else 63
    for peak in (1, 200, 2**bits // 7 - 1, 2**bits // 7 + 1, 2 ** (bits - 1)):
        if not np.can_cast(np.min_scalar_type(peak), dtypes[0]):
            continue
        x = np.array([0, peak, peak, peak, 1, peak]).astype(dtypes[0])
        exact = verb(x.astype(object), k.astype(object), mode, boundary="zero")
        for _ in range(3):  # the first call, and those that take the shorter way
            if max(exact) >= 2**bits:
                with pytest.raises(IntegerOverflowError):
                    verb(x, k, mode)
            else:
                assert verb(x, k, mode).tolist() == exact.tolist()


def test_nothing_warns_of_large_kernels() -> None:
    x, k = np.ones((64, 64), np.float32), np.full((3, 3), 1e30, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in ways(k, method="compiled"):
            assert np.allclose([call(x)[9, 9] for _ in range(3)], 9e30)


def test_a_kernel_conjugated_by_a_correlation() -> None:
    x, k = numbers((50, 40), "complex64"), numbers((3, 4), "complex64")
    expected = ck.correlate(x, k, "valid", method="direct")
    convolver = ck.Convolver(k, "correlation", "valid", method="compiled")
    for _ in range(3):
        assert np.allclose(ck.correlate(x, k, "valid", method="compiled"), expected, rtol=1e-4, atol=1e-4)
        assert np.allclose(convolver.apply(x), expected, rtol=1e-4, atol=1e-4)


def test_programs_are_kept_for_a_few_strides_only() -> None:
    made: list[alone.Strides] = []
    programs = alone.Programs(lambda strides: made.append(strides))  # type: ignore[arg-type,return-value]
    for n in range(10 * alone.KEPT):
        assert programs[n, 4] is programs[n, 4]
        assert len(programs) <= alone.KEPT
    assert made == [(0, 0, 0, n, 4) for n in range(10 * alone.KEPT)]


def test_subclasses_keep_to_the_long_way() -> None:
    class Own(np.ndarray):
        pass

    x, k = numbers((64, 64), "float32"), numbers((3, 3), "float32")
    for call in ways(k):
        expected = call(x)
        assert np.array_equal(np.asarray(call(x.view(Own))), expected)
        out = np.empty_like(x).view(Own)
        assert np.array_equal(np.asarray(call(x, out)), expected)


def test_addresses_are_those_that_arrays_tell() -> None:
    x = numbers((5, 6), "float32")
    for view in (x, x[1:, 2:], x[::-1, ::-1], x.T, x.view(np.recarray), np.asfortranarray(x), x[0, 0]):
        array = np.asarray(view)
        assert address(array) == array.ctypes.data
