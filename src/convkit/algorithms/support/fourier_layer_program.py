"""The programs of a layer through spectra: samples transformed, summed over channels frequency by frequency, and back.

A box of tiles is done in three parts, each shared among threads before the next begins: all its spectra are made; then
every weight's spectrum is read once, frequency by frequency, for all tiles of the box; then all sums come back. So
weights, which are more than all else, pass by once for each box and not once for each tile.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np

from convkit import threads
from convkit.algorithms.support.fourier_blocks import REAL, plane_bytes, scratch_of
from convkit.algorithms.support.fourier_layer_weights import Weights, scale_of
from convkit.algorithms.support.fourier_layers import TASKS, Tiling
from convkit.algorithms.support.fourier_program import Tile, aligned_copy, words
from convkit.algorithms.support.packing import Source, item_bytes, packing, unpacking
from convkit.algorithms.support.register_tiles import cuts, shared
from convkit.codegen import fourier_check, fourier_products, pool, sequence
from convkit.codegen.library import address_of
from convkit.codegen.memory import address, borrowed, type_name
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, STATUS, TABLES, Place, Steps, X
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem

WORK = STATUS + 1
"""The base of a box's spectra: samples, and after them sums."""

Strides = tuple[int, ...]
Task = Literal["spectrum", "inverse"]


def run(problem: Problem, tiling: Tiling, weights: Weights, x: Array, out: Array) -> Literal["finite"] | None:
    """Convolve ``x`` with the kernels of ``weights``; say so if every output is finite for certain."""
    boxes = programs_of(problem, tiling, x.strides, out.strides, type_name(out.dtype))
    groups, tiles = tiling.box(problem)
    found = ctypes.c_int64(0)
    seconds = tiling.seconds * problem.batch / len(boxes)
    with borrowed(groups * tiling.box_bytes(problem, tiles)) as work:
        bases = (address(out), address(x), address(weights), ctypes.addressof(found), work)
        for parts in boxes:
            for program in parts:
                pool.run(program, bases, threads.num_threads(), seconds / len(parts))
    return None if found.value else "finite"


@lru_cache(maxsize=16)
def programs_of(
    problem: Problem, tiling: Tiling, x_strides: Strides, out_strides: Strides, out_dtype: str
) -> tuple[tuple[Program, ...], ...]:
    """The three parts of each box, in order."""
    groups, tiles = tiling.box(problem)
    boxes = [
        _Box(range(*some), range(*these))
        for some, these in product(cuts(problem.groups, groups), cuts(problem.batch * tiling.tiles, tiles))
    ]
    return _Build(problem, tiling, x_strides, out_strides, out_dtype).programs(boxes)


@dataclass(frozen=True, slots=True)
class _Box:
    """Some groups, and some tiles of all samples, one sample's after another's."""

    groups: range
    tiles: range


