"""The tables by which tiles whose channels lie side by side find their samples: rows, and positions along them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.packing import places
from convkit.algorithms.support.register_tiles import largest
from convkit.codegen.channelwise_nest import HEAD, held, most_pixels
from convkit.codegen.library import this_machine
from convkit.codegen.pack import FILL, ZEROS
from convkit.codegen.program import Tables
from convkit.codegen.step import TABLES
from convkit.codegen.window_tile import WindowTile
from convkit.spec.window import Window

Offsets = NDArray[np.int64]


class Axis:
    """What outputs along one axis meet: positions, and the samples that stand there."""

    def __init__(self, window: Window, outputs: range) -> None:
        self.window, self.outputs = window, outputs
        first = window.start + outputs.start * window.stride
        last = window.start + (outputs.stop - 1) * window.stride + window.reach
        (rows, columns) = places((window,), [np.arange(first, last, dtype=np.int64)], (1,))
        self.index = columns + 0 * rows
        counts = np.arange(len(outputs), dtype=np.int64) * window.stride
        elements = np.arange(window.kernel, dtype=np.int64) * window.dilation
        self.samples = self.index[counts[:, None] + elements]
        """The sample of each output and kernel element, or a mark."""

    def needed(self) -> Offsets:
        """The samples that any output meets."""
        return np.unique(self.samples[self.samples >= 0])

    def tile(self, outputs: int = 0) -> WindowTile:
        """So many neighbouring outputs; by default as many as registers hold, as evenly as they are shared out."""
        window = self.window
        most = outputs or largest(len(self.outputs), max(1, most_pixels(this_machine(), window.kernel)))
        return WindowTile(most, window.kernel, window.stride, window.dilation)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where the samples of tiles lie, as the kernels over pixels look it up.

    Attributes
    ----------
    axes : list of Axis
        What outputs meet along each axis; none if they meet nothing.
    strides : tuple of int
        Bytes from sample to sample along each axis.
    needed : list of array or None
        The samples along each axis that were laid down; None where they are read where they lie.
    ring : (int, int)
        How many rows there is room for along the first axis, one taking the place of another, and which row is the
        first; 0: for all.
    """

    axes: list[Axis]
    strides: tuple[int, ...]
    needed: list[Offsets] | None
    ring: tuple[int, int] = (0, 0)

    def tables(
        self, tables: Tables, counts: list[int], moves: list[int], starts: list[int], tile: WindowTile,
        channel: int, elements: Offsets,
    ) -> dict[str, Any]:  # fmt: skip
        """The arguments about rows, tiles and kernel rows.

        ``counts`` outputs along each axis stand ``moves`` bytes apart; tiles begin at ``starts``; samples of channels
        lie ``channel`` bytes apart; ``elements``: how far the weights of each kernel row lie from those of the first.
        """
        along = self._tiles(starts, tile, moves[-1])
        marked = bool((along == FILL).any())
        rows = self._rows(counts, moves, marked, channel, len(elements))
        found = {"rows_at": rows, "tiles_at": along, "elements_at": elements}
        return {
            **{name: (TABLES, tables.add(table)) for name, table in found.items()},
            "row_step": rows.shape[1] * 8, "rows": len(rows), "tiles": len(starts),
        }  # fmt: skip

    def _along(self, axis: int, samples: Offsets) -> Offsets:
        """How far samples along an axis lie from the first, in bytes; marks stay."""
        found = samples if self.needed is None else np.searchsorted(self.needed[axis], samples)
        rows, first = self.ring
        if axis == 0 and rows:
            found = (found - first) % rows
        return np.where(samples <= FILL, samples, found * self.strides[axis])

    def _tiles(self, starts: list[int], tile: WindowTile, move: int) -> Offsets:
        """For each tile how far it lies from its row, and how far the samples of each of its positions do."""
        first = np.array(starts, np.int64)
        table = np.zeros((len(first), 1 + held(len(tile.positions))), np.int64)
        table[:, 0] = first * move
        if self.axes:
            axis, last = len(self.axes) - 1, self.axes[-1]
            index = first[:, None] * tile.stride + np.array(tile.positions, np.int64)
            table[:, 1 : 1 + index.shape[1]] = self._along(axis, last.index[index])
        return table

    def _rows(
        self, counts: list[int], moves: list[int], marked: bool, channel: int, kernel_rows: int
    ) -> Offsets:  # fmt: skip
        """For each row of outputs where it lies, which kernel rows it meets, and where their samples lie."""
        lengths = counts[:-1]
        table = np.zeros((math.prod(lengths), HEAD + kernel_rows), np.int64)
        for n, index in enumerate(np.ndindex(*lengths)):
            table[n, 0] = sum(i * move for i, move in zip(index, moves, strict=False))
            if not self.axes:
                continue
            at = np.zeros(1, np.int64)
            for number, (i, axis) in enumerate(zip(index, self.axes, strict=False)):
                here, there = self._along(number, axis.samples[i])[None, :], at[:, None]
                outside = np.where(here <= FILL, here, there)
                at = np.where((here <= FILL) | (there <= FILL), outside, there + here).ravel()
            channels = np.arange(kernel_rows // len(at), dtype=np.int64)[:, None] * channel
            at = np.where(at <= FILL, at, channels + at).ravel()
            met = np.nonzero((at != ZEROS) | marked)[0]
            # Rows of zeros are left out, where those that are not lie side by side.
            first, last = (int(met[0]), int(met[-1]) + 1) if len(met) else (0, 0)
            table[n, 1:HEAD] = last - first, first * 8
            table[n, HEAD : HEAD + last - first] = at[first:last]
        return table
