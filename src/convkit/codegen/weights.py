"""Kernels of direct convolution, in the order in which the compiled loops read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.codegen.direct import Schedule, schedule_for
from convkit.codegen.library import address_of, this_machine

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Block:
    """A few neighbouring kernel rows, which are read together.

    Attributes
    ----------
    corner : tuple of int
        The kernel element that it begins with.
    rows, columns : int
        How many it has.
    """

    corner: tuple[int, ...]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Order:
    """In which order the elements of kernels of one shape are read.

    Attributes
    ----------
    schedule : Schedule
        The loop nest that reads them.
    blocks : tuple of Block
        Block after block; those of ``schedule.block`` rows come first.
    elements : ndarray of int
        The elements of a kernel, by their place in row-major order: within a block column after column, there row
        after row.
    """

    schedule: Schedule
    blocks: tuple[Block, ...]
    elements: NDArray[np.int64]

    @property
    def address(self) -> int:
        """Where the compiled kernel stands."""
        return address_of(self.schedule)

    @property
    def streaming(self) -> int:
        """Where its variant stands whose results go past the caches."""
        return address_of(replace(self.schedule, results="streamed"))

    def storing(self, dtype: str) -> int:
        """Where its variant stands that stores sums as another type."""
        return address_of(replace(self.schedule, stored=dtype))

    @property
    def full(self) -> int:
        """Blocks of ``schedule.block`` rows."""
        return sum(block.rows == self.schedule.block for block in self.blocks)

    def pack(self, kernel: Array) -> Array:
        """Weights of ``kernel``, of shape (groups, *kernel), one row for each group."""
        return np.take(kernel.reshape(len(kernel), -1), self.elements, axis=1)


@lru_cache(maxsize=512)
def order_for(shape: tuple[int, ...], arithmetic: str, apart: tuple[int, int] = (1, 1)) -> Order:
    """The order for kernels of ``shape``, which has two axes at least.

    Kernel rows and columns that are read together stand ``apart`` from each other: one, or more where windows are moved
    in strides.
    """
    *leading, rows, columns = shape
    row_phases = [range(phase, rows, apart[0]) for phase in range(min(apart[0], rows))]
    column_phases = [range(phase, columns, apart[1]) for phase in range(min(apart[1], columns))]
    schedule = schedule_for(this_machine(), arithmetic, *(len(phase) for phase in row_phases))
    numbers = np.arange(math.prod(shape)).reshape(shape)
    found: list[tuple[Block, NDArray[np.int64]]] = []
    for corner in product(*map(range, leading)):
        for across, along in product(row_phases, column_phases):
            for taken in schedule.blocks(len(across)):
                part = numbers[(*corner, slice(across[taken.start], across[taken.stop - 1] + 1, apart[0]))]
                part = part[:, along.start :: apart[1]]
                block = Block((*corner, across[taken.start], along.start), len(taken), len(along))
                found.append((block, part.T.ravel()))
    found.sort(key=lambda pair: pair[0].rows != schedule.block)  # stable: the order is kept otherwise
    return Order(schedule, tuple(block for block, _ in found), np.concatenate([part for _, part in found]))


def taps(order: Order, offsets: Sequence[Sequence[int] | NDArray[np.int64]]) -> NDArray[np.int64]:
    """For each block how far, in bytes, its first samples lie from the first of all, and its columns.

    ``offsets`` gives for each axis of the kernel the bytes from the first element's samples to each element's.
    """
    at = [sum(int(axis[i]) for axis, i in zip(offsets, block.corner, strict=True)) for block in order.blocks]
    return np.array([at, [block.columns for block in order.blocks]], np.int64).T
