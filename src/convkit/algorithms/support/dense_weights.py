"""Weights in the order in which the register tile reads them: block by block, there term by term."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit import threads
from convkit.algorithms.support.dense_blocks import runs
from convkit.algorithms.support.packing import item_bytes
from convkit.algorithms.support.planes import Strides, offsets
from convkit.codegen import gather, pool, recording, transpose, unpack
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.memory import address
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import OUT, TABLES, Steps, X
from convkit.planner.problem import Problem

Blocks = tuple[tuple[int, int], ...]
"""How many output channels, and blocks of that many, as `dense_blocks.Blocking` has them."""

AT_ONCE = 1 << 16
"""Weights that one task puts in order, roughly."""

SECONDS = 3e-10
"""What one takes."""


class Weights:
    """Weights (groups, out, in, *kernel), a view with any strides, in whatever orders the tiles of layouts ask for."""

    __slots__ = ("_ordered", "kernel")

    def __init__(self, problem: Problem, kernel: NDArray[Any]) -> None:
        self.kernel = np.asarray(kernel, problem.compute_dtype)
        self._ordered: dict[Blocks, NDArray[Any]] = {}

    def ordered(self, problem: Problem, blocks: Blocks) -> NDArray[Any]:
        """One row for each group, in order; put so when it is first asked for."""
        known = self._ordered.get(blocks)
        if known is None:
            alone = problem.batch == 1 and problem.epilogue is None
            one = problem if alone else problem.plain.derive(batch=1)
            known = self._ordered[blocks] = pack_weights(one, blocks, self.kernel)
        return known


def pack_weights(problem: Problem, blocks: Blocks, kernel: NDArray[Any]) -> NDArray[Any]:
    """The same now."""
    channels = sum(size * count for size, count in blocks)
    made = recording.working if problem.groups * channels * problem.terms == kernel.size else recording.cleared
    packed = made((problem.groups, channels * problem.terms), problem.compute_dtype)
    program = _program(problem, blocks, kernel.strides)
    pool.run(program, (address(packed), address(kernel), 0), threads.num_threads(), packed.size * SECONDS)
    return packed


@lru_cache(maxsize=128)
def _program(problem: Problem, blocks: Blocks, strides: Strides) -> Program:
    tables, order = Tables(), _Order(problem, blocks, strides)
    tasks: list[list[Steps]] = []
    first = 0
    for size, count in blocks:
        at_once = max(1, AT_ONCE // (size * problem.terms))
        whole = min(count, (problem.out_channels - first) // size)
        for n in range(0, whole, at_once):
            tasks.append(order.blocks(tables, first + n * size, size, size, min(at_once, whole - n)))
        if whole < count:  # the last block's channels are not all there
            begin = first + whole * size
            tasks.append(order.blocks(tables, begin, size, problem.out_channels - begin, 1))
        first += size * count
    return join(tasks, tables.array(), 64)


class _Order:
    """Chooses how blocks are put in order: by which of their numbers are neighbours."""

    def __init__(self, problem: Problem, blocks: Blocks, strides: Strides) -> None:
        self.problem, self.strides, self.runs = problem, strides, runs(problem)
        self.dtype, self.item = problem.compute_dtype, item_bytes(problem.compute_dtype)
        self.lanes = this_machine().vector_bytes // self.item
        self.groups = np.arange(problem.groups, dtype=np.int64)
        self.group_bytes = problem.terms * sum(size * count for size, count in blocks) * self.item
        self.taps = offsets(problem.kernel_shape[3:], strides[3:])
        channels = np.arange(problem.in_channels, dtype=np.int64)[:, None] * strides[2]
        self.terms = (channels + self.taps).ravel()
        even, side_by_side = set(np.diff(self.terms).tolist()), set(np.diff(self.taps).tolist())
        if even == {self.item}:
            self.blocks = self._turned if len(self.runs) == 1 else self._turned_apart
        elif strides[1] == self.item and len(even) <= 1 and len(self.runs) == 1:
            self.blocks = self._copied
        elif strides[1] == self.item and len(side_by_side) <= 1:
            self.blocks = self._copied_by_runs
        elif strides[2] == self.item:
            self.blocks = self._turned_by_elements
        elif side_by_side in ({self.item}, {-self.item}):
            self.blocks = self._turned_by_channels
        else:
            self.blocks = self._gathered

    def places(self, first: int, size: int) -> tuple[tuple[int, Any], tuple[int, Any]]:
        """Where a block goes, and where it comes from."""
        to = self.groups * self.group_bytes + first * self.problem.terms * self.item
        return (OUT, to), (X, self.groups * self.strides[0] + first * self.strides[1])

    def positions(self) -> NDArray[np.int64]:
        """The place of every term (channel, kernel element) in the order in which they are summed."""
        found = np.empty((self.problem.in_channels, self.problem.taps), np.int64)
        for run in self.runs:
            count, each = run.channels[1] - run.channels[0], run.taps[1] - run.taps[0]
            found[slice(*run.channels), slice(*run.taps)] = run.at + np.arange(count * each).reshape(count, each)
        return found

    def table(self, tables: Tables, rows: NDArray[np.int64]) -> tuple[int, int]:
        """A table of places, and as many entries more as a vector has lanes."""
        return TABLES, tables.add(np.concatenate((rows, np.zeros(self.lanes, np.int64))))

    def _turned(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """All terms of a channel lie side by side, in order."""
        to, x = self.places(first, size)
        return [
            transpose.ARGUMENTS.steps(
                address_of(transpose.Transpose(self.dtype)), len(self.groups), to=to, x=x, planes=count,
                to_plane=size * self.problem.terms * self.item, x_plane=size * self.strides[1], rows=rows,
                columns=self.problem.terms, width=rows, to_row=size * self.item, x_row=self.strides[1],
            )
        ]  # fmt: skip

    def _turned_apart(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """All terms of a channel lie side by side, but are summed in another order."""
        to, x = self.places(first, size)
        return [
            transpose.PLACED_ARGUMENTS.steps(
                address_of(transpose.Transpose(self.dtype, places="table")), len(self.groups), to=to, x=x,
                to_at=self.table(tables, self.positions().ravel() * (size * self.item)), planes=count,
                to_plane=size * self.problem.terms * self.item, x_plane=size * self.strides[1], rows=rows,
                columns=self.problem.terms, width=rows, x_row=self.strides[1],
            )
        ]  # fmt: skip

    def _turned_by_channels(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """The kernel elements of a pair of channels lie side by side, in order or reversed."""
        found: list[Steps] = []
        taps, line = self.problem.taps, size * self.item
        backwards, positions = bool(self.taps[-1] < self.taps[0]), self.positions()
        for n, (lo, hi) in product(range(count), dict.fromkeys(run.channels for run in self.runs)):
            (base, to), (x_base, x) = self.places(first + n * size, size)
            elements = positions[lo, ::-1] if backwards else positions[lo]
            found.append(
                transpose.PLACED_ARGUMENTS.steps(
                    address_of(transpose.Transpose(self.dtype, places="table")), len(self.groups), to=(base, to),
                    x=(x_base, x + lo * self.strides[2] + int(self.taps.min())), x_plane=self.strides[2],
                    to_at=self.table(tables, elements * line), planes=hi - lo, rows=rows, columns=taps, width=rows,
                    to_plane=(self.runs[0].taps[1] - self.runs[0].taps[0]) * line, x_row=self.strides[1],
                )
            )  # fmt: skip
        return found

    def _turned_by_elements(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """The input channels of a kernel element lie side by side."""
        found: list[Steps] = []
        line = size * self.item
        for n, run in product(range(count), self.runs):
            (base, to), (x_base, x) = self.places(first + n * size, size)
            (lo, hi), each = run.channels, run.taps[1] - run.taps[0]
            for number, tap in enumerate(range(*run.taps)):
                found.append(
                    transpose.ARGUMENTS.steps(
                        address_of(transpose.Transpose(self.dtype)), len(self.groups), planes=1, to_plane=0, x_plane=0,
                        to=(base, to + (run.at + number) * line), rows=rows, columns=hi - lo, width=rows,
                        x=(x_base, x + lo * self.item + int(self.taps[tap])), to_row=each * line,
                        x_row=self.strides[1],
                    )
                )  # fmt: skip
        return found

    def _copied(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """The output channels of a term lie side by side."""
        to, x = self.places(first, size)
        step = int(self.terms[1]) if len(self.terms) > 1 else 0
        return [
            unpack.ARGUMENTS.steps(
                address_of(unpack.Unpack(self.dtype, self.dtype)), len(self.groups), out=to, sums=x, imaginary=x,
                planes=count, out_plane=size * self.problem.terms * self.item, sums_plane=size * self.strides[1],
                rows=self.problem.terms, out_row=size * self.item, sums_row=step, columns=rows, out_step=self.item,
            )
        ]  # fmt: skip

    def _copied_by_runs(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """The output channels of a term lie side by side; kernel elements and input channels are evenly apart."""
        found: list[Steps] = []
        line = size * self.item
        step = int(self.taps[1] - self.taps[0]) if len(self.taps) > 1 else 0
        for n, run in product(range(count), self.runs):
            (base, to), (x_base, x) = self.places(first + n * size, size)
            (lo, hi), each = run.channels, run.taps[1] - run.taps[0]
            source = x_base, x + lo * self.strides[2] + int(self.taps[run.taps[0]])
            found.append(
                unpack.ARGUMENTS.steps(
                    address_of(unpack.Unpack(self.dtype, self.dtype)), len(self.groups), out=(base, to + run.at * line),
                    sums=source, imaginary=source, planes=hi - lo, out_plane=each * line, sums_plane=self.strides[2],
                    rows=each, out_row=line, sums_row=step, columns=rows, out_step=self.item,
                )
            )  # fmt: skip
        return found

    def _gathered(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """Any other view."""
        to, x = self.places(first, size)
        rows_at = tables.add(np.arange(rows, dtype=np.int64) * self.strides[1])
        summed = self.terms[np.argsort(self.positions().ravel())]
        return [
            gather.ARGUMENTS.steps(
                address_of(gather.Gather(self.dtype)), len(self.groups), to=to, x=x, planes=count,
                to_plane=size * self.problem.terms * self.item, x_plane=size * self.strides[1], rows=rows,
                terms=self.problem.terms, to_row=size * self.item, rows_at=(TABLES, rows_at),
                terms_at=(TABLES, tables.add(summed)),
            )
        ]  # fmt: skip
