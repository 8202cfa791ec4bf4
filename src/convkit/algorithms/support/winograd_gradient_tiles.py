"""A Winograd weight gradient as a program: tiles of samples times tiles of gradients, summed over all tiles.

For each chunk of tiles a task lays samples and gradients down, pixel by pixel, a vector of channels each, transforms
both, and adds their products to the sums of every frequency. When all its chunks are done, the sums of each pair of
channels are transformed to the nine elements of a kernel, and stored.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise, product
from typing import Literal

import numpy as np

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.packing import LINE
from convkit.algorithms.support.planes import Box, Strides
from convkit.algorithms.support.register_tiles import cuts, shared
from convkit.algorithms.support.winograd_gradient_blocks import Blocking, blocking
from convkit.algorithms.support.winograd_packing import laying, neighbours
from convkit.codegen import winograd_gradient, winograd_input, winograd_output, winograd_unpack
from convkit.codegen.library import address_of
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import ADD, BIAS, KERNEL, OUT, SCRATCH, STATUS, Steps, X
from convkit.codegen.winograd_gradient import WinogradGradient
from convkit.codegen.winograd_input import WinogradInput
from convkit.codegen.winograd_output import WinogradOutput
from convkit.codegen.winograd_unpack import WinogradUnpack
from convkit.planner.problem import Problem
from convkit.spec.window import Window


@lru_cache(maxsize=256)
def scratch(problem: Problem, outputs: int) -> int:
    """Bytes of scratch memory that one thread needs."""
    return _Places(blocking(problem, outputs)).bytes


def stores(problem: Problem, strides: Strides) -> bool:
    """Whether results can be stored where an array has these strides: a kernel's elements lie one after another."""
    item = np.dtype(problem.compute_dtype).itemsize
    return strides[3:] == (problem.windows[0].count * item, item)


