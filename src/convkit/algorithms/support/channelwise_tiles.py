"""Depthwise convolution with channels side by side, as a program: what is done for each tile of outputs.

Where the channels of an array lie side by side they are read, or written, where they are. Otherwise some of them are
turned into scratch memory, vectors of channels pixel by pixel, and sums are turned back on their way out. Upsampled
problems are done phase by phase, all phases of a tile in one place.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.channelwise_tables import Axis, Lookup
from convkit.algorithms.support.channelwise_turning import Laid, Turning, filled
from convkit.algorithms.support.channelwise_ways import TURNED, Ways, boxes, halved
from convkit.algorithms.support.channelwise_weights import Piece, kernel_rows, pieces, weights_of
from convkit.algorithms.support.finishing import ending_of
from convkit.algorithms.support.packing import LINE, item_bytes
from convkit.algorithms.support.planes import Box, Strides, space
from convkit.algorithms.support.register_tiles import largest
from convkit.algorithms.support.strips import Bases
from convkit.codegen import channelwise
from convkit.codegen.channelwise import Channelwise
from convkit.codegen.channelwise_nest import held, most_pixels
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.numbers import stored_as
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import KERNEL, SCRATCH, TABLES, Steps, X
from convkit.codegen.window_tile import WindowTile
from convkit.planner.problem import Problem

Offsets = NDArray[np.int64]

BIAS = 5
"""The base under which the bias lies."""

ALONE = Bases(bias=BIAS)
"""The bases of a layer that is a program by itself."""


@lru_cache(maxsize=256)
def program(problem: Problem, x_strides: Strides, out_strides: Strides, stored: str, ways: Ways) -> Program:
    """Everything about a call but its arrays; results are of type ``stored``."""
    tables = Tables()
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    tasks: list[list[Steps]] = []
    scratch = 0
    for box in boxes(problem, ways.vectors):
        tile = Tile(problem, ways, tables, box, x_strides, out_strides, stored)
        for lo, hi in halved(-(-problem.groups // lanes), ways.vectors):
            tasks.append(tile.steps(lo * lanes, min(hi * lanes, problem.groups)))
        scratch = max(scratch, tile.bytes)
    return join(tasks, tables.array(), scratch)


@lru_cache(maxsize=256)
def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs at most."""
    item, box = item_bytes(problem.compute_dtype), boxes(problem, TURNED)[0]
    strides = 0, problem.out_channels * item, item, *(0 for _ in problem.windows)
    return Tile(problem, Ways(False, False), Tables(), box, strides, strides, problem.compute_dtype).bytes


class Phase:
    """Some outputs of a tile: those whose windows meet the same phase of samples."""

    def __init__(self, piece: Piece, outputs: list[range]) -> None:
        self.piece, self.outputs = piece, outputs
        self.axes = [Axis(window, along) for window, along in zip(piece.windows, outputs, strict=False)]

    @property
    def counts(self) -> list[int]:
        """Outputs along each axis."""
        return [len(along) for along in self.outputs]

    def tile(self, outputs: int = 0) -> WindowTile:
        """Neighbouring outputs that are done together; those that meet nothing are so too."""
        if self.axes:
            return self.axes[-1].tile(outputs)
        return WindowTile(largest(self.counts[-1], most_pixels(this_machine(), 1)), 1)


