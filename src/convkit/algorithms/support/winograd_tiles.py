"""Winograd's filtering as a program: what is done for each box of tiles, step by step.

Samples are laid down pixel by pixel, a vector of channels each; every tile is transformed, and multiplied frequency by
frequency with as many output channels as the task has; sums are transformed and stored. Transformed tiles of a whole
input exist nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.finishing import ending_of
from convkit.algorithms.support.packing import LINE, item_bytes
from convkit.algorithms.support.planes import Box, Strides
from convkit.algorithms.support.register_tiles import largest, shared
from convkit.algorithms.support.winograd_blocks import Blocking, blocking
from convkit.algorithms.support.winograd_packing import Offsets, laying, neighbours
from convkit.algorithms.support.winograd_weights import frequency_bytes, group_bytes, vector_bytes
from convkit.codegen import winograd_input, winograd_output, winograd_products, winograd_unpack
from convkit.codegen.library import address_of
from convkit.codegen.numbers import stored_as
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, STATUS, Steps, X
from convkit.codegen.winograd_input import WinogradInput
from convkit.codegen.winograd_output import WinogradOutput
from convkit.codegen.winograd_products import WinogradProducts
from convkit.codegen.winograd_unpack import WinogradUnpack
from convkit.planner.problem import Problem

BIAS, ADD = STATUS + 1, STATUS + 2
"""The bases of an epilogue's operands."""

PROGRAM_STEPS = 1 << 12
"""Steps of a program beyond which it is run several times, for some of the samples each."""


