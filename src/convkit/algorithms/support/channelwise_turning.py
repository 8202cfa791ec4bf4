"""Channels of arrays laid down as vectors in scratch memory, pixel by pixel, and turned back on their way out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.packing import item_bytes
from convkit.algorithms.support.planes import Strides, space
from convkit.codegen import gather, transpose, unpack
from convkit.codegen import groups as groups_of
from convkit.codegen.groups import Groups
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.numbers import stored_as
from convkit.codegen.program import Tables
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import OUT, SCRATCH, TABLES, Place, Steps

Offsets = NDArray[np.int64]

GAP = 16
"""Columns that no output needs, up to which they are turned with their neighbours."""


@dataclass(frozen=True, slots=True)
class Laid:
    """Where pixels, each some vectors of groups, lie in scratch memory.

    Attributes
    ----------
    at : int
        The first one of the first channel.
    strides : tuple of int
        Bytes from pixel to pixel along each axis.
    channel : int
        Bytes from one channel of every group to the next.
    """

    at: int
    strides: Strides
    channel: int

    def place(self, channel: int) -> Place:
        """Where a channel begins."""
        return SCRATCH, self.at + channel * self.channel


@dataclass(frozen=True, slots=True)
class Turning:
    """Steps between an array, whose strides are (batch, groups, channels, *space), and what is laid down of it.

    Attributes
    ----------
    dtype, stored : str
        The types of what is laid down, and of the array.
    """

    dtype: str
    stored: str
    strides: Strides
    tables: Tables

    @property
    def item(self) -> int:
        """Bytes of a number of the array."""
        return item_bytes(self.stored)

    @property
    def other(self) -> str:
        """The array's type, if it is another than that of what is laid down."""
        return stored_as(self.stored, self.dtype)

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return lanes_of(this_machine(), self.dtype)

    def side_by_side(self, channels: int) -> bool:
        """Whether the channels of a group lie side by side in every pixel, and groups do."""
        return channels > 1 and self.strides[2] == self.item and self.strides[1] == channels * self.item

    # -------------------------------------------------------------------------------------------------- the way in

    def lay(
        self, base: int, x: Offsets, needed: list[Offsets], laid: Laid, channels: int, groups: int
    ) -> list[Steps]:  # fmt: skip
        """Lay the samples ``needed`` along each axis down, of all channels of some groups."""
        if not all(len(found) for found in needed):
            return []
        together = self.side_by_side(channels)
        *_, rows, columns = needed
        *_, x_row, x_column = space(self.strides)
        found: list[Steps] = []
        for c, (at, to) in product(range(1 if together else channels), self._planes(needed, laid)):
            for (row, row_count), (column, column_count) in product(_runs(rows), _runs(columns)):
                begin = x + c * self.strides[2] + at + int(rows[row]) * x_row + int(columns[column]) * x_column
                there = to + c * laid.channel + row * laid.strides[-2] + column * laid.strides[-1]
                taken = self._apart if together else self._turned
                found += taken((base, begin), there, laid, row_count, column_count, channels, groups)
        return found

    def _planes(self, needed: list[Offsets], laid: Laid) -> Iterator[tuple[int, int]]:
        """Where every plane of rows and columns begins in the array, and where it is laid down."""
        outer, along = needed[:-2], space(self.strides)
        for index in product(*(range(len(axis)) for axis in outer)):
            at = sum(int(axis[i]) * s for axis, i, s in zip(outer, index, along, strict=False))
            yield at, laid.at + sum(i * s for i, s in zip(index, laid.strides, strict=False))

    def _apart(
        self, x: tuple[int, Offsets], to: int, laid: Laid, rows: int, columns: int, channels: int, groups: int
    ) -> Iterator[Steps]:  # fmt: skip
        """All channels of a group at once."""
        *_, x_row, x_column = space(self.strides)
        yield groups_of.ARGUMENTS.steps(
            address_of(Groups(self.dtype, channels, "apart", self.other)), len(x[1]), to=(SCRATCH, to), x=x, rows=rows,
            to_row=laid.strides[-2], x_row=x_row, pixels=columns, to_pixel=laid.strides[-1], x_pixel=x_column,
            groups=groups, channel=laid.channel, vector=this_machine().vector_bytes,
        )  # fmt: skip

    def _turned(
        self, x: tuple[int, Offsets], to: int, laid: Laid, rows: int, columns: int, channels: int, groups: int
    ) -> Iterator[Steps]:  # fmt: skip
        """One channel of some groups, vector by vector."""
        (base, begin), (to_row, pixel) = x, laid.strides[-2:]
        *_, x_row, x_column = space(self.strides)
        scattered = x_column != self.item and columns > 1
        if not scattered and columns * self.item == x_row and columns * pixel == to_row:  # one long row
            rows, columns = 1, rows * columns
        for v, lanes in self._vectors(groups):
            place = to + v * this_machine().vector_bytes
            moved = base, begin + v * self.lanes * self.strides[1]
            if scattered:
                rows_at = self.tables.add(np.arange(lanes, dtype=np.int64) * self.strides[1])
                terms_at = self.tables.add(np.arange(columns, dtype=np.int64) * x_column)
                yield gather.ARGUMENTS.steps(
                    address_of(gather.Gather(self.dtype, self.other)), len(begin), to=(SCRATCH, place), x=moved,
                    planes=rows, to_plane=to_row, x_plane=x_row, rows=lanes, to_row=pixel, rows_at=(TABLES, rows_at),
                    terms=columns, terms_at=(TABLES, terms_at),
                )  # fmt: skip
                continue
            kernel = transpose.Transpose(self.dtype, source=self.other)
            yield transpose.ARGUMENTS.steps(
                address_of(kernel), len(begin), to=(SCRATCH, place), x=moved, planes=rows,
                rows=lanes, to_plane=to_row, x_plane=x_row, columns=columns, width=self.lanes, to_row=pixel,
                x_row=self.strides[1],
            )  # fmt: skip

    def _vectors(self, groups: int) -> Iterator[tuple[int, int]]:
        """Each vector of groups, and how many of its lanes there are."""
        for v, first in enumerate(range(0, groups, self.lanes)):
            yield v, min(self.lanes, groups - first)

    # ------------------------------------------------------------------------------------------------- the way out

    def store(self, out: Offsets, counts: list[int], laid: Laid, groups: int, spare: int) -> list[Steps]:
        """Store one channel of some groups; ``spare`` is room for as many sums."""
        found: list[Steps] = []
        for at, sums in self._planes([*map(np.arange, counts)], laid):
            for v, lanes in self._vectors(groups):
                moved = out + at + v * self.lanes * self.strides[1]
                place = sums + v * this_machine().vector_bytes
                found += self._stored(moved, place, laid, lanes, counts[-2], counts[-1], spare)
        return found

    def store_together(
        self, out: Offsets, counts: list[int], laid: Laid, channels: int, groups: int
    ) -> list[Steps]:  # fmt: skip
        """Store all channels of some groups, side by side in every pixel."""
        *_, out_row, out_column = space(self.strides)
        kernel = Groups(self.dtype, channels, "together", self.other)
        return [
            groups_of.ARGUMENTS.steps(
                address_of(kernel), len(out), to=(OUT, out + at), x=(SCRATCH, sums), rows=counts[-2], to_row=out_row,
                x_row=laid.strides[-2], pixels=counts[-1], to_pixel=out_column, x_pixel=laid.strides[-1],
                groups=groups, channel=laid.channel, vector=this_machine().vector_bytes,
            )
            for at, sums in self._planes([*map(np.arange, counts)], laid)
        ]  # fmt: skip

    def _stored(
        self, out: Offsets, sums: int, laid: Laid, lanes: int, rows: int, columns: int, spare: int
    ) -> list[Steps]:  # fmt: skip
        sums_row, pixel = laid.strides[-2:]
        *_, out_row, out_column = space(self.strides)
        if out_column != self.item and columns > 1:
            count, item = rows * columns, item_bytes(self.dtype)
            turned = transpose.ARGUMENTS.steps(
                address_of(transpose.Transpose(self.dtype)), len(out), to=(SCRATCH, spare), x=(SCRATCH, sums),
                planes=1, rows=count, to_plane=0, x_plane=0, columns=lanes, width=count, to_row=count * item,
                x_row=pixel,
            )  # fmt: skip
            kernel = unpack.Unpack(self.dtype, self.stored, "strided")
            stored = unpack.ARGUMENTS.steps(
                address_of(kernel), len(out), out=(OUT, out), sums=(SCRATCH, spare), planes=lanes,
                imaginary=(SCRATCH, spare), out_plane=self.strides[1], sums_plane=count * item,
                rows=rows, out_row=out_row, sums_row=columns * item, columns=columns, out_step=out_column,
            )  # fmt: skip
            return [turned, stored]
        planes = rows
        if columns * self.item == out_row or rows == 1:  # one long row
            planes, columns = 1, rows * columns
        kernel = transpose.Transpose(self.dtype, stored=self.other)
        return [
            transpose.ARGUMENTS.steps(
                address_of(kernel), len(out), to=(OUT, out), x=(SCRATCH, sums), planes=planes,
                rows=columns, to_plane=out_row, x_plane=sums_row, columns=lanes, width=columns,
                to_row=self.strides[1], x_row=pixel,
            )
        ]  # fmt: skip


def filled(samples: Offsets) -> Offsets:
    """Samples in order, with those between them where only few are missing."""
    if not len(samples):
        return samples
    parts = [
        np.arange(samples[begin], samples[begin + count - 1] + 1, dtype=np.int64)
        for begin, count in _runs(samples, GAP)
    ]
    return np.concatenate(parts)


def _runs(samples: Offsets, gap: int = 1) -> Iterator[tuple[int, int]]:
    """Samples in order as runs of neighbours no more than ``gap`` apart: (the first one's number, how many)."""
    ends = [*(np.nonzero(np.diff(samples) > gap)[0] + 1).tolist(), len(samples)]
    begin = 0
    for end in ends:
        yield begin, end - begin
        begin = end
