"""Programs of recursions: columns first, band by band, then rows as columns of a transposed band."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from convkit import threads
from convkit.algorithms.support.alone import alone
from convkit.algorithms.support.packing import LINE, Offsets, Packed, Source, item_bytes, packing, places, unpacking
from convkit.algorithms.support.pixels import folded, interleaved
from convkit.algorithms.support.recursions import (
    Cut,
    cut_of,
    kernels_of,
    one_thread,
    read_in_place,
    stored_type,
    transposed_fill,
    weights_bytes,
)
from convkit.codegen import pool, transpose
from convkit.codegen.library import address_of
from convkit.codegen.memory import address, type_name
from convkit.codegen.pack import FILL, ZEROS
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.recursive import ARGUMENTS, BLANK, Recursion
from convkit.codegen.step import KERNEL, OUT, SCRATCH, STATUS, TABLES, Steps, X
from convkit.planner.algorithm import Alone, Array
from convkit.planner.problem import Problem

PROGRAM_STEPS = 1 << 13
"""Steps of a program, beyond which it is run for some of the samples at a time."""


def run_recursions(problem: Problem, weights: Array, x: Array, out: Array) -> Literal["finite"] | None:
    """Write the result for ``x`` into ``out``; say so if every output is finite for certain."""
    if x.dtype != problem.input_dtype:  # kernels read memory as they are told
        raise TypeError(f"samples are {x.dtype}, not {problem.input_dtype} as the problem has them")
    pixel = 1
    if interleaved(problem, x, out):
        # All channels of an image at once: rows of numbers, whose kernel elements stand a pixel apart.
        pixel, problem = problem.batch, folded(problem)
    x_strides, out_strides = ((*a.strides[:-1], a.strides[-1] // pixel) for a in (x, out))
    found = ctypes.c_int64(0)
    samples = max(1, PROGRAM_STEPS // cut_of(problem, pixel).steps)
    for first in range(0, problem.batch, samples):
        count = min(samples, problem.batch - first)
        part = problem if count == problem.batch else problem.derive(batch=count)
        work = program(part, x_strides, out_strides, type_name(out.dtype), pixel)
        bases = (
            address(out) + first * out.strides[0], address(x) + first * x.strides[0], address(weights),
            ctypes.addressof(found),
        )  # fmt: skip
        pool.run(work, bases, threads.num_threads(), one_thread(part))
    return None if found.value else "finite"


def alone_by_recursions(problem: Problem, weights: Array) -> Alone:
    """The same for one sample, all else worked out before; nothing where some output is not finite."""
    dtype = stored_type(problem)

    def made(x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Program:
        return program(problem, x_strides, out_strides, dtype)

    return alone(problem, dtype, made, weights, one_thread(problem), "not-finite")


@lru_cache(maxsize=64)
def program(
    problem: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], out_dtype: str, pixel: int = 1
) -> Program:
    """Everything about a call but its arrays; ``pixel`` numbers of the last axis make one sample of it."""
    build = _Build(problem, x_strides, out_strides, out_dtype, pixel)
    pieces = list(build.lines() if len(problem.windows) == 1 else build.images())
    return join(pieces, build.tables.array(), build.scratch)


def _windows(entering: Offsets, size: int) -> Offsets:
    """The table of rows that enter, and ``size`` entries before each the row that leaves: none at the beginning."""
    return np.concatenate([np.full(size, ZEROS), entering]).astype(np.int64)


class _Build:
    def __init__(
        self, problem: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], out_dtype: str, pixel: int
    ) -> None:
        self.problem, self.out_dtype, self.pixel, self.tables = problem, out_dtype, pixel, Tables()
        self.cut: Cut = cut_of(problem, pixel)
        self.dtype = problem.compute_dtype
        self.item = np.dtype(self.dtype).itemsize
        self.x_space, self.out_space = x_strides[3:], out_strides[3:]
        self.x_at = np.arange(problem.batch, dtype=np.int64) * x_strides[0]
        self.out_at = np.arange(problem.batch, dtype=np.int64) * out_strides[0]
        neighbours = x_strides[-1] == item_bytes(problem.input_dtype) or problem.windows[-1].size == 1
        self.in_place = neighbours and read_in_place(problem)
        self.kernels = kernels_of(problem, self.in_place)
        self.apart = self.cut.band * self.item  # bytes from row to row of a transposed band
        self.zeros_at = self.tables.add(np.zeros(max(k.state_bytes for k in self.kernels) // 8, np.int64))
        fill = np.full(BLANK // 8, problem.fill.real, problem.input_dtype if self.in_place else self.dtype)
        both = np.zeros(2 * BLANK, np.uint8)
        held = np.resize(fill, BLANK // fill.itemsize).view(np.uint8)
        both[BLANK:] = held
        self.blank = TABLES, self.tables.add(both.view(np.int64))
        self.scratch = 0

    def room(self, size: int) -> int:
        """Where so many bytes of scratch memory begin."""
        begin = self.scratch
        self.scratch += -(-size // LINE) * LINE
        return begin

    def recursion(
        self, kernel: Recursion, weights: int, out: tuple[int, Any], x: tuple[int, Any], table: int,
        blank: tuple[int, int], state: tuple[int, int], keep: int, size: int, rows: int, columns: int, out_row: int,
    ) -> Steps:  # fmt: skip
        """Rows of one pass; ``table`` is where the first one that enters stands, ``size`` entries after one leaving."""
        return ARGUMENTS.steps(
            address_of(kernel), self.problem.batch, out=out, x=x, w=(KERNEL, weights), rows_at=(TABLES, table),
            blank=blank, state=state, keep=(SCRATCH, keep), found=(STATUS, 0), leave=-8 * size, rows=rows,
            columns=columns, out_row=out_row, state_step=0 if state[0] == TABLES else kernel.state_bytes,
        )  # fmt: skip

    def transposed(
        self, to: tuple[int, Any], x: tuple[int, Any], rows: int, columns: int, width: int, to_row: int, x_row: int
    ) -> Steps:
        """A matrix whose columns become rows."""
        return transpose.ARGUMENTS.steps(
            address_of(transpose.Transpose(self.dtype)), self.problem.batch, to=to, x=x, planes=1, to_plane=0,
            x_plane=0, rows=rows, columns=columns, width=width, to_row=to_row, x_row=x_row,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ along the last axis

    def along(
        self, outputs: int, held: int, place_of: Offsets, source: int, target: int, keep: int, spare: int,
        blank: tuple[int, int],
    ) -> list[Steps]:  # fmt: skip
        """Recursions down the rows of a transposed band, as many as the dilation.

        ``place_of`` says which row holds each position of the extended band, or marks it.
        """
        window, smooth, kernel = self.problem.windows[-1], self.problem.smooth[-1], self.kernels[-1]
        weights = 0 if len(self.problem.windows) == 1 else weights_bytes(self.problem.smooth[0])
        done: list[Steps] = []
        rows_of = np.where(place_of <= FILL, place_of, place_of * self.apart)
        for phase in range(min(window.dilation, outputs)):
            count = len(range(phase, outputs, window.dilation))
            entering = rows_of[phase :: window.dilation][: count + window.kernel - 1]
            first, step = phase, window.dilation
            if smooth.direction == "backward":
                entering, first, step = entering[::-1], phase + (count - 1) * window.dilation, -step
            table = self.tables.add(_windows(entering, window.kernel)) + 8 * window.kernel
            common: dict[str, Any] = {"blank": blank, "size": window.kernel, "columns": held}
            done.append(self.recursion(
                kernel, weights, (SCRATCH, spare), (SCRATCH, source), table, state=(TABLES, self.zeros_at), keep=keep,
                rows=window.kernel - 1, out_row=0, **common,
            ))  # fmt: skip
            done.append(self.recursion(
                kernel, weights, (SCRATCH, target + first * self.apart), (SCRATCH, source),
                table + 8 * (window.kernel - 1), state=(SCRATCH, keep), keep=keep, rows=count,
                out_row=step * self.apart, **common,
            ))  # fmt: skip
        return done

    def stored(self, source: int, rows: int, columns: int, at: Offsets, row: int, spare: int) -> list[Steps]:
        """The transposed band as rows of the result, ``row`` bytes apart."""
        width, step = item_bytes(self.out_dtype), self.out_space[-1]
        if self.out_dtype == self.dtype and (step == width or columns == 1):
            return [self.transposed((OUT, at), (SCRATCH, source), columns, rows, columns, row, self.apart)]
        apart = -(-columns * self.item // LINE) * LINE
        return [
            self.transposed((SCRATCH, spare), (SCRATCH, source), columns, rows, columns, apart, self.apart),
            unpacking(self.dtype, self.out_dtype, [spare], apart, columns, rows, row, step, at),
        ]

    # --------------------------------------------------------------------------------------------------- one axis

    def lines(self) -> Iterator[list[Steps]]:
        """Tiles of a signal: pieces of it lie side by side as rows, each with the samples before it once more."""
        (window,), cut, item = self.problem.windows, self.cut, self.item
        longest = cut.longest + window.reach - 1
        line = self.room((cut.band * cut.longest + window.reach - 1) * item + cut.band * LINE)
        source, target = self.room(longest * self.apart), self.room(cut.longest * self.apart)
        keep, spare = (
            self.room(cut.band // self.kernels[-1].lanes * self.kernels[-1].state_bytes),
            self.room(self.apart),
        )
        for lo, hi in cut.columns:
            piece = -(-(hi - lo) // cut.band)
            first, reached = window.start + lo, piece + window.reach - 1
            span = first, first + cut.band * piece + window.reach - 1
            inside = span[0] >= 0 and span[1] <= window.size and self.in_place
            done: list[Steps] = []
            if inside and self.problem.input_dtype == self.dtype:
                x: tuple[int, Any] = (X, self.x_at + first * item)
            else:
                taken = Source(self.problem.input_dtype, self.x_space, item_bytes(self.problem.input_dtype), self.pixel)
                plane = Packed(line, (span[1] - span[0],), 1, item)
                done += packing(self.tables, (window,), (span,), taken, plane, self.dtype, self.problem.fill, self.x_at)
                x = (SCRATCH, line)
            done.append(self.transposed((SCRATCH, source), x, cut.band, reached, cut.band, self.apart, piece * item))
            done += self.along(piece, cut.band, np.arange(reached), source, target, keep, spare, self.blank)
            whole, rest = divmod(hi - lo, piece)
            at = self.out_at + lo * self.out_space[-1]
            done += self.stored(target, whole, piece, at, piece * self.out_space[-1], line)
            if rest:
                at = at + whole * piece * self.out_space[-1]
                done += self.stored(target + whole * item, 1, rest, at, 0, line)
            yield done

    # -------------------------------------------------------------------------------------------------- two axes

    def images(self) -> Iterator[list[Steps]]:
        """For each strip of columns and block of rows: bands of rows down the columns, each then along its rows."""
        down, last, cut = self.problem.windows[0], self.problem.windows[1], self.cut
        widest = max(hi - lo for lo, hi in cut.columns)
        reached = min(widest + last.reach - 1, last.size)
        nest, item = self.kernels[0], self.item
        b_row = (-(-reached * item // LINE) | 1) * LINE
        self.plane = self.room(max(cut.band * b_row, widest * self.apart)), b_row
        self.turned = self.room(max(reached, 1) * self.apart)
        self.rest = self.room(cut.band * (widest * item + LINE))
        self.keep = self.room((reached // nest.lanes + 3) * nest.state_bytes)
        self.keep_along = self.room(cut.band // nest.lanes * self.kernels[1].state_bytes)
        self.spare = self.room(self.apart)
        self.packed = 0 if self.in_place else self.room(2 * cut.band * b_row)
        for lo, hi in cut.columns:
            positions = np.arange(last.start + lo, last.start + hi - 1 + last.reach)
            _, sources = places((down, last), (np.zeros(1, np.int64), positions), (0, 1), self.pixel)
            held = np.unique(sources[sources > FILL])
            # Runs of columns that follow each other; there are two where the input is wrapped.
            runs = np.split(held, np.flatnonzero(np.diff(held) > 1) + 1) if len(held) else []
            place_of = np.where(sources > FILL, np.searchsorted(held, sources), sources)
            for phase in range(min(down.dilation, down.count)):
                for rows in cut.rows(phase):
                    yield self.block(phase, rows, (lo, hi), runs, place_of)

    def block(
        self, phase: int, rows: tuple[int, int], strip: tuple[int, int], runs: Sequence[Offsets], place_of: Offsets
    ) -> list[Steps]:
        """Rows ``lo..hi-1`` of those a dilation apart, in the direction in which the recursion runs."""
        down, smooth, cut = self.problem.windows[0], self.problem.smooth[0], self.cut
        count = len(range(phase, down.count, down.dilation))
        forward = smooth.direction == "forward"
        lo, hi = rows if forward else (count - rows[1], count - rows[0])
        entering = down.start + phase + down.dilation * np.arange(lo, hi + down.kernel - 1)
        order = entering if forward else entering[::-1]
        self.first, self.order = True, order
        if self.in_place:
            found, _ = places(
                self.problem.windows, (entering, np.zeros(1, np.int64)), (*self.x_space[:-1], self.x_space[-1])
            )
            self.table = self.tables.add(_windows(found if forward else found[::-1], down.kernel))
        done: list[Steps] = []
        warm = down.kernel - 1
        step = cut.band if not self.in_place else max(warm, 1)
        for begin in range(0, max(warm, 1), step):
            done += self.down(begin, min(step, warm - begin), runs, (self.turned, 0))
        at = self.out_at + strip[0] * self.out_space[-1]
        for begin in range(lo, hi, cut.band):
            held = min(cut.band, hi - begin)
            t = begin - lo
            done += self.down(warm + t, held, runs, self.plane)
            width = sum(map(len, runs))
            if width:
                done.append(
                    self.transposed(
                        (SCRATCH, self.turned), (SCRATCH, self.plane[0]), held, width, cut.band, self.apart,
                        self.plane[1],
                    )
                )  # fmt: skip
            done += self.along(
                strip[1] - strip[0],
                cut.band,
                place_of,
                self.turned,
                self.plane[0],
                self.keep_along,
                self.spare,
                (KERNEL, transposed_fill(self.problem)),
            )
            row = (begin if forward else hi + lo - 1 - begin) * down.dilation + phase
            apart = (1 if forward else -1) * down.dilation * self.out_space[0]
            done += self.stored(
                self.plane[0], held, strip[1] - strip[0], at + row * self.out_space[0], apart, self.rest
            )
        return done

    def down(self, begin: int, rows: int, runs: Sequence[Offsets], to: tuple[int, int]) -> list[Steps]:
        """Recursions down the columns: samples ``begin..begin+rows-1`` enter; results go to ``to``."""
        down, nest, done = self.problem.windows[0], self.kernels[0], list[Steps]()
        item = item_bytes(self.problem.input_dtype) if self.in_place else self.item
        table, keep, column = 0, self.keep, 0
        if self.in_place:
            table = self.table + 8 * (down.kernel + begin)
            leave = down.kernel
        else:
            # The rows that enter are packed, and once more those that leave.
            leave = rows
            halves = [
                self.order[begin : begin + rows],
                self.order[max(0, begin - down.kernel) : max(0, begin + rows - down.kernel)],
            ]
            order = -1 if len(self.order) > 1 and self.order[0] > self.order[1] else 1
            b_row, offsets = self.plane[1], np.full((2, rows), ZEROS)
            for half, found in enumerate(halves):
                at = np.arange(len(found))[::order] * b_row + half * self.cut.band * b_row
                offsets[half, rows - len(found) :] = at
            table = self.tables.add(offsets[::-1]) + 8 * rows
        for run in runs:
            if self.in_place:
                x: tuple[int, Any] = (X, self.x_at + int(run[0]) * item)
            else:
                x = (SCRATCH, self.packed + column * self.item)
                done += self.packed_rows(halves, run, column, order)
            state = (TABLES, self.zeros_at) if self.first else (SCRATCH, keep)
            done.append(
                self.recursion(
                    nest, 0, (SCRATCH, to[0] + column * self.item), x, table, self.blank, state, keep, leave, rows,
                    len(run), to[1],
                )
            )  # fmt: skip
            column += len(run)
            keep += -(-len(run) // nest.lanes) * nest.state_bytes
        self.first = False
        return done

    def packed_rows(self, halves: Sequence[Offsets], run: Offsets, column: int, order: int) -> list[Steps]:
        """Rows of samples, converted, in ascending order."""
        done: list[Steps] = []
        source = Source(self.problem.input_dtype, self.x_space, item_bytes(self.problem.input_dtype), self.pixel)
        for half, found in enumerate(halves):
            if len(found):
                begin = self.packed + half * self.cut.band * self.plane[1] + column * self.item
                plane = _Rows(begin, (len(found), len(run)), self.plane[1], self.item)
                spans = np.ascontiguousarray(found[::order]), (int(run[0]), int(run[-1]) + 1)
                done += packing(
                    self.tables, self.problem.windows, spans, source, plane, self.dtype, self.problem.fill, self.x_at
                )
        return done


class _Rows(Packed):
    """Rows in scratch memory that are further apart than they are long."""

    __slots__ = ("_row",)

    def __init__(self, begin: int, shape: tuple[int, int], row: int, item: int) -> None:
        Packed.__init__(self, begin, shape, 1, item)
        object.__setattr__(self, "_row", row)

    @property
    def row(self) -> int:
        return self._row
