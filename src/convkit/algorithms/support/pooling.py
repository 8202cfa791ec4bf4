"""Pooling by compiled kernels, as programs: some planes, or some rows of pixels, for each task."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convkit import codegen, threads
from convkit.algorithms.support.packing import LINE
from convkit.algorithms.support.planes import Strides
from convkit.algorithms.support.register_tiles import cuts, largest
from convkit.codegen import pool as threads_of
from convkit.codegen import pooling as kernel
from convkit.codegen import pooling_gradient, pooling_gradient_rows
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.memory import address, type_name
from convkit.codegen.pooling_gradient import LargestGradient
from convkit.codegen.pooling_gradient_rows import ROW_BITS, RowsLargestGradient
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.planner import pooling
from convkit.planner.pooling import Array, Kind
from convkit.spec.window import Window

TASK_NUMBERS = 1 << 14
"""Samples of a task, roughly."""

ROW_NUMBERS = 1 << 14
"""Numbers of the row that the rows of a window become, at most: it stays in the second-level cache."""

SECONDS = 4e-10
"""What one sample takes, roughly."""

Shape = tuple[int, ...]
Layout = Literal["planes", "pixels"]


class CompiledPooling:
    """float32 and float64 whose columns, or channels, lie side by side."""

    def pool(self, kind: Kind, x: Array, windows: tuple[Window, ...], ends: tuple[int, ...]) -> Array | None:
        """The largest number or the mean of each window."""
        if codegen.why_not() is not None:
            return None
        found = _planned(kind, x.dtype, x.shape, x.strides, windows, ends)
        if found is None:
            return None
        program, (shape, axes), seconds = found
        out = np.empty(shape, x.dtype).transpose(axes)
        threads_of.run(program, (address(out), address(x), 0), threads.num_threads(), seconds)
        return out

    def largest_gradient(self, x: Array, g: Array, windows: tuple[Window, ...]) -> Array | None:
        """``g`` added up where the largest numbers stand."""
        rank = len(windows)
        how = None if codegen.why_not() is not None else _layout(x.dtype, x.shape, x.strides, rank)
        if how is None or x.dtype != g.dtype or not g.size:
            return None
        if how != _layout(g.dtype, g.shape, g.strides, rank):
            laid = _like(g, rank, how)
            laid[...] = g
            g = laid
        to = _like(x, rank, how)
        to[...] = 0
        program = _gradient(type_name(x.dtype), x.shape, to.strides, g.strides, x.strides, windows, how)
        bases = address(to), address(x), address(g)
        threads_of.run(program, bases, threads.num_threads(), 4 * x.size * SECONDS)
        return to


@lru_cache(maxsize=256)
def _planned(
    kind: Kind, dtype: np.dtype[Any], shape: Shape, strides: Strides, windows: tuple[Window, ...], ends: Shape
) -> tuple[Program, tuple[Shape, Shape], float] | None:
    """The program of a call; the shape of the memory for its result and the order of its axes; how long it takes."""
    rank = len(windows)
    how = _layout(dtype, shape, strides, rank)
    counts = tuple(window.count for window in windows)
    if how is None or 0 in counts:
        return None
    order = _order((*shape[: len(shape) - rank], *counts), rank, how)
    out_strides = np.empty(order[0], dtype).transpose(order[1]).strides
    program = _forward(kind, dtype.name, shape, strides, out_strides, windows, ends, how)
    return program, order, math.prod(shape) * SECONDS


def _layout(dtype: np.dtype[Any], shape: Shape, strides: Strides, rank: int) -> Layout | None:
    """What lies side by side: columns (``"planes"``), channels (``"pixels"``), or nothing that kernels know."""
    if dtype not in (np.float32, np.float64) or 0 in shape:
        return None
    lead, item = len(shape) - rank, dtype.itemsize
    channels = shape[lead - 1] if lead else 1
    if channels > 1 and strides[lead - 1] == item and strides[-1] == channels * item:
        return "pixels"
    return "planes" if strides[-1] == item or shape[-1] == 1 else None


def _order(shape: Shape, rank: int, how: Layout) -> tuple[Shape, Shape]:
    """The shape of memory in which columns or channels lie side by side, and how its axes are put in order."""
    if how == "planes":
        return shape, tuple(range(len(shape)))
    channel, last = len(shape) - rank - 1, len(shape) - 1
    axes = *range(channel), last, *range(channel, last)
    return (*shape[:channel], *shape[channel + 1 :], shape[channel]), axes


def _like(array: Array, rank: int, how: Layout) -> Array:
    """A new array of the same shape, laid out so."""
    shape, axes = _order(array.shape, rank, how)
    return np.empty(shape, array.dtype).transpose(axes)


class _Planes:
    """The axes before the space as tasks: one axis of planes for the kernel, the others as places."""

    def __init__(self, shape: Shape, rank: int, how: Layout, least: int) -> None:
        lead = list(range(len(shape) - rank))
        if how == "pixels":
            lead.pop()  # the channels
        self.axis = max(lead, key=lambda axis: shape[axis], default=None)
        self.others = [(axis, shape[axis]) for axis in lead if axis != self.axis]
        self.count = 1 if self.axis is None else shape[self.axis]
        self.cuts = cuts(self.count, largest(self.count, max(1, least)))

    def step(self, strides: Strides) -> int:
        """Bytes from plane to plane."""
        return 0 if self.axis is None else strides[self.axis]

    def at(self, strides: Strides) -> NDArray[np.int64]:
        """Where the first plane of every place lies."""
        found = np.zeros(1, np.int64)
        for axis, size in self.others:
            found = (found[:, None] + np.arange(size, dtype=np.int64) * strides[axis]).ravel()
        return found


def _met(window: Window, outputs: range) -> list[range]:
    """The samples that each output meets."""
    first = [i * window.stride + window.start for i in outputs]
    return [range(max(0, at), min(window.size, at + window.kernel)) for at in first]


def _rows(
    windows: tuple[Window, ...], strides: Strides, ends: Shape, outputs: range
) -> tuple[NDArray[np.int64], list[Shape]]:
    """The table of rows of outputs: how many rows of samples, the divisor, where they lie; and which rows they are."""
    axes = [_met(window, range(window.count)) for window in windows]
    kernel_rows = math.prod(window.kernel for window in windows)
    every = list(product(*(range(window.count) for window in windows)))
    chosen = every[outputs.start : outputs.stop]
    table = np.zeros((len(chosen), 2 + kernel_rows), np.int64)
    for n, index in enumerate(chosen):
        at = np.zeros(1, np.int64)
        divisor = 1
        for i, window, met, stride, end in zip(index, windows, axes, strides, ends, strict=True):
            at = (at[:, None] + np.array(met[i], np.int64) * stride).ravel()
            divisor *= min(i * window.stride + window.start + window.kernel, end) - (i * window.stride + window.start)
        table[n, 0], table[n, 1] = len(at), divisor
        table[n, 2 : 2 + len(at)] = at
    return table, chosen


def _with_rows(
    windows: tuple[Window, ...], strides: Strides, ends: Shape
) -> tuple[tuple[Window, ...], Strides, Shape]:  # fmt: skip
    """At least two axes: a signal is an image of one row."""
    if len(windows) > 1:
        return windows, strides[len(strides) - len(windows) :], ends
    return (Window(1, 1, 1), *windows), (0, strides[-1]), (1, *ends)


def _forward(
    kind: Kind, dtype: str, shape: Shape, x_strides: Strides, out_strides: Strides, windows: tuple[Window, ...],
    ends: Shape, how: Layout,
) -> Program:  # fmt: skip
    rank, item = len(windows), np.dtype(dtype).itemsize
    channels = shape[len(shape) - rank - 1] if how == "pixels" else 1
    whole, along, stops = _with_rows(windows, x_strides, ends)
    _, to, _ = _with_rows(windows, out_strides, ends)
    *outer, last = whole
    lanes = lanes_of(this_machine(), dtype)
    numbers = channels * math.prod(window.size for window in whole)
    planes = _Planes(shape, rank, how, TASK_NUMBERS // numbers)
    tables = Tables()
    stride = last.stride if how == "planes" and last.stride in (1, 2) and last.count > 1 else 0
    rows_count = math.prod(window.count for window in outer)
    pieces = cuts(rows_count, largest(rows_count, max(1, TASK_NUMBERS * rows_count // numbers)))
    at_once = max(1, ROW_NUMBERS // (channels * last.stride) - last.kernel)
    tasks: list[list[Steps]] = []
    scratch = 0
    for (first, stop), columns in product(pieces, cuts(last.count, largest(last.count, at_once))):
        table, chosen = _rows(tuple(outer), along[:-1], stops[:-1], range(first, stop))
        begin = last.start + columns[0] * last.stride
        end = last.start + (columns[1] - 1) * last.stride + last.kernel
        lo, hi = max(0, begin), max(0, min(last.size, end))
        lo = min(lo, hi)
        starts = last.start + np.arange(*columns) * last.stride
        divisors = np.minimum(starts + last.kernel, stops[-1]) - starts
        words = np.frombuffer(
            divisors.astype(dtype).tobytes().ljust(-(-len(divisors) * item // 8) * 8, b"\0"), np.int64
        )
        scratch = max(scratch, ((end - begin) * channels + 4 * lanes) * item + LINE)
        # Rows of outputs stand evenly apart along the last axis of rows alone.
        for run_first, run in _runs(chosen):
            out = sum(i * s for i, s in zip(chosen[run_first], to, strict=False)) + columns[0] * to[-1]
            for lo_plane, hi_plane in planes.cuts:
                x_at = planes.at(x_strides) + lo_plane * planes.step(x_strides) + lo * along[-1]
                out_at = planes.at(out_strides) + lo_plane * planes.step(out_strides) + out
                tasks.append(
                    [
                        kernel.ARGUMENTS.steps(
                            address_of(kernel.Pool(kind, dtype, stride, how)), len(x_at), out=(OUT, out_at),
                            x=(X, x_at), row=(SCRATCH, 0),
                            rows_at=(TABLES, tables.add(table[run_first : run_first + run])),
                            divisors=(TABLES, tables.add(words)), planes=hi_plane - lo_plane,
                            out_plane=planes.step(out_strides), x_plane=planes.step(x_strides), rows=run,
                            row_step=table.shape[1] * 8, out_row=to[-2], before=(lo - begin) * channels,
                            middle=(hi - lo) * channels, after=(end - begin - (hi - lo) - (lo - begin)) * channels,
                            outputs=columns[1] - columns[0], taps=last.kernel, tap=channels,
                            pixel=last.stride * channels * item, out_pixel=to[-1], channels=channels,
                        )
                    ]
                )  # fmt: skip
    return join(tasks, tables.array(), scratch)


def _runs(chosen: list[Shape]) -> list[tuple[int, int]]:
    """Rows of outputs that differ in the last index alone: (the first one's number, how many)."""
    found: list[tuple[int, int]] = []
    for n, index in enumerate(chosen):
        if found and chosen[found[-1][0]][:-1] == index[:-1]:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((n, 1))
    return found


@lru_cache(maxsize=256)
def _gradient(
    dtype: str, shape: Shape, to_strides: Strides, g_strides: Strides, x_strides: Strides,
    windows: tuple[Window, ...], how: Layout,
) -> Program:  # fmt: skip
    rank = len(windows)
    channels = shape[len(shape) - rank - 1] if how == "pixels" else 1
    numbers = channels * math.prod(window.size for window in windows)
    planes = _Planes(shape, rank, how, TASK_NUMBERS // numbers)
    ends = tuple(window.size for window in windows)
    whole, along, _ = _with_rows(windows, x_strides, ends)
    _, to, _ = _with_rows(windows, to_strides, ends)
    _, of_g, _ = _with_rows(windows, g_strides, ends)
    last = whole[-1]
    tables = Tables()
    tasks: list[list[Steps]] = []
    of_x, chosen = _places(whole, along)
    of_to, _ = _places(whole, to)
    in_rows = how == "planes" and last.stride in (1, 2) and last.kernel < 1 << ROW_BITS
    chunk = channels if planes.count * math.prod(n for _, n in planes.others) > 1 else largest(channels, 64)
    for (lo, hi), (first_channel, stop_channel) in product(planes.cuts, cuts(channels, chunk)):
        steps: list[Steps] = []
        move = first_channel * np.dtype(dtype).itemsize
        for first, run in _runs(chosen):
            of_row = sum(i * s for i, s in zip(chosen[first], of_g, strict=False)) + move
            at = [planes.at(s) + lo * planes.step(s) + move for s in (to_strides, x_strides)]
            same: dict[str, Any] = {
                "to": (OUT, at[0]), "x": (X, at[1]), "planes": hi - lo, "rows": run, "outputs": last.count,
                "g": (KERNEL, planes.at(g_strides) + lo * planes.step(g_strides) + of_row),
                "rows_at": (TABLES, tables.add(of_x[0][first : first + run])), "row_step": of_x[0].shape[1] * 8,
                "to_rows_at": (TABLES, tables.add(of_to[0][first : first + run])), "g_row": of_g[-2],
                "to_plane": planes.step(to_strides), "g_plane": planes.step(g_strides),
                "x_plane": planes.step(x_strides),
            }  # fmt: skip
            if in_rows:
                kernel_at = address_of(RowsLargestGradient(dtype, last.stride))  # type: ignore[arg-type]
                steps.append(
                    pooling_gradient_rows.ARGUMENTS.steps(
                        kernel_at, len(at[0]), places=(SCRATCH, 0), start=last.start, size=last.size, taps=last.kernel,
                        **same,
                    )
                )  # fmt: skip
                continue
            steps.append(
                pooling_gradient.ARGUMENTS.steps(
                    address_of(LargestGradient(dtype, how)), len(at[0]), columns_at=(TABLES, tables.add(of_x[1])),
                    to_columns_at=(TABLES, tables.add(of_to[1])), column_step=of_x[1].shape[1] * 8, g_pixel=of_g[-1],
                    channels=stop_channel - first_channel, **same,
                )
            )  # fmt: skip
        tasks.append(steps)
    return join(tasks, tables.array(), LINE)


def _places(
    windows: tuple[Window, ...], strides: Strides
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], list[Shape]]:
    """For rows and for columns of outputs how many samples each meets, and where they lie; which rows they are."""
    *outer, last = windows
    sizes = tuple(window.size for window in windows)
    rows, chosen = _rows(tuple(outer), strides[:-1], sizes[:-1], range(math.prod(window.count for window in outer)))
    columns, _ = _rows((last,), strides[-1:], sizes[-1:], range(last.count))
    return (np.delete(rows, 1, 1), np.delete(columns, 1, 1)), chosen


pooling.register(CompiledPooling())
