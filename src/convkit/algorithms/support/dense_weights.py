"""Weights in the order in which the register tile reads them: block by block, there term by term."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit import threads
from convkit.algorithms.support.packing import item_bytes
from convkit.algorithms.support.planes import Strides
from convkit.codegen import gather, pool, transpose, unpack
from convkit.codegen.library import address_of
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

    __slots__ = ("_kernel", "_ordered")

    def __init__(self, problem: Problem, kernel: NDArray[Any]) -> None:
        self._kernel = np.asarray(kernel, problem.compute_dtype)
        self._ordered: dict[Blocks, NDArray[Any]] = {}

    def ordered(self, problem: Problem, blocks: Blocks) -> NDArray[Any]:
        """One row for each group, in order; put so when it is first asked for."""
        known = self._ordered.get(blocks)
        if known is None:
            known = self._ordered[blocks] = pack_weights(problem.plain.derive(batch=1), blocks, self._kernel)
        return known


def pack_weights(problem: Problem, blocks: Blocks, kernel: NDArray[Any]) -> NDArray[Any]:
    """The same now."""
    channels = sum(size * count for size, count in blocks)
    packed = np.empty((problem.groups, channels * problem.terms), problem.compute_dtype)
    if packed.size != kernel.size:
        packed[...] = 0
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
        self.problem, self.strides = problem, strides
        self.dtype, self.item = problem.compute_dtype, item_bytes(problem.compute_dtype)
        self.groups = np.arange(problem.groups, dtype=np.int64)
        self.group_bytes = problem.terms * sum(size * count for size, count in blocks) * self.item
        taps = np.zeros(1, np.int64)
        for size, stride in zip(problem.kernel_shape[3:], strides[3:], strict=True):
            taps = (taps[:, None] + np.arange(size, dtype=np.int64) * stride).ravel()
        self.taps = taps
        channels = np.arange(problem.in_channels, dtype=np.int64)[:, None] * strides[2]
        self.terms = (channels + taps).ravel()
        apart = set(np.diff(self.terms).tolist())
        if apart == {self.item}:
            self.blocks = self._turned
        elif strides[1] == self.item and len(apart) <= 1:
            self.blocks = self._copied
        elif strides[1] == self.item and len(set(np.diff(taps).tolist())) <= 1:
            self.blocks = self._copied_by_channels
        elif strides[2] == self.item:
            self.blocks = self._turned_by_elements
        elif set(np.diff(taps).tolist()) in ({self.item}, {-self.item}):
            self.blocks = self._turned_by_channels
        else:
            self.blocks = self._gathered

    def places(self, first: int, size: int) -> tuple[tuple[int, Any], tuple[int, Any]]:
        """Where a block goes, and where it comes from."""
        to = self.groups * self.group_bytes + first * self.problem.terms * self.item
        return (OUT, to), (X, self.groups * self.strides[0] + first * self.strides[1])

    def _turned(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """All terms of a channel lie side by side."""
        to, x = self.places(first, size)
        return [
            transpose.ARGUMENTS.steps(
                address_of(transpose.Transpose(self.dtype)), len(self.groups), to=to, x=x, planes=count,
                to_plane=size * self.problem.terms * self.item, x_plane=size * self.strides[1], rows=rows,
                columns=self.problem.terms, width=rows, to_row=size * self.item, x_row=self.strides[1],
            )
        ]  # fmt: skip

    def _turned_by_channels(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """The kernel elements of a pair of channels lie side by side, in order or reversed."""
        found: list[Steps] = []
        taps, line = self.problem.taps, size * self.item
        backwards = self.strides[-1] < 0 or (self.terms[1] < self.terms[0])
        for n in range(count):
            (base, to), (x_base, x) = self.places(first + n * size, size)
            found.append(
                transpose.ARGUMENTS.steps(
                    address_of(transpose.Transpose(self.dtype)), len(self.groups),
                    to=(base, to + (line * (taps - 1) if backwards else 0)), to_plane=taps * line,
                    x=(x_base, x + (int(self.terms[taps - 1]) if backwards else 0)), x_plane=self.strides[2],
                    planes=self.problem.in_channels, rows=rows, columns=taps, width=rows,
                    to_row=-line if backwards else line, x_row=self.strides[1],
                )
            )  # fmt: skip
        return found

    def _turned_by_elements(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """The input channels of a kernel element lie side by side."""
        found: list[Steps] = []
        taps, line = self.problem.taps, size * self.item
        for n, tap in product(range(count), range(taps)):
            (base, to), (x_base, x) = self.places(first + n * size, size)
            found.append(
                transpose.ARGUMENTS.steps(
                    address_of(transpose.Transpose(self.dtype)), len(self.groups), to=(base, to + tap * line),
                    x=(x_base, x + int(self.taps[tap])), planes=1, to_plane=0, x_plane=0, rows=rows,
                    columns=self.problem.in_channels, width=rows, to_row=taps * line, x_row=self.strides[1],
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

    def _copied_by_channels(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """The output channels of a term lie side by side; kernel elements and input channels are evenly apart."""
        found: list[Steps] = []
        taps, line = self.problem.taps, size * self.item
        step = int(self.taps[1] - self.taps[0]) if taps > 1 else 0
        for n in range(count):
            to, x = self.places(first + n * size, size)
            found.append(
                unpack.ARGUMENTS.steps(
                    address_of(unpack.Unpack(self.dtype, self.dtype)), len(self.groups), out=to, sums=x, imaginary=x,
                    planes=self.problem.in_channels, out_plane=taps * line, sums_plane=self.strides[2], rows=taps,
                    out_row=line, sums_row=step, columns=rows, out_step=self.item,
                )
            )  # fmt: skip
        return found

    def _gathered(self, tables: Tables, first: int, size: int, rows: int, count: int) -> list[Steps]:
        """Any other view."""
        to, x = self.places(first, size)
        rows_at = tables.add(np.arange(rows, dtype=np.int64) * self.strides[1])
        return [
            gather.ARGUMENTS.steps(
                address_of(gather.Gather(self.dtype)), len(self.groups), to=to, x=x, planes=count,
                to_plane=size * self.problem.terms * self.item, x_plane=size * self.strides[1], rows=rows,
                terms=self.problem.terms, to_row=size * self.item, rows_at=(TABLES, rows_at),
                terms_at=(TABLES, tables.add(self.terms)),
            )
        ]  # fmt: skip