class Tile:
    """The steps of one box of outputs, for every sample of the batch and some groups.

    ``vectors`` of groups are done together, by default as many as the way allows. What is stored are the sums; or, for
    the gradient of the weights, the gradient of the outputs is read instead. Either is of type ``stored``. ``ring``:
    how many rows are kept of samples that are read where they lie, and which is the first; 0 of all.
    """

    def __init__(
        self, problem: Problem, ways: Ways, tables: Tables, box: Box, x_strides: Strides, out_strides: Strides,
        stored: str, vectors: int = 0, outputs: Literal["stored", "read"] = "stored",
        bases: Bases = ALONE, ring: tuple[int, int] = (0, 0),
    ) -> None:  # fmt: skip
        self.bases, self.ring = bases, ring
        self.problem, self.ways, self.tables, self.box = problem, ways, tables, box
        self.x_strides, self.out_strides = x_strides, out_strides
        self.dtype, self.item = problem.compute_dtype, item_bytes(problem.compute_dtype)
        self.lanes, self.vector = lanes_of(this_machine(), self.dtype), this_machine().vector_bytes
        self.stored = stored
        arrays = (problem.input_dtype, x_strides), (stored, out_strides)
        self.turn_x, self.turn_out = (Turning(self.dtype, *array, tables) for array in arrays)
        self.counts = [hi - lo for lo, hi in box]
        self.phases = [
            Phase(piece, outputs)
            for piece in pieces(problem.windows)
            for outputs in (piece.outputs(box),)
            if all(map(len, outputs))
        ]
        # Sums of one output channel after another have one place; where all are wanted, each has its own.
        self.together = outputs == "stored" and self.turn_out.side_by_side(problem.out_channels)
        apart = self.together or outputs == "read"
        self._lay_out(min(vectors or ways.vectors, -(-problem.groups // self.lanes)) * self.vector, apart)

    def _lay_out(self, pixel: int, apart: bool) -> None:
        """Where everything lies in scratch memory, and how much that is: addresses, samples, sums."""
        phases, channels = [phase for phase in self.phases if phase.axes], self.problem.in_channels
        entries = [phase.piece.kernel[0] * channels * held(len(phase.tile().positions)) for phase in phases]
        at = -(-8 * max([1, *entries]) // LINE) * LINE + LINE
        self.needed: list[Offsets] = []
        for axis in range(len(self.box)):
            all_of = [phase.axes[axis].needed() for phase in phases]
            found = np.unique(np.concatenate(all_of)) if all_of else np.zeros(0, np.int64)
            self.needed.append(filled(found) if axis == len(self.box) - 1 else found)
        sizes = [len(found) for found in self.needed]
        self.samples = Laid(at, _packed(sizes, pixel), math.prod(sizes) * pixel)
        at += 0 if self.ways.read else self.samples.channel * channels + LINE
        size = 0 if self.ways.write else math.prod(self.counts) * pixel + LINE
        self.sums = Laid(at, _packed(self.counts, pixel), size if apart else 0)
        self.spare = at + size * (self.problem.out_channels if apart else 1)
        self.bytes = self.spare + size

    def steps(self, lo: int, hi: int) -> list[Steps]:
        """All of them, in order, for the groups from ``lo`` to ``hi``."""
        found: list[Steps] = []
        batch = np.arange(self.problem.batch, dtype=np.int64)
        x = batch * self.x_strides[0] + lo * self.x_strides[1] + self.bases.x[1]
        out = self.first_output(batch * self.out_strides[0] + lo * self.out_strides[1]) + self.bases.out[1]
        if not self.ways.read:
            found += self.lay_samples(x, hi - lo)
        for o in range(self.problem.out_channels):
            at = out + o * self.out_strides[2]
            found += [self.multiply_add(phase, x, at, o, lo, hi) for phase in self.phases]
            if not self.ways.write and not self.together:
                found += self.turn_out.store(at, self.counts, self.sums, hi - lo, self.spare)
        if self.together and not self.ways.write:
            found += self.turn_out.store_together(out, self.counts, self.sums, self.problem.out_channels, hi - lo)
        return found

    def first_output(self, out: Offsets) -> Offsets:
        """Where the first output of the box lies, if that of the whole result lies at ``out``."""
        return out + sum(lo * s for (lo, _), s in zip(self.box, space(self.out_strides), strict=True))

    def lay_samples(self, x: Offsets, groups: int) -> list[Steps]:
        """Lay the samples of all channels of every group down."""
        return self.turn_x.lay(X, x, self.needed, self.samples, self.problem.in_channels, groups)

    def lay_gradient(self, g: Offsets, groups: int) -> list[Steps]:
        """Lay the gradient of all output channels of every group down where their sums would be."""
        box = [np.arange(lo, hi, dtype=np.int64) for lo, hi in self.box]
        return self.turn_out.lay(KERNEL, g, box, self.sums, self.problem.out_channels, groups)

    def multiply_add(
        self, phase: Phase, x: Offsets, out: Offsets, o: int, lo: int, hi: int
    ) -> Steps:  # fmt: skip
        """The outputs of one phase."""
        problem, cut, ways = self.problem, weights_of(self.problem), self.ways
        tile = phase.tile()
        starts = [min(at, phase.counts[-1] - tile.outputs) for at in range(0, phase.counts[-1], tile.outputs)]
        first, move, tables = self.geometry(phase, tile, starts, problem.in_channels)
        edge, channels = self.edge(hi - lo)
        schedule = Channelwise(
            self.dtype, self.lanes, tile, edge, ways.reads, spacing=phase.piece.elements[-1].step or 1,
            results=ways.results, ending=ending_of(problem.epilogue, "channel"), **self.types,
        )  # fmt: skip
        return channelwise.ARGUMENTS.steps(
            address_of(schedule), len(x), bias=(self.bases.bias, lo * self.item), w_vector=cut.each, out_pixel=move,
            w=(self.bases.kernel, cut.at(o, lo // self.lanes)),
            out=(self.bases.out[0], out + first) if ways.write
            else (SCRATCH, self.sums.at + o * self.sums.channel + first),
            x=(self.bases.x[0], x) if ways.read else self.samples.place(0), **tables, **self.lanes_of(channels),
        )  # fmt: skip

    @property
    def types(self) -> dict[str, str]:
        """Types of samples and outputs where they lie; what is laid down is of that of the sums."""
        return {
            "samples": stored_as(self.problem.input_dtype, self.dtype) if self.ways.read else "",
            "outputs": stored_as(self.stored, self.dtype) if self.ways.write else "",
        }

    def geometry(
        self, phase: Phase, tile: WindowTile, starts: list[int], channels: int
    ) -> tuple[int, int, dict[str, Any]]:
        """Where the first output lies, how far apart they are, and the arguments about rows and tiles."""
        to = space(self.out_strides) if self.ways.write else self.sums.strides
        moves = [step * stride for (_, step), stride in zip(phase.piece.targets, to, strict=True)]
        first = sum(
            (along.start * step + begin - lo) * stride
            for along, (begin, step), (lo, _), stride in zip(
                phase.outputs, phase.piece.targets, self.box, to, strict=True
            )
        )
        if self.ways.read:
            lookup, channel = Lookup(phase.axes, space(self.x_strides), None, self.ring), self.x_strides[2]
        else:
            lookup, channel = Lookup(phase.axes, self.samples.strides, self.needed), self.samples.channel
        elements = kernel_rows(self.problem, phase.piece, channels) if phase.axes else np.zeros(1, np.int64)
        return first, moves[-1], {
            **lookup.tables(self.tables, phase.counts, moves, starts, tile, channel, elements),
            "places": (SCRATCH, 0), "ahead": tile.outputs * tile.stride * space(self.x_strides)[-1],
        }  # fmt: skip

    def edge(self, groups: int) -> tuple[Literal["whole", "masked"], int]:
        """Whether the last channels are masked, as they are outside scratch memory, and how many are done."""
        if groups % self.lanes and (self.ways.read or self.ways.write):
            return "masked", groups
        return "whole", -(-groups // self.lanes) * self.lanes

    def lanes_of(self, channels: int) -> dict[str, Any]:
        """The arguments about channels: how many, and what marks stand for."""
        fill = np.full(channels, self.problem.fill.real, self.dtype)
        both = {"zeros": np.zeros(channels, self.dtype), "fill": fill}
        blank = {name: (TABLES, self.tables.add(_words(numbers))) for name, numbers in both.items()}
        return {"channels": channels, **blank}


def _packed(sizes: list[int], pixel: int) -> Strides:
    """Bytes from pixel to pixel along each axis of an array of such sizes."""
    return tuple(pixel * math.prod(sizes[axis + 1 :]) for axis in range(len(sizes)))


def _words(numbers: NDArray[Any]) -> Offsets:
    """Numbers as the words of a table."""
    return np.frombuffer(numbers.tobytes().ljust(-(-numbers.nbytes // 8) * 8, b"\0"), np.int64)