@lru_cache(maxsize=128)
def program(
    problem: Problem, outputs: int, x_strides: Strides, g_strides: Strides, out_strides: Strides, part_stride: int
) -> Program:  # fmt: skip
    """Everything about a call but its arrays; the sums of part ``n`` are stored ``n * part_stride`` bytes further."""
    tables, cut = Tables(), blocking(problem, outputs)
    places, chunks = _Places(cut), cut.chunks(problem.in_channels)
    channel, group, sample, *along = x_strides
    samples = _Source(problem, cut, tables, "samples", cut.windows, (sample, group, channel, *along))
    group, channel, sample, *along = g_strides
    inside = tuple(Window(window.count, 1, window.count) for window in cut.windows)
    upstream = _Source(problem, cut, tables, "upstream", inside, (sample, group, channel, *along))
    inputs = [(n, min(problem.batch, n + cut.inputs)) for n in range(0, problem.batch, cut.inputs)]
    blocks = cuts(-(-problem.out_channels // cut.lanes), cut.vectors)
    bounds = [part * len(chunks) // cut.parts for part in range(cut.parts + 1)]
    tasks: list[list[Steps]] = []
    for channels, vectors in product(inputs, blocks):
        task = _Task(problem, cut, places, channels, vectors)
        for part, (begin, end) in enumerate(pairwise(bounds)):
            steps: list[Steps] = []
            for n in range(begin, end):
                steps += samples.transformed(n, task.inputs) + upstream.transformed(n, task.channels)
                steps.append(task.multiply(*chunks[n], first=n == begin))
            tasks.append([*steps, *task.finish(out_strides, part * part_stride)])
    return join(tasks, tables.array(), places.bytes)


class _Places:
    """Where things lie in scratch memory: what is laid down, transformed samples and gradients, sums.

    Results take the place of all but the sums. A line between blocks keeps them out of each other's sets of a cache.
    """

    def __init__(self, cut: Blocking) -> None:
        pixel, (across, along) = cut.lanes * cut.item, map(cut.reach, cut.box)
        inputs = cut.inputs // cut.lanes
        self.row = along * pixel
        self.image = across * self.row + LINE
        self.block = cut.most * cut.tile + LINE
        self.samples = cut.packed * cut.images * self.image + cut.lanes * pixel
        self.upstream = self.samples + inputs * self.block
        self.result = cut.inputs * cut.taps**2 * pixel + LINE
        results = cut.vectors * self.result + cut.lanes * pixel
        self.sums = max(self.upstream + cut.vectors * self.block, results)
        self.sums_block = cut.inputs * cut.tile + LINE
        self.bytes = self.sums + cut.vectors * self.sums_block


class _Source:
    """What tiles are made of: samples, or upstream gradients; ``strides`` are those of a layer's arrays."""

    def __init__(
        self, problem: Problem, cut: Blocking, tables: Tables, of: Literal["samples", "upstream"],
        windows: tuple[Window, ...], strides: Strides,
    ) -> None:  # fmt: skip
        self.problem, self.cut, self.tables, self.places = problem, cut, tables, _Places(cut)
        self.windows, self.strides, self.chunks = windows, strides, cut.chunks(problem.in_channels)
        self.kernel = WinogradInput(problem.compute_dtype, cut.outputs, of, cut.taps)
        self.base, self.reach = (X, cut.taps - 1) if of == "samples" else (KERNEL, 0)
        self.stored = problem.input_dtype if of == "samples" else problem.kernel_dtype
        self.to = self.places.samples if of == "samples" else self.places.upstream
        self.known: dict[tuple[int, Range], list[Steps]] = {}

    def transformed(self, chunk: int, channels: Range) -> list[Steps]:
        """Lay down a few vectors of a chunk's channels at a time, and transform them; the same steps for all tasks."""
        if (chunk, channels) not in self.known:
            self.known[chunk, channels] = self.steps(*self.chunks[chunk], channels)
        return self.known[chunk, channels]

    def steps(self, samples: Range, box: Box, channels: Range) -> list[Steps]:
        """The same, worked out for all vectors, images and groups at once.

        Rows may be written beyond their end, so whatever comes next in memory is written later: all of one image.
        """
        cut, places, strides = self.cut, self.places, self.strides
        positions = [
            window.start + lo * cut.outputs + np.arange((hi - lo) * cut.outputs + self.reach, dtype=np.int64)
            for window, (lo, hi) in zip(self.windows, box, strict=True)
        ]
        rows, columns = (hi - lo for lo, hi in box)
        images, groups = np.arange(samples[1] - samples[0]), np.arange(self.problem.groups)
        begins = np.arange(*channels, cut.packed * cut.lanes)
        shape = len(begins), len(images), len(groups)
        vector, image, group = (n.ravel() for n in np.meshgrid(begins, images, groups, indexing="ij"))
        laid = laying(
            self.tables, self.problem.compute_dtype, self.stored, self.problem.fill, self.windows, positions,
            [window.last for window in self.windows], strides,
            (self.base, group * strides[1] + vector * strides[2] + (samples[0] + image) * strides[0]),
            image * cut.packed * places.image, to_block=places.image, to_row=places.row,
            channels=np.minimum(channels[1] - vector, cut.packed * cut.lanes),
        ).reshape(*shape, -1)  # fmt: skip
        first = np.repeat(begins, len(groups))
        turned = winograd_input.ARGUMENTS.steps(
            address_of(self.kernel), len(first), x=(SCRATCH, 0), x_block=places.image, to_block=places.block,
            to=(SCRATCH, self.to + (first - channels[0]) // cut.lanes * places.block),
            blocks=-(-np.minimum(channels[1] - first, cut.packed * cut.lanes) // cut.lanes), images=len(images),
            x_image=cut.packed * places.image, tile_rows=rows, x_tile_row=cut.outputs * places.row, x_row=places.row,
            tile_columns=columns,
        ).reshape(shape[0], shape[2], -1)  # fmt: skip
        return [step for n in range(shape[0]) for step in (*laid[n], turned[n])]


class _Task:
    """The products and the results of some input and some output channels, of every group."""

    def __init__(self, problem: Problem, cut: Blocking, places: _Places, inputs: Range, vectors: Range) -> None:
        self.problem, self.cut, self.places = problem, cut, places
        self.dtype, self.groups = problem.compute_dtype, np.arange(problem.groups, dtype=np.int64)
        self.inputs, self.vectors = inputs, vectors
        self.channels = vectors[0] * cut.lanes, min(problem.out_channels, vectors[1] * cut.lanes)

    def multiply(self, samples: Range, box: Box, first: bool) -> Steps:
        """Add the products of all tiles."""
        cut, places = self.cut, self.places
        (panel, whole), (_, fewer) = shared(self.vectors[1] - self.vectors[0], cut.panel)
        kernel = WinogradGradient(self.dtype, cut.size, cut.rows, panel, "zero" if first else "sums")
        tiles = (samples[1] - samples[0]) * (box[0][1] - box[0][0]) * (box[1][1] - box[1][0])
        return winograd_gradient.ARGUMENTS.steps(
            address_of(kernel), len(self.groups), sums=(SCRATCH, places.sums), x=(SCRATCH, places.samples),
            g=(SCRATCH, places.upstream), frequencies=cut.size**2, channels=self.inputs[1] - self.inputs[0],
            panels=whole, last_panels=fewer, depth=tiles, sums_block=places.sums_block, x_block=places.block,
            g_block=places.block,
        )  # fmt: skip

    def finish(self, strides: Strides, part: int) -> list[Steps]:
        """Transform the sums, and store them."""
        cut, places, item, elements = self.cut, self.places, self.cut.item, self.cut.taps**2
        channels, pixel = self.inputs[1] - self.inputs[0], cut.lanes * cut.item
        transform = winograd_output.ARGUMENTS.steps(
            address_of(WinogradOutput(self.dtype, cut.outputs, "weights", cut.taps)), len(self.groups), to=(SCRATCH, 0),
            x=(SCRATCH, places.sums), found=(STATUS, 0), blocks=self.vectors[1] - self.vectors[0],
            to_block=places.result, x_block=places.sums_block, images=1, to_image=0, tile_rows=channels,
            to_tile_row=elements * pixel, to_row=cut.taps * pixel, tile_columns=1,
        )  # fmt: skip
        at = self.inputs[0] * strides[0] + self.groups * strides[1] + self.channels[0] * strides[2] + part
        # The kernels of all channels are one row where they lie one after another.
        rows, columns = (1, channels * elements) if strides[0] == elements * item else (channels, elements)
        store = winograd_unpack.ARGUMENTS.steps(
            address_of(WinogradUnpack(self.dtype, neighbours((0, 0, *strides[2:]), item))), len(self.groups),
            out=(OUT, at), x=(SCRATCH, 0), add=(ADD, 0), bias=(BIAS, 0),
            channels=self.channels[1] - self.channels[0], out_channel=strides[2], x_block=places.result, add_channel=0,
            rows=rows, out_row=strides[0], x_row=elements * pixel, add_row=0, columns=columns, out_column=item,
            add_column=0,
        )  # fmt: skip
        return [transform, store]