@lru_cache(maxsize=256)
def samples_at_once(problem: Problem, outputs: int) -> int:
    """For how many samples one program is made, so that it stays small however many there are."""
    cut = blocking(problem.derive(batch=1), outputs)
    steps = len(cut.boxes) * len(cut.blocks) * problem.groups * (3 + 3 * -(-problem.in_channels // cut.channels))
    return max(1, min(problem.batch, PROGRAM_STEPS // steps // cut.images * cut.images))


@lru_cache(maxsize=256)
def scratch(problem: Problem, outputs: int) -> int:
    """Bytes of scratch memory that one thread needs at most."""
    cut = blocking(problem.derive(batch=1), outputs)
    return _Tile(problem, cut, Tables(), cut.boxes[0], min(cut.images, problem.batch), "").bytes


@lru_cache(maxsize=256)
def program(
    problem: Problem, outputs: int, x_strides: Strides, out_strides: Strides, add_strides: Strides, stored: str
) -> Program:
    """Everything about a call but its arrays; an epilogue is done as results are stored, in the type ``stored``."""
    tables, cut = Tables(), blocking(problem.derive(batch=1), outputs)
    whole = problem.batch // cut.images * cut.images
    tasks: list[list[Steps]] = []
    scratch = 64
    for first, last, images in ((0, whole, cut.images), (whole, problem.batch, problem.batch - whole)):
        if first == last:
            continue
        samples = np.arange(first, last, images, dtype=np.int64)
        for box in cut.boxes:
            tile = _Tile(problem, cut, tables, box, images, stored)
            scratch = max(scratch, tile.bytes)
            tasks += [tile.steps(samples, x_strides, (out_strides, add_strides), n) for n in range(len(cut.blocks))]
    return join(tasks, tables.array(), scratch)


@dataclass(frozen=True, slots=True)
class _Area:
    """A part of scratch memory: blocks of channels, each of several images, ``row`` bytes from row to row."""

    place: int
    block: int
    image: int
    row: int


class _Tile:
    """The steps of one box of tiles of some images."""

    bytes: int

    def __init__(
        self, problem: Problem, cut: Blocking, tables: Tables, box: Box, images: int, stored: str
    ) -> None:  # fmt: skip
        self.problem, self.cut, self.tables, self.box, self.images = problem, cut, tables, box, images
        self.stored = stored
        rows, columns = (last - first for first, last in box)
        self.rows, self.columns, self.tiles = rows, columns, images * rows * columns
        pixel = cut.lanes * cut.item
        inputs, outputs = cut.channels // cut.lanes, max(last - first for first, last in cut.blocks)
        row = cut.reach(columns) * pixel
        image = cut.reach(rows) * row + LINE
        self.block = self.tiles * cut.tile + LINE
        out_row = columns * cut.outputs * pixel
        out_image = rows * cut.outputs * out_row
        # Samples go where sums will be, unless there are sums already; outputs where transformed samples were.
        samples, sums = images * inputs * image + cut.lanes * pixel, outputs * self.block
        self.sums_at = 0 if problem.in_channels <= cut.channels else samples
        self.transformed_at = max(samples, self.sums_at + sums)
        self.samples = _Area(0, image, inputs * image, row)
        self.results = _Area(self.transformed_at, images * out_image + LINE, out_image, out_row)
        transformed, results = inputs * self.block, outputs * self.results.block + cut.lanes * pixel
        self.bytes = self.transformed_at + max(transformed, results)

    def steps(self, samples: Offsets, x_strides: Strides, along: tuple[Strides, Strides], block: int) -> list[Steps]:
        """All of them, in order, from given samples on and for every group; ``along`` result and added array."""
        problem, cut = self.problem, self.cut
        groups = np.arange(problem.groups, dtype=np.int64)
        first, groups = np.repeat(samples, len(groups)), np.tile(groups, len(samples))
        x_at = first * x_strides[0] + groups * x_strides[1]
        found: list[Steps] = []
        for channel in range(0, problem.in_channels, cut.channels):
            count = min(cut.channels, problem.in_channels - channel)
            for image in range(self.images):
                at = x_at + channel * x_strides[2] + image * x_strides[0]
                found.append(self.pack(at, count, x_strides, image))
            found.append(self.transform(len(groups), -(-count // cut.lanes)))
            found += self.multiply(groups, block, channel, count)
        lo, hi = cut.blocks[block]
        found.append(self.finish(len(groups), hi - lo))
        for image in range(self.images):
            found.append(self.store(first + image, groups, (lo, hi), along, image))
        return found

    def pack(self, at: Offsets, channels: int, strides: Strides, image: int) -> Steps:
        """Lay the box's samples down. Outputs beyond the last are not stored: what they alone meet is zero."""
        cut, problem = self.cut, self.problem
        positions = [
            window.start + first * cut.outputs + np.arange(cut.reach(last - first), dtype=np.int64)
            for window, (first, last) in zip(problem.windows, self.box, strict=True)
        ]
        return laying(
            self.tables, problem.compute_dtype, problem.input_dtype, problem.fill, problem.windows, positions,
            [window.last for window in problem.windows], strides, (X, at),
            self.samples.place + image * self.samples.image, channels=channels, to_block=self.samples.block,
            to_row=self.samples.row,
        )  # fmt: skip

    def transform(self, tasks: int, blocks: int) -> Steps:
        """Transform the samples of all tiles."""
        return winograd_input.ARGUMENTS.steps(
            address_of(WinogradInput(self.problem.compute_dtype, self.cut.outputs, taps=self.cut.taps)), tasks,
            to=(SCRATCH, self.transformed_at), x=(SCRATCH, self.samples.place), blocks=blocks, to_block=self.block,
            x_block=self.samples.block, images=self.images, x_image=self.samples.image, tile_rows=self.rows,
            x_tile_row=self.cut.outputs * self.samples.row, x_row=self.samples.row, tile_columns=self.columns,
        )  # fmt: skip

    def multiply(self, groups: Offsets, block: int, channel: int, channels: int) -> list[Steps]:
        """Multiply them with the weights, frequency by frequency."""
        cut, problem = self.cut, self.problem
        vector = vector_bytes(problem, cut)
        (vectors, panels), (_, last_panels) = cut.panels[block]
        (rows, tiles), (_, last_tiles) = shared(self.tiles, largest(self.tiles, cut.rows))
        kernel = WinogradProducts(
            problem.compute_dtype,
            cut.size,
            rows,
            vectors,
            "sums" if channel else "zero",
        )
        return [
            winograd_products.ARGUMENTS.steps(
                address_of(kernel), len(groups), sums=(SCRATCH, self.sums_at), x=(SCRATCH, self.transformed_at),
                w=(KERNEL, groups * group_bytes(problem, cut) + cut.blocks[block][0] * vector),
                frequencies=cut.size**2, w_frequency=frequency_bytes(problem, cut), w_vector=vector,
                w_begin=channel * cut.lanes * cut.item, panels=panels, last_panels=last_panels, tiles=tiles,
                last_tiles=last_tiles, depth=channels, x_block=self.block, sums_block=self.block,
            )
        ]  # fmt: skip

    def finish(self, tasks: int, blocks: int) -> Steps:
        """Transform the sums."""
        results = self.results
        return winograd_output.ARGUMENTS.steps(
            address_of(WinogradOutput(self.problem.compute_dtype, self.cut.outputs, taps=self.cut.taps)), tasks,
            to=(SCRATCH, results.place), x=(SCRATCH, self.sums_at), found=(STATUS, 0), blocks=blocks,
            to_block=results.block, x_block=self.block, images=self.images, to_image=results.image,
            tile_rows=self.rows, to_tile_row=self.cut.outputs * results.row, to_row=results.row,
            tile_columns=self.columns,
        )  # fmt: skip

    def store(
        self, samples: Offsets, groups: Offsets, vectors: Range, along: tuple[Strides, Strides], image: int
    ) -> Steps:
        """Finish and store the outputs that are there."""
        cut, problem = self.cut, self.problem
        pool = problem.epilogue.pool[0] if problem.epilogue and problem.epilogue.pool else 1
        first = [lo * cut.outputs // pool for lo, _ in self.box]
        counts = [
            min(window.count, hi * cut.outputs) // pool - lo
            for lo, window, (_, hi) in zip(first, problem.windows, self.box, strict=True)
        ]
        channel = vectors[0] * cut.lanes
        (out_at, out), (add_at, add) = (
            (
                samples * s[0] + groups * s[1] + channel * s[2] + first[0] * s[3] + first[1] * s[4],
                {f"{name}_{axis}": s[n] for n, axis in enumerate(("channel", "row", "column"), 2)},
            )
            for name, s in zip(("out", "add"), along, strict=True)
        )
        kernel = WinogradUnpack(
            problem.compute_dtype, neighbours(along[0], item_bytes(self.stored)),
            ending_of(problem.epilogue, "channel"), stored_as(self.stored, problem.compute_dtype), pool,
        )  # fmt: skip
        return winograd_unpack.ARGUMENTS.steps(
            address_of(kernel), len(samples), out=(OUT, out_at), add=(ADD, add_at),
            x=(SCRATCH, self.results.place + image * self.results.image),
            bias=(BIAS, (groups * problem.out_channels + channel) * cut.item), **out, **add,
            channels=min(problem.out_channels - channel, (vectors[1] - vectors[0]) * cut.lanes),
            x_block=self.results.block, rows=counts[0], x_row=self.results.row, columns=counts[1],
        )  # fmt: skip