class _Build:
    def __init__(
        self, problem: Problem, tiling: Tiling, x_strides: Strides, out_strides: Strides, out_dtype: str
    ) -> None:
        self.problem, self.tiling, self.out_dtype = problem, tiling, out_dtype
        self.fourier = tiling.fourier
        self.x, self.out = x_strides, out_strides
        every = [range(0, window.count, n) for window, n in zip(problem.windows, tiling.counts, strict=True)]
        self.first = np.array(list(product(*every)), np.int64)  # the first output of each tile
        self.tables = Tables()
        self.tables.add(words(tiling.fourier.table))  # first, where vectors are aligned
        self.common: dict[tuple[Task, int], Steps] = {}
        self.written: dict[tuple[Task, int, int], tuple[int, int]] = {}

    def programs(self, boxes: list[_Box]) -> tuple[tuple[Program, ...], ...]:
        """Forward, products, inverse of each box; they have their tables in common."""
        parts = [(self.forward(box), self.products(box), self.inverse(box)) for box in boxes]
        tables = aligned_copy(self.tables.array())
        scratch = scratch_of(self.fourier)
        return tuple(tuple(join([[steps]], tables, scratch) for steps in three) for three in parts)

    def places(self, box: _Box) -> tuple[int, int, int, int]:
        """Bytes from a vector of a box's samples to the next, of its sums, from group to group, and before the sums."""
        samples = self.tiling.box_vector(self.problem.in_channels, len(box.tiles))
        sums = self.tiling.box_vector(self.problem.out_channels, len(box.tiles))
        return samples, sums, self.tiling.vectors * (samples + sums), self.tiling.vectors * samples

    # ------------------------------------------------------------------------------------------- samples to spectra

    def forward(self, box: _Box) -> Steps:
        """Tasks take some channels of one tile."""
        _, _, apart, _ = self.places(box)
        return self.shared(box, "spectrum", self.problem.in_channels, apart, 0)

    def packed(self, tile: int) -> list[Steps]:
        """Steps that lay down one channel of a tile: its first half, and its second half as the imaginary plane."""
        windows, fourier = self.problem.windows, self.fourier
        dtype = REAL.get(self.problem.input_dtype, self.problem.input_dtype)
        source = Source(dtype, self.x[3:], item_bytes(dtype))
        begin = self.first[tile] + np.array([window.start for window in windows])
        size, length = np.array([window.size for window in windows]), np.array(fourier.lengths)
        halves = [begin]
        if self.tiling.folded:
            halves.append(begin + length * (np.arange(len(length)) == 0))
        done: list[Steps] = []
        for number, start in enumerate(halves):
            parts = 1 if self.tiling.folded else 2
            plane = Tile(number * plane_bytes(fourier), fourier, plane_bytes(fourier), parts)
            spans, at = [(int(lo), int(lo + n)) for lo, n in zip(start, length, strict=True)], 0
            if ((start >= 0) & (start + length <= size)).all():  # such tiles share their tables
                spans, at = [(0, int(n)) for n in length], int(start @ np.array(self.x[3:], np.int64))
            done += packing(
                self.tables, windows, spans, source, plane, fourier.dtype, self.problem.fill, np.array([at], np.int64)
            )
        return done

    # -------------------------------------------------------------------------------------------- sums over channels

    def products(self, box: _Box) -> Steps:
        """Tasks take some vectors of frequencies."""
        problem, tiling = self.problem, self.tiling
        samples, sums, apart, before = self.places(box)
        kernel = tiling.products(problem, len(box.tiles))
        runs = cuts(tiling.vectors, -(-tiling.vectors * len(box.groups) // TASKS))
        first = np.array([[run[0] for run in runs]] * len(box.groups), np.int64)
        count = np.array([[run[1] - run[0] for run in runs]] * len(box.groups), np.int64)
        group = np.arange(len(box.groups))[:, None]
        weights = tiling.weights_vector(problem)
        (_, panels), (_, last_panels) = tiling.panels(problem)
        (_, boxes), (_, last_boxes) = shared(len(box.tiles), kernel.tiles)
        scale = self.tables.add(words(scale_of(tiling)))
        return fourier_products.ARGUMENTS.steps(
            address_of(kernel), first.size, sums=(WORK, (group * apart + before + first * sums).ravel()),
            x=(WORK, (group * apart + first * samples).ravel()), scale=(TABLES, scale),
            w=(KERNEL, ((box.groups[0] + group) * tiling.weights_bytes(problem) + first * weights).ravel()),
            vectors=count.ravel(), depth=problem.in_channels, panels=panels, last_panels=last_panels, boxes=boxes,
            last_boxes=last_boxes, row=len(box.tiles) * tiling.pair, sums_vector=sums, x_vector=samples,
            w_vector=weights,
        )  # fmt: skip

    # --------------------------------------------------------------------------------------------- sums to results

    def inverse(self, box: _Box) -> Steps:
        """Tasks take some output channels of one tile."""
        _, _, apart, before = self.places(box)
        return self.shared(box, "inverse", self.problem.out_channels, apart, before)

    def stored(self, tile: int) -> list[Steps]:
        """Steps that store the valid outputs of one channel of a tile, from either plane."""
        fourier, windows, rank = self.fourier, self.problem.windows, len(self.problem.windows)
        first = self.first[tile]
        counts = np.minimum(np.array(self.tiling.counts), np.array([w.count for w in windows]) - first)
        real, imaginary = 0, plane_bytes(fourier)
        halves = [([real, imaginary], 0, int(counts[0]))]
        if self.tiling.folded:
            half = fourier.lengths[0]
            halves = [([real], 0, min(half, int(counts[0]))), ([imaginary], half, int(counts[0]) - half)]
        row, strides = fourier.pitch * fourier.item_bytes, (0,) * (3 - rank) + self.out[3:]
        target = REAL.get(self.out_dtype, self.out_dtype)
        done: list[Steps] = []
        for sums, begin, count in halves:
            if count <= 0:
                continue
            planes, rows, columns = (1,) * (3 - rank) + (count, *(int(n) for n in counts[1:]))
            at = int(first @ np.array(self.out[3:], np.int64)) + begin * self.out[3]
            done.append(unpacking(
                fourier.dtype, target, sums, row, columns, rows, strides[1], strides[2], np.array([at], np.int64),
                planes, strides[0], row * fourier.lengths[-2] if rank > 1 else 0,
            ))  # fmt: skip
        return done

    # ---------------------------------------------------------------------------------------------------- both

    def transformed(self, task: Task, tiles: int) -> Steps:
        """The step that takes a tile from its planes to the spectrum under `GIVEN`, or back, where it is looked at.

        Its own steps are the same for all tiles of boxes of one size.
        """
        fourier, real, imaginary = self.fourier, (SCRATCH, 0), (SCRATCH, plane_bytes(self.fourier))
        channels = self.problem.in_channels if task == "spectrum" else self.problem.out_channels
        apart = self.tiling.box_vector(channels, tiles)
        steps = fourier.steps(real, imaginary, (sequence.GIVEN, 0), (TABLES, 0), task, apart)
        if task == "inverse":
            blocks = fourier.lengths[-1] // (fourier_check.VECTORS * fourier.lanes)
            steps.append(fourier_check.ARGUMENTS.steps(
                address_of(fourier_check.Check(fourier.dtype)), 1, real=real, imaginary=imaginary, found=(STATUS, 0),
                rows=fourier.rows, row=fourier.pitch * fourier.item_bytes, blocks=blocks,
            ))  # fmt: skip
        return sequence.ARGUMENTS.steps(
            address_of(sequence.Sequence()), 1, steps=(TABLES, self.tables.add(np.concatenate(steps).ravel())),
            given=(sequence.GIVEN, 0), out=(OUT, 0), x=(X, 0), length=sum(map(len, steps)), times=1, given_step=0,
            out_step=0, x_step=0,
        )  # fmt: skip

    def steps(self, task: Task, tile: int, tiles: int) -> tuple[int, int]:
        """Where the steps of a tile of one sample stand, one channel's, and how many they are."""
        key = task, tile, tiles
        if key not in self.written:
            if (task, tiles) not in self.common:
                self.common[task, tiles] = self.transformed(task, tiles)
            middle = self.common[task, tiles]
            steps = [*self.packed(tile), middle] if task == "spectrum" else [middle, *self.stored(tile)]
            self.written[key] = self.tables.add(np.concatenate(steps).ravel()), sum(map(len, steps))
        return self.written[key]

    def shared(self, box: _Box, task: Task, channels: int, apart: int, before: int) -> Steps:
        """Tasks that run a tile's steps for some channels, moving on in ``x``, ``out`` and the spectra."""
        pair, tiles = self.tiling.pair, len(box.tiles)
        runs = cuts(channels, -(-channels * tiles * len(box.groups) // TASKS))
        tasks = [
            (tile, group, begin, end)
            for tile, group, (begin, end) in product(range(tiles), range(len(box.groups)), runs)
        ]
        tile, group, begin, end = np.array(tasks, np.int64).T
        sample, kind = np.divmod(tile + box.tiles[0], self.tiling.tiles)
        places: dict[str, Place] = {
            name: (base, sample * strides[0] + (group + box.groups[0]) * strides[1] + begin * strides[2])
            for name, base, strides in (("x", X, self.x), ("out", OUT, self.out))
        }
        at, length = np.array([self.steps(task, n, tiles) for n in kind.tolist()], np.int64).T
        return sequence.ARGUMENTS.steps(
            address_of(sequence.Sequence()), len(tasks), steps=(TABLES, at), length=length, times=end - begin,
            given=(WORK, group * apart + before + (begin * tiles + tile) * pair), given_step=tiles * pair,
            out_step=self.out[2], x_step=self.x[2], **places,
        )  # fmt: skip
