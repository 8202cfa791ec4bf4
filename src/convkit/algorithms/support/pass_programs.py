"""Programs of passes, tile by tile: the steps of each, and how they are run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from convkit import threads
from convkit.algorithms.support import alone
from convkit.algorithms.support.blocks import needed
from convkit.algorithms.support.packing import Offsets, Source, item_bytes, packing, unpacking
from convkit.algorithms.support.passes import (
    LINE,
    Box,
    Passes,
    order_along,
    plane_of,
    read_in_place,
    scratch,
    seconds_of,
    slides_along,
    slides_down,
    stored_type,
    tiles,
)
from convkit.algorithms.support.pixels import folded, interleaved
from convkit.codegen import boxes, pool, row, sliding
from convkit.codegen import direct as column
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.memory import address, type_name
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.codegen.weights import taps
from convkit.planner.algorithm import Alone, Array
from convkit.planner.machine import DEFAULT
from convkit.planner.problem import Problem

STREAMED = 1 << 25
"""Bytes of a result that does not stay in any cache: it is written past them."""

BEYOND_WIDE = 4
"""The first plane beyond samples and sums of eight bytes, whose rows take a line more than two planes have."""

PROGRAM_STEPS = 1 << 13
"""Steps of a program beyond which it is run several times, for some of the samples each."""


def run_passes(problem: Problem, passes: Passes, weights: Array, x: Array, out: Array) -> None:
    """Write the result for ``x`` into ``out``, which may have any type that sums are stored as."""
    if x.dtype != problem.input_dtype:  # kernels read memory as they are told
        raise TypeError(f"samples are {x.dtype}, not {problem.input_dtype} as the problem has them")
    pixel = 1
    if passes.main != "slide" and interleaved(problem, x, out):
        # All channels of an image at once: its rows are rows of numbers, whose kernel elements stand a pixel apart.
        pixel, problem = problem.batch, folded(problem)
    x_strides, out_strides = ((*a.strides[:-1], a.strides[-1] // pixel) for a in (x, out))
    samples, seconds = _samples_at_once(problem, passes), _one_thread(problem, passes)
    line = address(out) % LINE if out.nbytes >= STREAMED and address(out) % out.itemsize == 0 else None
    for first in range(0, problem.batch, samples):
        count = min(samples, problem.batch - first)
        part = problem if count == problem.batch else problem.derive(batch=count)
        work = program(part, passes, x_strides, out_strides, type_name(out.dtype), line, pixel)
        bases = address(out) + first * out.strides[0], address(x) + first * x.strides[0], address(weights)
        pool.run(work, bases, threads.num_threads(), seconds * count / problem.batch)


def alone_by_passes(problem: Problem, passes: Passes, weights: Array) -> Alone | None:
    """The same for one sample, all else worked out before; None for results that are written past the caches."""
    dtype = stored_type(problem)
    if dtype == "bfloat16" or problem.outputs * np.dtype(dtype).itemsize >= STREAMED:
        return None

    def made(x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Program:
        return program(problem, passes, x_strides, out_strides, dtype)

    return alone.alone(problem, dtype, made, weights, _one_thread(problem, passes))


@lru_cache(maxsize=1024)
def _samples_at_once(problem: Problem, passes: Passes) -> int:
    """For how many samples one program is made, so that it stays small however many there are."""
    steps = sum(1 for _ in tiles(problem, passes)) * passes.terms * 4 * len(problem.windows)
    return max(1, min(problem.batch, PROGRAM_STEPS // steps))


@lru_cache(maxsize=1024)
def _one_thread(problem: Problem, passes: Passes) -> float:
    """Seconds that one thread takes, roughly."""
    return 1.8 * seconds_of(problem, passes, DEFAULT)[1]


@lru_cache(maxsize=256)
def program(
    problem: Problem, passes: Passes, x_strides: tuple[int, ...], out_strides: tuple[int, ...], out_dtype: str,
    line: int | None = None, pixel: int = 1,
) -> Program:  # fmt: skip
    """Everything about a call but its arrays.

    ``line`` says where in a line of the cache streamed results begin, ``pixel`` how many numbers of the last axis make
    one sample of it.
    """
    tables = Tables()
    x_at = np.arange(problem.batch, dtype=np.int64) * x_strides[0]
    out_at = np.arange(problem.batch, dtype=np.int64) * out_strides[0]
    pieces: list[list[Steps]] = []
    for tile, packed in tiles(problem, passes):
        packed = packed or x_strides[-1] != item_bytes(problem.input_dtype)
        work = _Tile(
            problem, passes, tables, tile, x_strides[3:], out_strides[3:], out_dtype, x_at, out_at, line, pixel
        )
        pieces.append(work.steps(packed))
    return join(pieces, tables.array(), scratch(problem, passes))


@dataclass(frozen=True, slots=True, eq=False)
class _Here:
    """A plane of numbers: a base, bytes from it, and the strides of all axes but the last."""

    base: int
    at: Any
    strides: tuple[int, ...]

    @property
    def place(self) -> tuple[int, Any]:
        return self.base, self.at

    @property
    def row(self) -> int:
        return self.strides[-1] if self.strides else 0

    def __eq__(self, other: object) -> bool:
        """Whether both are the same plane of scratch memory."""
        return isinstance(other, _Here) and self.base == other.base == SCRATCH and self.at == other.at


class _Tile:
    """The steps of one tile, for every sample."""

    def __init__(
        self, problem: Problem, passes: Passes, tables: Tables, tile: Box, x_strides: tuple[int, ...],
        out_strides: tuple[int, ...], out_dtype: str, x_at: Offsets, out_at: Offsets,
        line: int | None, pixel: int,
    ) -> None:  # fmt: skip
        self.problem, self.passes, self.tables, self.dtype = problem, passes, tables, problem.compute_dtype
        self.windows, self.x_strides = problem.windows, x_strides
        self.out_strides, self.out_dtype = out_strides, out_dtype
        self.spans = [needed(window, outputs) for window, outputs in zip(problem.windows, tile, strict=True)]
        self.counts = [hi - lo for lo, hi in tile]
        self.x_at, self.pixel = x_at, pixel
        aligned = all(stride % LINE == 0 for stride in out_strides[:-1]) and len(out_at) == 1
        self.line = line if aligned and out_dtype == self.dtype else None
        self.out_at = out_at + sum(lo * stride for (lo, _), stride in zip(tile, out_strides, strict=True))
        self.item = np.dtype(self.dtype).itemsize
        self.planes = [plane_of(problem, tile, number) for number in range(6)]
        self.row = self.planes[0].row
        self.scale_at = self.item * passes.terms * sum(window.kernel for window in problem.windows)
        self.raw = self.problem.input_dtype != self.dtype
        self.done: list[Steps] = []

    def steps(self, packed: bool) -> list[Steps]:
        """Groups of steps in their order, one row a sample.

        Packed tiles are of the type that the first pass reads: that of the sums, or the input's (``raw``).
        """
        if packed:
            source = Source(self.problem.input_dtype, self.x_strides, item_bytes(self.problem.input_dtype), self.pixel)
            constant = any("constant" in window.sides for window in self.windows)
            self.raw = read_in_place(self.problem, self.passes) not in ("", self.dtype) and not constant
            dtype = self.problem.input_dtype if self.raw else self.dtype
            plane = replace(self.planes[0], item=item_bytes(dtype))
            self.done += packing(
                self.tables, self.windows, self.spans, source, plane, dtype, self.problem.fill, self.x_at
            )
            begin = _Here(SCRATCH, plane.place, plane.strides)
        else:
            first = sum(lo * stride for (lo, _), stride in zip(self.spans, self.x_strides, strict=True))
            begin = _Here(X, self.x_at + first, self.x_strides[:-1])
        neighbours = self.out_strides[-1] == item_bytes(self.out_dtype) or self.counts[-1] == 1
        # A row of taps stores any type, as sliding sums do; other running sums and sums of terms store their own.
        slid = self.raw and slides_along(self.problem, self.passes)
        any_type = (self.passes.terms == 1 and self.passes.ways[-1] != "box") or slid
        stored_here = neighbours and (any_type or self.out_dtype == self.dtype)
        if self.passes.terms == 1:
            result = BEYOND_WIDE if self.passes.main == "slide" else 1
            self.term(begin, 0, None if stored_here else result)
        else:
            result = self.sum_of_terms(begin, stored_here)
        if not stored_here:
            self.unpack(self.scratch(result))
        return self.done

    def scratch(self, number: int) -> _Here:
        plane = self.planes[number]
        return _Here(SCRATCH, plane.place, plane.strides)

    def sum_of_terms(self, begin: _Here, stored_here: bool) -> int:
        """Each term by itself, then added to those before it: the plane in which the sum lies."""
        total, spare, term = 3, 4, 5
        self.term(begin, 0, total)
        for number in range(1, self.passes.terms):
            self.term(begin, number, term)
            last = number == self.passes.terms - 1
            before, added = self.scratch(total), self.scratch(term)
            for rows, target, sums in self.targets(None if last and stored_here else self.scratch(spare), before):
                one = boxes.Pass("0", 1)
                self.double(one, "sum", target, sums, sums, rows, self.counts[-1], (added.at - before.at, 0))
            total, spare = spare, total
        return total

    def term(self, here: _Here, number: int, target: int | None) -> None:
        """One outer product, axis after axis: into a plane, or into the result."""
        self.extents = [hi - lo for lo, hi in self.spans]
        weights = self.item * number * sum(window.kernel for window in self.windows)
        # The first plane is the input of every term, and must not be written to where there are several.
        free = [number for number in ((1, 2) if self.passes.terms > 1 else (0, 2, 1)) if number != target]
        planes = [self.scratch(number) for number in [*free, *([target] if target in (1, 2) else [])]]
        slid = False
        for axis, way in enumerate(self.passes.ways):
            last = axis == len(self.passes.ways) - 1
            spare = [plane for plane in planes if plane != here]
            if not last:
                after: _Here | None = spare[0]
            else:
                after = None if target is None else self.scratch(target)
            if way == "taps" and last:
                self.rows(here, after, weights)
            elif way == "taps":
                assert after is not None
                self.columns(axis, here, after, weights)
            elif way == "slide" and not last:
                after = self.wide
                self.slide(here, after, "float64")
            elif way == "slide":
                self.slide_along(here, after, "float64")
            elif way == "box" and axis == 0 and self.raw and slides_down(self.problem, self.passes):
                assert after is not None
                slid = slides_along(self.problem, self.passes)
                self.slide(here, after, "int32" if slid else self.dtype)
            elif way == "box" and slid:
                self.slide_along(here, after, "int32")
            elif way == "box":
                self.box(axis, here, [plane for plane in spare if plane != after], after)
            if way != "none" and after is not None:
                here = after
            self.extents[axis] = self.counts[axis]
            weights += self.item * self.windows[axis].kernel

    def columns(self, axis: int, here: _Here, out: _Here, weights: int) -> None:
        """Taps along an axis before the last: rows of sums, each as long as everything after the axis."""
        window, extents = self.windows[axis], self.extents
        order = order_along(
            self.problem, axis, read_in_place(self.problem, self.passes) if axis == 0 and self.raw else ""
        )
        stride = here.strides[axis]
        taps_at = self.tables.add(taps(order, [[j * window.dilation * stride for j in range(window.kernel)], [0]]))
        # Rows a dilation apart form an image of their own, whose kernel rows are neighbours.
        images = window.dilation // math.gcd(window.dilation, window.stride)
        x_row = window.stride * stride
        after = range(axis + 1, len(extents) - 1)
        columns = sum((extents[b] - 1) * here.strides[b] for b in after) // self.item + extents[-1]
        plane = max(range(axis), key=extents.__getitem__) if axis else None
        for index in product(*(range(1 if b == plane else extents[b]) for b in range(axis))):
            x_shift = sum(i * s for i, s in zip(index, here.strides, strict=False))
            out_shift = sum(i * s for i, s in zip(index, out.strides, strict=False))
            for image in range(min(images, self.counts[axis])):
                self.done.append(
                    column.ARGUMENTS.steps(
                        order.address, self.problem.batch, w=(KERNEL, weights), taps=(TABLES, taps_at),
                        out=(out.base, out.at + out_shift + image * out.strides[axis]),
                        x=(here.base, here.at + x_shift + image * x_row),
                        planes=1 if plane is None else extents[plane], rows=-(-(self.counts[axis] - image) // images),
                        columns=columns, blocks=order.full, last_blocks=len(order.blocks) - order.full,
                        out_plane=0 if plane is None else out.strides[plane],
                        x_plane=0 if plane is None else here.strides[plane], w_plane=0,
                        out_row=images * out.strides[axis], x_row=images * x_row, x_step=self.item, lead=0,
                    )
                )  # fmt: skip

    @property
    def wide(self) -> _Here:
        """Beyond the plane of samples, one of sums that take eight bytes."""
        plane = replace(self.planes[1], item=8)
        return _Here(SCRATCH, plane.place, plane.strides)

    def slide(self, here: _Here, out: _Here, left: str) -> None:
        """A sliding sum along the first of two axes, left as numbers of type ``left``."""
        kernel = sliding.sliding_for(this_machine(), self.problem.input_dtype, left)
        self.done.append(
            sliding.ARGUMENTS.steps(
                address_of(kernel), self.problem.batch, out=out.place, x=here.place, rows=self.counts[0],
                columns=self.extents[1], size=self.windows[0].kernel, out_row=out.row, x_row=here.row,
            )
        )  # fmt: skip

    def slide_along(self, here: _Here, out: _Here | None, sums: str) -> None:
        """The same along the second axis of sums of type ``sums``, into ``out`` or the result."""
        stored = self.dtype if out is not None else self.out_dtype
        kernel = sliding.sliding_row_for(this_machine(), sums, self.dtype, stored)
        for rows, target, source in self.targets(out, here):
            self.done.append(
                sliding.ROW_ARGUMENTS.steps(
                    address_of(kernel), self.problem.batch, out=target.place, x=source.place, rows=rows,
                    scale=(KERNEL, self.scale_at), columns=self.counts[-1], size=self.windows[-1].kernel,
                    out_row=target.row, x_row=source.row,
                )
            )  # fmt: skip

    def rows(self, here: _Here, out: _Here | None, weights: int) -> None:
        """Taps along the last axis."""
        window = self.windows[-1]
        dtype = "float32" if self.dtype == "float32" else "float64"
        stored = self.out_dtype if out is None else ""
        schedule = row.row_schedule_for(this_machine(), dtype, window.kernel, window.dilation, stored)
        lead = 0
        if out is None and self.line is not None:
            schedule = replace(schedule, results="streamed")
            lead = -(self.line + int(self.out_at[0])) % LINE // self.item
        for rows, target, source in self.targets(out, here):
            self.done.append(
                row.ARGUMENTS.steps(
                    address_of(schedule), self.problem.batch, out=target.place, x=source.place, w=(KERNEL, weights),
                    rows=rows, columns=self.counts[-1], out_row=target.row, x_row=source.row,
                    x_step=window.dilation * self.item, lead=lead, **schedule.counts(window.kernel),
                )
            )  # fmt: skip

    def box(self, axis: int, here: _Here, spare: Sequence[_Here], out: _Here | None) -> None:
        """A running sum along an axis, into ``out``, or into the result; ``spare`` holds the sums on the way."""
        window, sums, last = self.windows[axis], here, axis == len(self.windows) - 1
        found = boxes.passes_for(window.kernel)
        turns = [out or spare[1], spare[0]]  # the pass before the last writes to another plane than the last does
        for number, each in enumerate(found):
            left = len(found) - 1 - number
            final = left == 0
            after = out if final else turns[left % 2]
            unit = window.dilation * (self.item if last else sums.strides[axis])
            x_unit = window.dilation * (self.item if last else here.strides[axis])
            extents = self.extents.copy()
            extents[axis] -= window.dilation * (each.formed - 1)
            for rows, target, source, samples in self.targets(after, sums, here, extents=extents):
                self.double(
                    each, "scale" if final and last and self.passes.scaled else "sum", target, source, samples, rows,
                    extents[-1], (each.neighbours * unit, each.far * unit),
                    (each.neighbours * x_unit, each.far * x_unit),
                )  # fmt: skip
            sums = after if after is not None else sums

    def double(
        self, each: boxes.Pass, end: str, out: _Here, sums: _Here, samples: _Here, rows: int, columns: int,
        apart: tuple[int, int], x_apart: tuple[int, int] = (0, 0),
    ) -> None:  # fmt: skip
        """One pass of a running sum."""
        kernel = boxes.doubling_for(this_machine(), self.dtype, each.digits, end)
        self.done.append(
            boxes.ARGUMENTS.steps(
                address_of(kernel), self.problem.batch, out=out.place, s=sums.place, x=samples.place,
                scale=(KERNEL, self.scale_at), rows=rows, columns=columns, out_row=out.row, s_row=sums.row,
                x_row=samples.row, step=apart[0], far=apart[1], x_step=x_apart[0], x_far=x_apart[1],
            )
        )  # fmt: skip

    def targets(
        self, out: _Here | None, *sources: _Here, extents: Sequence[int] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """How many rows are done together, where they go, and where they come from.

        In planes of the same layout all rows are, with what lies between them; in the result only those of an image.
        """
        extents = self.extents if extents is None else extents
        if out is not None:
            layout = self.planes[0].strides
            rows = 1 + sum((n - 1) * s for n, s in zip(extents, layout, strict=False)) // self.row
            yield (rows, out, *sources)
            return
        for index in product(*(range(n) for n in self.counts[:-2])):
            shift = sum(i * s for i, s in zip(index, self.out_strides, strict=False))
            result = _Here(OUT, self.out_at + shift, self.out_strides[:-1])
            moved = [
                replace(source, at=source.at + sum(i * s for i, s in zip(index, source.strides, strict=False)))
                for source in sources
            ]
            yield (self.counts[-2] if len(self.counts) > 1 else 1, result, *moved)

    def unpack(self, sums: _Here) -> None:
        """Store a plane as the result has it."""
        for rows, target, source in self.targets(None, sums):
            self.done.append(
                unpacking(
                    self.dtype, self.out_dtype, [source.at], self.row, self.counts[-1], rows, target.row,
                    self.out_strides[-1], target.at,
                )
            )  # fmt: skip
