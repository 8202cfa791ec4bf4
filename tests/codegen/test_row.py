"""The row kernel: its values around the edges of vectors and tiles, its bits, its instructions."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.codegen import library, pool, row
from convkit.codegen.program import join
from convkit.codegen.step import KERNEL, OUT, X
from tests.codegen.isa import TARGETS, written

DTYPES = ("float32", "float64")
ADD = {"avx512": r"vfmadd\w+p[sd]\t.*%zmm", "avx2": r"vfmadd\w+p[sd]\t.*%ymm", "neon": r"fmla\t.*v\d+\.(?:4s|2d)"}


def along(x: np.ndarray, w: np.ndarray, out: np.ndarray, dilation: int = 1) -> None:
    """Run the kernel on two-dimensional views whose columns are neighbours."""
    schedule = row.row_schedule_for(library.this_machine(), x.dtype.name, len(w), dilation)
    steps = row.ARGUMENTS.steps(
        library.address_of(schedule), 1, out=(OUT, 0), x=(X, 0), w=(KERNEL, 0), rows=len(out), columns=out.shape[1],
        out_row=out.strides[0], x_row=x.strides[0], x_step=dilation * x.itemsize, lead=0, **schedule.counts(len(w)),
    )  # fmt: skip
    pool.run(join([[steps]], np.zeros(1, np.int64), 0), [a.ctypes.data for a in (out, x, w)])


def expected(x: np.ndarray, w: np.ndarray, columns: int, dilation: int = 1) -> np.ndarray:
    return sum(x[:, j * dilation : j * dilation + columns].astype(float) * w[j] for j in range(len(w)))


def assert_right(rows: int, columns: int, taps: int, dtype: str, dilation: int = 1) -> None:
    source = np.random.default_rng(taps)
    x = source.integers(-8, 9, (rows, columns + dilation * (taps - 1))).astype(dtype)
    w = source.integers(-8, 9, taps).astype(dtype)
    out = np.full((rows, columns + 3), 7.5, dtype)
    along(x, w, out[:, 1:-2], dilation)
    assert np.array_equal(out[:, 1:-2], expected(x, w, columns, dilation))
    assert (out[:, [0, -2, -1]] == 7.5).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_of_taps(dtype: str) -> None:
    """Every rest of a chunk, none to three chunks; columns for each of the four tiles."""
    lanes = 64 // np.dtype(dtype).itemsize
    for taps, columns in product(range(1, 3 * lanes + 2), (lanes - 1, lanes + 1, 5 * lanes + 3, 9 * lanes + 5)):
        assert_right(2, columns, taps, dtype)
        assert_right(1, columns, taps, dtype, 2 + taps % 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_tail(dtype: str) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    for taps, columns in product((1, 3, lanes, lanes + 5), range(1, 10 * lanes)):
        assert_right(1, columns, taps, dtype)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(1, 300), st.integers(1, 80), st.integers(1, 5), st.sampled_from(DTYPES))
def test_any_size(rows: int, columns: int, taps: int, dilation: int, dtype: str) -> None:
    assert_right(rows, columns, taps, dtype, dilation)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_where_an_output_stands(dtype: str) -> None:
    source = np.random.default_rng(3)
    for taps in (3, 16, 37):
        x, w = source.standard_normal((1, 400 + taps - 1)).astype(dtype), source.standard_normal(taps).astype(dtype)
        whole = np.empty((1, 400), dtype)
        along(x, w, whole)
        for at, columns in ((0, 1), (5, 16), (7, 130), (111, 257), (399, 1), (120, 70), (3, 15)):
            part = np.empty((1, columns), dtype)
            along(np.ascontiguousarray(x[:, at : at + columns + taps - 1]), w, part)
            assert part.tobytes() == whole[:, at : at + columns].tobytes()


def test_strides_of_either_sign() -> None:
    x, w = np.arange(14 * 90.0).reshape(14, 90) % 17, np.array([2.0, -1.0, 3.0])
    out = np.zeros((14, 90))
    along(x[::-2], w, out[12::-2, 1:89])
    assert np.array_equal(out[12::-2, 1:89], expected(x[::-2], w, 88))
    assert not out[1::2].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", TARGETS)
def test_sums_stay_in_registers(isa: str, dtype: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for taps, dilation in product((1, 3, 7, 15, 31), (1, 2, 3, 4, 5)):
        schedule = row.row_schedule_for(target, dtype, taps, dilation)
        text, spilled = written(schedule, isa)
        assert spilled == [], schedule.name
        assert len(re.findall(ADD[isa], text)) >= schedule.vectors
        if isa == "avx512" and dilation < 4:  # shifted by one instruction each, never permuted by a table
            shifts = re.findall(r"(?:valign[dq]|vshufi(?:32x4|64x2))\t.*%zmm", text)
            assert len(shifts) > (2 * schedule.vectors if dilation % 2 else schedule.vectors // 2)
            assert "vpermt2" not in text
            assert "vpermi2" not in text


def test_a_tile_too_large_for_the_registers_is_refused() -> None:
    target = TARGETS["avx2"]
    assert target is not None
    with pytest.raises(ValueError, match="19 vector registers"):
        row.RowSchedule("float32", 8, 8, 3).module(target)


def test_a_schedule_knows_its_taps() -> None:
    assert row.RowSchedule("float32", 16, 8, 5).counts(37) == {"chunks": 2, "taps": 0}
    assert row.RowSchedule("float32", 16, 8, None).counts(37) == {"chunks": 0, "taps": 37}
    with pytest.raises(ValueError, match="for a kernel of 36"):
        row.RowSchedule("float32", 16, 8, 5).counts(36)


def test_a_step_is_called_with_two_pointers() -> None:
    """The convention itself: bases, and words that name a base and an offset."""
    x, w, out = np.arange(40.0), np.array([1.0, 10.0]), np.zeros(40)
    schedule = row.row_schedule_for(library.this_machine(), "float64", 2)
    steps = row.ARGUMENTS.steps(
        library.address_of(schedule), 1, out=(OUT, 16), x=(X, 8), w=(KERNEL, 0), rows=1, columns=20, out_row=0, x_row=0,
        x_step=8, lead=0, **schedule.counts(2),
    )  # fmt: skip
    bases = (ctypes.c_int64 * 4)(0, out.ctypes.data, x.ctypes.data, w.ctypes.data)
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(int(steps[0, 0]))
    function(ctypes.addressof(bases), steps.ctypes.data + 8)
    assert np.array_equal(out[2:22], x[1:21] + 10 * x[2:22])
    assert not out[[0, 1, *range(22, 40)]].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [127, 128, 131, 300, 1023])
def test_streamed_results(dtype: str, columns: int) -> None:
    """Past the caches where lines of them are whole; the same numbers wherever the first line begins."""
    lanes = 64 // np.dtype(dtype).itemsize
    x, w = random(3, columns + 20, dtype), random(1, 21, dtype)[0]
    expected_bits = np.zeros((3, columns), dtype)
    along(x, w, expected_bits)
    for lead in (0, 1, lanes - 1):
        schedule = replace(row.row_schedule_for(library.this_machine(), dtype, 21), results="streamed")
        memory = np.full((3, 1200), -5, dtype)
        first = -(memory.ctypes.data // memory.itemsize) % lanes + lanes - lead
        out = memory[:, first : first + columns]
        steps = row.ARGUMENTS.steps(
            library.address_of(schedule), 1, out=(OUT, 0), x=(X, 0), w=(KERNEL, 0), rows=3, columns=columns,
            out_row=out.strides[0], x_row=x.strides[0], x_step=x.itemsize, lead=lead, **schedule.counts(21),
        )  # fmt: skip
        pool.run(join([[steps]], np.zeros(1, np.int64), 0), [a.ctypes.data for a in (out, x, w)])
        assert out.tobytes() == expected_bits.tobytes()
        assert (memory[:, :first] == -5).all()
        assert (memory[:, first + columns :] == -5).all()


@pytest.mark.parametrize("stored", ["uint8", "int16", "float16", "float64"])
def test_results_of_another_type(stored: str) -> None:
    x, w = random(2, 330, "float32") * 90, random(1, 7, "float32")[0]
    sums, out = np.zeros((2, 324), "float32"), np.zeros((2, 324), stored)
    along(x, w, sums)
    schedule = row.row_schedule_for(library.this_machine(), "float32", 7, 1, stored)
    for columns in (324, 130, 65, 17, 9):
        steps = row.ARGUMENTS.steps(
            library.address_of(schedule), 1, out=(OUT, 0), x=(X, 0), w=(KERNEL, 0), rows=2, columns=columns,
            out_row=out.strides[0], x_row=x.strides[0], x_step=4, lead=0, **schedule.counts(7),
        )  # fmt: skip
        out[...] = 77
        pool.run(join([[steps]], np.zeros(1, np.int64), 0), [a.ctypes.data for a in (out, x, w)])
        kind = np.dtype(stored)
        rounded = np.clip(np.rint(sums), *_limits(kind)) if kind.kind in "iu" else sums
        assert np.array_equal(out[:, :columns], rounded[:, :columns].astype(stored))
        assert (out[:, columns:] == 77).all()


def random(rows: int, columns: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(columns).standard_normal((rows, columns)).astype(dtype)


def _limits(kind: np.dtype) -> tuple[int, int]:
    return int(np.iinfo(kind).min), int(np.iinfo(kind).max)
