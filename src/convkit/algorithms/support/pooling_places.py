"""Pooling by the largest whose places are kept, and its gradient, as programs: some rows of pixels for each task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convkit import codegen, memory, threads
from convkit.algorithms.support.packing import LINE
from convkit.algorithms.support.register_tiles import cuts, largest
from convkit.codegen import pool as threads_of
from convkit.codegen.library import address_of
from convkit.codegen.memory import address, type_name
from convkit.codegen.pooling_places import ARGUMENTS, MOST, LargestPlaces
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, TABLES, Steps, X
from convkit.planner import pooling
from convkit.planner.pooling import Array
from convkit.spec.window import Window

TASK_NUMBERS = 1 << 15
"""Numbers of a task, roughly."""

Layout = Literal["pixels", "planes"]
SECONDS: dict[Layout, float] = {"pixels": 5e-10, "planes": 5e-9}
"""What one number takes, roughly."""

Windows = tuple[Window, ...]
Shape = tuple[int, ...]
Entries = list[list[tuple[int, int]]]
"""For each row, or column, that is written: where it meets what is read, and with which number of the window."""


class KeptPlaces:
    """float32 and float64 of shape (batch, channels, ...) in one piece, columns or channels side by side."""

    def largest(self, x: Array, windows: Windows) -> tuple[Array, NDArray[np.uint8]] | None:
        """The largest number of each window, and which of the window it is."""
        layout = _layout(x, len(windows))
        counts = tuple(window.count for window in windows)
        taps = math.prod(window.kernel for window in windows)
        if layout is None or codegen.why_not() is not None or taps > MOST or 0 in counts:
            return None
        shape = (*x.shape[:2], *counts)
        out, places = _empty(shape, x.dtype, layout), _empty(shape, np.dtype(np.uint8), layout)
        self._run("largest", layout, x.shape, windows, (out, x, places))
        return out, places

    def gradient(self, g: Array, places: NDArray[np.uint8], space: Shape, windows: Windows) -> Array:
        """``g`` added up where the largest numbers stood."""
        layout = _layout(places, len(windows))
        assert layout is not None
        if _layout(g, len(windows)) != layout:
            laid = _empty(g.shape, g.dtype, layout)
            laid[...] = g
            g = laid
        to = _empty((*g.shape[:2], *space), g.dtype, layout)
        self._run("gradient", layout, to.shape, windows, (to, g, places))
        return to

    def _run(
        self, does: Literal["largest", "gradient"], layout: Layout, shape: Shape, windows: Windows,
        arrays: Sequence[Array],
    ) -> None:  # fmt: skip
        batch, channels, *space = shape
        outer, inner = (batch, channels) if layout == "pixels" else (batch * channels, 1)
        kernel = LargestPlaces(type_name(arrays[0].dtype), does, "many" if layout == "pixels" else "one")
        program = _planned(kernel, (outer, inner, *space), windows)
        seconds = math.prod(shape) * SECONDS[layout]
        threads_of.run(program, [address(array) for array in arrays], threads.num_threads(), seconds)


def _layout(array: Array, rank: int) -> Layout | None:
    """What lies side by side: channels, or columns; None for what is not in one piece."""
    if array.dtype not in (np.float32, np.float64, np.uint8) or array.ndim != rank + 2 or 0 in array.shape:
        return None
    if np.moveaxis(array, 1, -1).flags.c_contiguous:
        return "pixels"
    return "planes" if array.flags.c_contiguous else None


def _empty(shape: Shape, dtype: np.dtype[Any], layout: Layout) -> Array:
    """Memory laid out so."""
    if layout == "planes":
        return memory.empty(shape, dtype)
    return np.moveaxis(memory.empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)


@lru_cache(maxsize=256)
def _planned(kernel: LargestPlaces, shape: Shape, windows: Windows) -> Program:
    """The program for arrays that are pooled of this shape, (batch, channels, ...)."""
    batch, channels, *space = shape
    counts = tuple(window.count for window in windows)
    forward, scattered = kernel.does == "largest", kernel.does == "gradient" and kernel.channels == "one"
    written, read = (counts, tuple(space)) if forward else (tuple(space), counts)
    stepped = _strides(written if scattered else read, channels)
    numbers = _strides([window.kernel for window in windows], 1)
    axes = [_first(window) if scattered else _met(window) if forward else _meeting(window) for window in windows]
    rows, columns = (_joined(axes[axis], stepped[axis], numbers[axis]) for axis in (slice(-1), slice(-1, None)))
    tables = Tables()
    row_table, column_table = _table(rows), _table(columns)
    columns_at = tables.add(column_table)
    (taps,) = _joined([[list(enumerate(range(window.kernel)))] for window in windows], stepped, numbers)
    taps_at = tables.add([at for at, _ in taps])
    item = np.dtype(kernel.number).itemsize
    to_plane, from_plane = channels * math.prod(written), channels * math.prod(read)
    places_plane = to_plane if forward else from_plane
    row = channels * written[-1]
    tasks: list[list[Steps]] = []
    planes = cuts(batch, largest(batch, max(1, TASK_NUMBERS // to_plane)))
    # Windows that overlap add to the same numbers: their plane is one task.
    pieces = [(0, len(rows))] if scattered else cuts(len(rows), max(1, TASK_NUMBERS // row))
    for (lo, hi), (first, stop) in product(planes, pieces):
        places = lo * places_plane + (first * row if forward else 0)
        steps = ARGUMENTS.steps(
            address_of(kernel), 1, to=(OUT, (lo * to_plane + first * row) * item), places=(KERNEL, places),
            rows_at=(TABLES, tables.add(row_table[first:stop])), columns_at=(TABLES, columns_at),
            taps_at=(TABLES, taps_at), planes=hi - lo, to_plane=to_plane, from_plane=from_plane, rows=stop - first,
            row_step=row_table.shape[1] * 8, columns=len(columns), column_step=column_table.shape[1] * 8,
            channels=channels, **{"from": (X, lo * from_plane * item)},
        )  # fmt: skip
        tasks.append([steps])
    return join(tasks, tables.array(), LINE)


def _first(window: Window) -> Entries:
    """For each output: where its window begins, whether something is there or not."""
    return [[(i * window.stride + window.start, 0)] for i in range(window.count)]


def _met(window: Window) -> Entries:
    """For each output: the samples of its window that are there."""
    firsts = [i * window.stride + window.start for i in range(window.count)]
    return [[(at + j, j) for j in range(window.kernel) if 0 <= at + j < window.size] for at in firsts]


def _meeting(window: Window) -> Entries:
    """For each sample: the outputs whose windows it is in."""
    found: Entries = [[] for _ in range(window.size)]
    for output, samples in enumerate(_met(window)):
        for at, number in samples:
            found[at].append((output, number))
    return found


def _joined(axes: Sequence[Entries], places: Sequence[int], numbers: Sequence[int]) -> Entries:
    """The same for several axes at once, places and numbers counted in steps of each."""
    joined: Entries = [[(0, 0)]]
    for entries, place, number in zip(axes, places, numbers, strict=True):
        joined = [
            [(at + i * place, n + j * number) for (at, n), (i, j) in product(before, here)]
            for before, here in product(joined, entries)
        ]
    return joined


def _table(entries: Entries) -> NDArray[np.int64]:
    """How many, and each, row by row."""
    table = np.zeros((len(entries), 1 + 2 * max(1, *map(len, entries))), np.int64)
    for row, met in zip(table, entries, strict=True):
        row[0] = len(met)
        row[1 : 1 + 2 * len(met)] = np.ravel(met)
    return table


def _strides(shape: Sequence[int], item: int) -> list[int]:
    """From one to the next along each axis."""
    return [item * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


pooling.register_kept(KeptPlaces())
