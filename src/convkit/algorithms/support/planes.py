"""Tiles of several channels, laid down so that every kernel element finds its sample at a fixed distance.

A tile of the extended input becomes, channel by channel, planes whose rows stand a fixed pitch apart. The sample that
a kernel element meets lies as far from its pixel for one pixel of the tile as for any other. Where windows are moved in
strides, positions that leave the same rest have planes of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.halves import readable
from convkit.algorithms.support.packing import (
    Packed,
    Source,
    item_bytes,
    packing,
    places,
    touched,
    touched_count,
    touched_elements,
    touched_stride,
)
from convkit.codegen import pack, pack_channels
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.numbers import stored_as
from convkit.codegen.program import Tables
from convkit.codegen.step import SCRATCH, TABLES, Steps, X
from convkit.spec.window import Window

ONE_ROW = Window(1, 1, 1)
"""The axis of rows that signals lack."""

Box = tuple[Range, ...]
Strides = tuple[int, ...]


def with_rows(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """At least two axes: a signal is an image of one row."""
    return windows if len(windows) > 1 else (ONE_ROW, *windows)


def space(strides: Strides) -> Strides:
    """The strides of the convolved axes, likewise."""
    return strides[3:] if len(strides) > 4 else (0, *strides[3:])


def pitch(window: Window, outputs: int) -> int:
    """Pixels from one row of a tile to the next."""
    return -(-touched_count(window, outputs) // touched_stride(window))


def offsets(counts: Sequence[int], strides: Sequence[int]) -> NDArray[np.int64]:
    """How far each of ``counts`` elements lies from the first, in row-major order."""
    found = np.zeros(1, np.int64)
    for count, stride in zip(counts, strides, strict=True):
        found = (found[:, None] + np.arange(count, dtype=np.int64) * stride).ravel()
    return found


class Planes:
    """How the samples that a box of outputs needs lie in scratch memory.

    Attributes
    ----------
    channel : int
        Bytes from one channel to the next.
    counts : list of int
        Outputs along each axis.
    strides : tuple of int
        Bytes from pixel to pixel along each axis.

    Parameters
    ----------
    positions : {"apart", "together"}
        Whether positions that leave different rests have planes of their own, so that pixels are neighbours; those
        along the last axis have if some of them are left out.
    """

    def __init__(
        self, windows: tuple[Window, ...], outputs: Box, dtype: str, positions: Literal["apart", "together"] = "apart"
    ) -> None:
        self.windows, self.dtype = windows, dtype
        self.item = item_bytes(dtype)
        steps = [touched_stride(window) for window in windows]
        even = isinstance(touched(windows[-1], outputs[-1]), tuple)
        self.apart = steps if positions == "apart" else [1] * (len(steps) - 1) + [1 if even else steps[-1]]
        *before, last = zip(windows, outputs, strict=True)
        self.rows = [
            _whole(touched(window, along), apart) for (window, along), apart in zip(before, self.apart, strict=False)
        ]
        self.columns = touched(*last)
        rows = [len(found) // apart for found, apart in zip(self.rows, self.apart, strict=False)]
        columns = touched_count(last[0], last[1][1] - last[1][0])
        # What one channel becomes for one phase of the axes before the last; those of the last are apart within it.
        self.packed = Packed(0, (*rows, columns), self.apart[-1], self.item)
        self.phases = list(product(*map(range, self.apart[:-1])))
        self.channel = self.packed.bytes * len(self.phases)
        self.counts = [hi - lo for lo, hi in outputs]
        self.strides = tuple(
            step // apart * stride
            for step, apart, stride in zip(steps, self.apart, (*self.packed.strides, self.item), strict=True)
        )

    def pack(
        self, tables: Tables, dtype: str, strides: Strides, fill: complex, at: NDArray[np.int64], channels: int,
        x_channel: int, to: int = 0,
    ) -> list[Steps]:  # fmt: skip
        """Steps that lay some channels down, ``x_channel`` bytes apart in the input, which is of type ``dtype``."""
        source = Source(dtype, strides, item_bytes(dtype))
        found: list[Steps] = []
        for number, phase in enumerate(self.phases):
            spans = [along[first::apart] for along, first, apart in zip(self.rows, phase, self.apart, strict=False)]
            packed = replace(self.packed, place=to + number * self.packed.bytes)
            if readable(dtype, self.dtype) and x_channel == source.item != strides[-1]:
                found += self._channels_apart(tables, dtype, strides, fill, at, channels, spans, packed.place)
                continue
            found += packing(
                tables, self.windows, [*spans, self.columns], source, packed, self.dtype, fill, at, channels,
                x_channel, self.channel,
            )  # fmt: skip
        return found

    def _channels_apart(
        self, tables: Tables, dtype: str, strides: Strides, fill: complex, at: NDArray[np.int64], channels: int,
        rows: list[NDArray[np.int64]], to: int,
    ) -> list[Steps]:  # fmt: skip
        """The same where channels lie side by side in the input."""
        lanes = this_machine().vector_bytes // self.item
        value = np.frombuffer(np.array([fill.real], self.dtype).tobytes().ljust(8, b"\0"), np.int64)
        found: list[Steps] = []
        columns = _whole(self.columns, 1)
        kernel = pack_channels.PackChannels(self.dtype, stored_as(dtype, self.dtype))
        for phase in range(min(self.apart[-1], len(columns))):
            rows_at, columns_at = places(self.windows, [*rows, columns[phase :: self.apart[-1]]], strides)
            padded = np.full(-(-len(columns_at) // lanes) * lanes, pack.ZEROS)
            padded[: len(columns_at)] = columns_at
            found.append(
                pack_channels.ARGUMENTS.steps(
                    address_of(kernel), len(at), x=(X, at),
                    to=(SCRATCH, to + phase * self.packed.phase), rows_at=(TABLES, tables.add(rows_at)),
                    columns_at=(TABLES, tables.add(padded)), fill=(TABLES, tables.add(value)), rows=len(rows_at),
                    to_row=self.packed.row, columns=len(columns_at), channels=channels, to_channel=self.channel,
                )
            )  # fmt: skip
        return found

    @cached_property
    def taps(self) -> NDArray[np.int64]:
        """How far, in bytes, each kernel element's sample lies from the pixel."""
        found: list[int] = []
        for *leading, last in product(*(touched_elements(window) for window in self.windows)):
            phase, at = 0, 0
            for element, apart, row in zip(leading, self.apart, self.packed.strides, strict=False):
                phase = phase * apart + element % apart
                at += element // apart * row
            at += phase * self.packed.bytes + last % self.apart[-1] * self.packed.phase
            found.append(at + last // self.apart[-1] * self.item)
        return np.array(found, np.int64)

    def elements(self, channels: int) -> NDArray[np.int64]:
        """The same for each of so many channels, one after another."""
        return (np.arange(channels, dtype=np.int64)[:, None] * self.channel + self.taps).ravel()

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """How far, in bytes, each output's pixel lies from the first."""
        return offsets(self.counts, self.strides)


def _whole(span: Range | NDArray[np.int64], apart: int) -> NDArray[np.int64]:
    """All positions, and so many more that each phase has as many; no output meets those."""
    positions = np.arange(*span, dtype=np.int64) if isinstance(span, tuple) else span
    more = -len(positions) % apart
    return np.concatenate((positions, positions[-1] + 1 + np.arange(more, dtype=np.int64))) if more else positions
