"""Where the register tile of a layer finds its samples: in the input itself, or laid down in scratch memory.

Vectors of pixels are read from `planes`. Where vectors hold output channels, samples are read one by one, so they may
lie in any order: as rows of the input, not taken apart by strides; or, if the input has its channels side by side, so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.halves import stored
from convkit.algorithms.support.packing import (
    LINE,
    Packed,
    Source,
    item_bytes,
    packing,
    touched,
    touched_elements,
    touched_stride,
)
from convkit.algorithms.support.planes import Box, Planes, Strides, offsets, space
from convkit.codegen.program import Tables
from convkit.codegen.step import SCRATCH, Steps, X
from convkit.planner.problem import Problem
from convkit.spec.window import Window

PAGE = 1 << 12
"""Channels a multiple of this many bytes apart fall into the same sets of the caches. Where their numbers are read one
by one, a line for each, they are laid down elsewhere; vectors use what they fetch at once."""

FEW_SETS = 1 << 10
"""Pixels a multiple of this many bytes apart share so few sets of the first-level cache that no window fits them."""

MOST_BYTES = 1 << 20
"""Bytes of a tile with all its channels at most: of more, some channels at a time are laid down as planes."""

Offsets = NDArray[np.int64]
Side = Literal["pixels", "channels"]


class Layout(NamedTuple):
    """What lies side by side in the input and in the result."""

    samples: Side = "pixels"
    result: Side = "pixels"


PIXELS = Layout()


def layout_of(problem: Problem, x_strides: Strides, out_strides: Strides) -> Layout:
    """The layout that strides tell; any strides that are neither count as pixels."""

    def side(strides: Strides, channels: int, item: int) -> Side:
        return "channels" if channels > 1 and strides[2] == item != strides[-1] else "pixels"

    return Layout(
        side(x_strides, problem.in_channels, item_bytes(problem.input_dtype)),
        side(out_strides, problem.out_channels, item_bytes(stored(problem))),
    )


@dataclass(frozen=True, slots=True)
class Found:
    """Where the samples of some channels lie.

    Attributes
    ----------
    base : int
        The base that they are found from.
    at : ndarray of int
        The first pixel of each sample and group.
    strides : tuple of int
        Bytes from pixel to pixel along each axis.
    terms : ndarray of int
        How far each term's sample lies from its pixel: channel by channel, there kernel element by kernel element.
    """

    base: int
    at: Offsets
    strides: Strides
    terms: Offsets


class Samples(ABC):
    """The samples of one tile.

    Attributes
    ----------
    bytes : int
        Scratch memory that they take.
    """

    bytes: int

    @abstractmethod
    def lay(self, tables: Tables, at: Offsets, channels: Range, to: int = 0) -> tuple[list[Steps], Found]:
        """Steps that lay some channels down, and where they then are.

        ``at``: where the first channel of all lies in the input; ``to``: from where on scratch memory is used.
        """


class InPlace(Samples):
    """In the input: every window of the tile lies inside it."""

    bytes = 0

    def __init__(self, problem: Problem, windows: tuple[Window, ...], outputs: Box, x_strides: Strides) -> None:
        along, self.channel = space(x_strides), x_strides[2]
        starts = (window.start + lo * window.stride for window, (lo, _) in zip(windows, outputs, strict=True))
        self.first = sum(start * stride for start, stride in zip(starts, along, strict=True))
        self.strides = tuple(window.stride * stride for window, stride in zip(windows, along, strict=True))
        apart = [window.dilation * stride for window, stride in zip(windows, along, strict=True)]
        self.taps = offsets([window.kernel for window in windows], apart)

    def lay(self, tables: Tables, at: Offsets, channels: Range, to: int = 0) -> tuple[list[Steps], Found]:
        terms = np.arange(channels[1] - channels[0], dtype=np.int64)[:, None] * self.channel + self.taps
        return [], Found(X, at + self.first + channels[0] * self.channel, self.strides, terms.ravel())


class InPlanes(Samples):
    """In scratch memory, some channels at a time, a plane each."""

    def __init__(self, problem: Problem, planes: Planes, channels: int, x_strides: Strides) -> None:
        self.problem, self.planes, self.x_strides = problem, planes, x_strides
        self.bytes = planes.channel * channels

    def lay(self, tables: Tables, at: Offsets, channels: Range, to: int = 0) -> tuple[list[Steps], Found]:
        count, channel = channels[1] - channels[0], self.x_strides[2]
        steps = self.planes.pack(
            tables, self.problem.input_dtype, space(self.x_strides), self.problem.fill, at + channels[0] * channel,
            count, channel, to,
        )  # fmt: skip
        return steps, Found(SCRATCH, 0 * at + to, self.planes.strides, self.planes.elements(count))


class SideBySide(Samples):
    """In scratch memory, all channels at once, side by side in every pixel as they are in the input."""

    def __init__(
        self, problem: Problem, windows: tuple[Window, ...], outputs: Box, channels: int, x_strides: Strides
    ) -> None:  # fmt: skip
        self.problem, self.windows, self.channels, self.x_strides = problem, windows, channels, x_strides
        self.item = item_bytes(problem.compute_dtype)
        self.spans = [touched(window, along) for window, along in zip(windows, outputs, strict=True)]
        counts = [span[1] - span[0] if isinstance(span, tuple) else len(span) for span in self.spans]
        along, item = space(x_strides), item_bytes(problem.input_dtype)
        self.as_rows = along[-1] == channels * item and isinstance(self.spans[-1], tuple)
        line = channels * self.item
        if line % FEW_SETS == 0:
            line, self.as_rows = line + LINE, False
        if self.as_rows:  # a row of pixels is one row of numbers
            self.packed = Packed(0, (*counts[:-1], counts[-1] * channels), 1, self.item)
            along = tuple(self.packed.strides)
        else:  # a pixel is a row of numbers
            self.packed = Packed(0, (*counts, line // self.item), 1, self.item)
            along = self.packed.strides[:-1]
        self.bytes = self.packed.bytes
        apart = (*along, line)
        self.strides = tuple(touched_stride(window) * stride for window, stride in zip(windows, apart, strict=True))
        places = np.zeros(1, np.int64)
        for window, stride in zip(windows, apart, strict=True):
            elements = np.array(touched_elements(window), np.int64)
            places = (places[:, None] + elements * stride).ravel()
        self.taps = places

    def lay(self, tables: Tables, at: Offsets, channels: Range, to: int = 0) -> tuple[list[Steps], Found]:
        terms = np.arange(channels[1] - channels[0], dtype=np.int64)[:, None] * self.item + self.taps
        found = Found(SCRATCH, 0 * at + to + channels[0] * self.item, self.strides, terms.ravel())
        return ([] if channels[0] else self._steps(tables, at, to)), found

    def _steps(self, tables: Tables, at: Offsets, to: int) -> list[Steps]:
        problem, count = self.problem, self.channels
        along, item = space(self.x_strides), item_bytes(problem.input_dtype)
        if not self.as_rows:
            windows = (*self.windows, Window(count, 1, count))
            source = Source(problem.input_dtype, (*along, item), item)
            spans = [*self.spans, (0, count)]
        else:
            *leading, last = self.windows
            folded = Window(
                last.size * count, last.kernel, last.count * count, last.start * count, last.stride,
                last.dilation * count, sides=last.sides,
            )  # fmt: skip
            windows, source = (*leading, folded), Source(problem.input_dtype, (*along[:-1], item), item, count)
            begin, end = self.spans[-1]
            spans = [*self.spans[:-1], (int(begin) * count, int(end) * count)]
        packed = replace(self.packed, place=to)
        return packing(tables, windows, spans, source, packed, problem.compute_dtype, problem.fill, at)


def inside(problem: Problem, windows: tuple[Window, ...], outputs: Box) -> bool:
    """Whether all windows of a tile lie inside the input, whose numbers need no conversion."""
    return problem.input_dtype == problem.compute_dtype and all(
        window.start + lo * window.stride >= 0
        and window.start + (hi - 1) * window.stride + (window.kernel - 1) * window.dilation < window.size
        for window, (lo, hi) in zip(windows, outputs, strict=True)
    )


def of_numbers(
    problem: Problem, windows: tuple[Window, ...], outputs: Box, channels: tuple[int, int], x_strides: Strides,
    layout: Layout,
) -> Samples:  # fmt: skip
    """Samples that are read one by one.

    ``channels``: how many are laid down at a time where they are laid down as planes, and how many there are.
    """
    side_by_side = layout.samples == "channels"
    pixel = abs(space(x_strides)[-1])
    crowded = pixel % FEW_SETS == 0 and problem.taps > 1 if side_by_side else x_strides[2] % PAGE == 0
    if inside(problem, windows, outputs) and not crowded:
        return InPlace(problem, windows, outputs, x_strides)
    if side_by_side:
        together = SideBySide(problem, windows, outputs, channels[1], x_strides)
        if together.bytes <= MOST_BYTES:
            return together
    planes = Planes(windows, outputs, problem.compute_dtype, "together")
    return InPlanes(problem, planes, channels[0], x_strides)


def of_vectors(
    problem: Problem, windows: tuple[Window, ...], outputs: Box, planes: Planes, channels: int, x_strides: Strides
) -> Samples:  # fmt: skip
    """Samples that are read as vectors of pixels: in place if there is one kernel element, and no gap between rows."""
    along, last, item = space(x_strides), windows[-1], item_bytes(problem.compute_dtype)
    whole = outputs[-1][1] - outputs[-1][0] == last.size and all(window.stride == 1 for window in windows)
    neighbours = along[-1] == item and along[-2] in (0, item * last.size)
    if problem.taps == 1 and whole and neighbours and inside(problem, windows, outputs):
        return InPlace(problem, windows, outputs, x_strides)
    return InPlanes(problem, planes, channels, x_strides)
