"""Running sums by doubling: the passes of every size, their values, their bits, their instructions."""

from __future__ import annotations

import doctest
from itertools import pairwise

import numpy as np
import pytest

from convkit.codegen import boxes, library, pool
from convkit.codegen.program import join
from convkit.codegen.step import KERNEL, OUT, X
from tests.codegen.isa import TARGETS, written


def one_pass(each: boxes.Pass, s: np.ndarray, x: np.ndarray, axis: int, scale: float | None = None) -> np.ndarray:
    """Run one pass along an axis of two planes: all sums that it can form."""
    rows, columns = (n - (each.formed - 1) * (i == axis) for i, n in enumerate(x.shape))
    out = np.zeros((rows, columns), x.dtype)
    kernel = boxes.doubling_for(library.this_machine(), x.dtype.name, each.digits, "sum" if scale is None else "scale")
    factor = np.array([scale or 0], x.dtype)
    unit, x_unit = s.strides[axis], x.strides[axis]
    steps = boxes.ARGUMENTS.steps(
        library.address_of(kernel), 1, out=(OUT, 0), s=(KERNEL, 0), x=(X, 0), scale=(5, 0), rows=rows, columns=columns,
        out_row=out.strides[0], s_row=s.strides[0], x_row=x.strides[0], step=each.neighbours * unit,
        far=each.far * unit, x_step=each.neighbours * x_unit, x_far=each.far * x_unit,
    )  # fmt: skip
    program = join([[steps]], np.zeros(1, np.int64), 0)
    pool.run(program, [a.ctypes.data for a in (out, x, s, factor)])
    return out


def box(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    sums = x
    for each in boxes.passes_for(size):
        sums = one_pass(each, sums, x, axis)
    return sums


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1])
def test_every_size(axis: int, dtype: str) -> None:
    x = np.random.default_rng(1).integers(-99, 99, (90, 170) if axis else (170, 90)).astype(dtype)
    for size in range(2, 140):
        windows = np.lib.stride_tricks.sliding_window_view(x, size, axis)
        assert np.array_equal(box(x, size, axis), windows.sum(-1)), size


def test_the_digits_are_taken_two_at_a_time() -> None:
    for size in range(2, 600):
        passes = boxes.passes_for(size)
        assert passes[0].neighbours == 1
        assert passes[-1].formed == size
        assert all(a.formed == b.neighbours for a, b in pairwise(passes))
        assert sum(len(each.digits) for each in passes) == size.bit_length() - 1
        added = sum(1 + int(digit) for each in passes for digit in each.digits)
        assert added <= boxes.additions(size)
    assert boxes.passes_for(1) == []


def test_the_example() -> None:
    assert doctest.run_docstring_examples(boxes.passes_for, vars(boxes)) is None


@pytest.mark.parametrize("axis", [0, 1])
def test_the_scale_is_applied_once(axis: int) -> None:
    x = np.random.default_rng(2).standard_normal((40, 41)).astype("float32")
    each = boxes.Pass("11", 1)
    assert np.array_equal(one_pass(each, x, x, axis, 0.1), one_pass(each, x, x, axis) * np.float32(0.1))


@pytest.mark.parametrize("columns", [1, 5, 15, 16, 17, 63, 64, 65, 130])
def test_bits_do_not_depend_on_where_a_sum_stands(columns: int) -> None:
    x = np.random.default_rng(3).standard_normal((30, 200)).astype("float32")
    whole = box(x, 23, 1)
    for at in (0, 3, 200 - 22 - columns):
        part = np.ascontiguousarray(x[4:9, at : at + columns + 22])
        assert box(part, 23, 1).tobytes() == whole[4:9, at : at + columns].tobytes()


def test_a_sum_of_many_is_better_than_one_after_another() -> None:
    x = np.random.default_rng(4).random((1, 5000)).astype("float32")
    exact = np.lib.stride_tricks.sliding_window_view(x.astype(float), 1000, 1).sum(-1)
    error = np.abs(box(x, 1000, 1) - exact).max()
    assert error <= boxes.additions(1000) * 2.0**-24 * exact.max()


def test_a_nan_touches_its_windows_alone() -> None:
    x = np.ones((3, 100))
    x[1, 50], x[2, 10] = np.nan, np.inf
    sums = box(x, 13, 1)
    bad = ~np.isfinite(sums)
    assert bad[1].nonzero()[0].tolist() == list(range(38, 51))
    assert bad[2].nonzero()[0].tolist() == list(range(11))
    assert not bad[0].any()


@pytest.mark.parametrize("isa", TARGETS)
def test_nothing_is_put_on_the_stack(isa: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for dtype in boxes.SCALARS:
        for digits in ("0", "1", "00", "01", "10", "11"):
            for last in ("sum", "scale"):
                text, spilled = written(boxes.doubling_for(target, dtype, digits, last), isa)
                assert spilled == []
                assert "add" in text
