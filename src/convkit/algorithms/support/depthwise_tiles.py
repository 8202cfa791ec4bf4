"""The gradient of depthwise weights, as a program: inner products of images, some groups at a time.

``dw[g, o, c, j] = sum_(b,i) u[b, g, o, i] * v[b, g, c, i*stride + start + j*dilation]``, few channels in a group:
each pair of them is a plane of its own, and each kernel element a displacement. Samples and tiles are added in order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.packing import LINE, item_bytes
from convkit.algorithms.support.planes import Box, Planes, Strides, space, with_rows
from convkit.algorithms.support.register_tiles import cuts, largest
from convkit.codegen import correlate as kernel
from convkit.codegen.correlate import Correlate, Fold, most_taps
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.numbers import stored_as
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps
from convkit.planner.problem import Problem
from convkit.spec.window import Window

TILE_OUTPUTS = 1 << 14
"""Pixels of a tile at most: its samples stay in the second-level cache."""

TASK_OUTPUTS = 1 << 15
"""Pixels of all the groups that one task takes together, roughly."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """How the gradient is cut: the forward operator's windows, pixels of a tile along each axis, groups of a task."""

    windows: tuple[Window, ...]
    lengths: tuple[int, ...]
    groups: int

    def chunks(self, samples: int) -> list[tuple[int, Box]]:
        """The sample and the tile of every chunk, in the order in which they are summed."""
        boxes = product(*(cuts(w.count, n) for w, n in zip(self.windows, self.lengths, strict=True)))
        return list(product(range(samples), boxes))


@lru_cache(maxsize=256)
def blocking(problem: Problem) -> Blocking:
    """How ``problem`` is cut, which is the adjoint of a layer by its kernel: samples take the place of channels."""
    windows = with_rows(tuple(window.kernel_adjoint() for window in problem.windows))
    room = TILE_OUTPUTS
    lengths: list[int] = []
    for window in reversed(windows):
        lengths.append(largest(window.count, max(1, room)))
        room //= lengths[-1]
    lengths.reverse()
    groups = largest(problem.groups, max(1, TASK_OUTPUTS // math.prod(lengths)))
    return Blocking(
        windows,
        tuple(lengths),
        min(groups, -(-problem.groups // 2)),
    )


@lru_cache(maxsize=128)
def program(problem: Problem, x_strides: Strides, g_strides: Strides, out_strides: Strides) -> Program:
    """Everything about a call but its arrays."""
    tables, cut = Tables(), blocking(problem)
    chunks = cut.chunks(problem.in_channels)
    planes = {box: Planes(cut.windows, box, problem.compute_dtype) for _, box in chunks}
    sums_at = max(found.channel for found in planes.values()) * cut.groups + LINE
    tasks: list[list[Steps]] = []
    for groups in cuts(problem.groups, cut.groups):
        task = _Task(problem, tables, groups, sums_at, x_strides, g_strides)
        steps: list[Steps] = []
        for n, (sample, box) in enumerate(chunks):
            steps += task.chunk(planes[box], sample, box, first=n == 0)
        tasks.append(steps + task.store(out_strides))
    return join(tasks, tables.array(), sums_at + cut.groups * _sums_plane(problem))


def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs."""
    cut = blocking(problem)
    _, box = cut.chunks(1)[0]
    channel = Planes(cut.windows, box, problem.compute_dtype).channel
    return cut.groups * (channel + _sums_plane(problem)) + LINE


def _sums_plane(problem: Problem) -> int:
    """Bytes of the sums of one group: a vector for each."""
    return problem.batch * problem.out_channels * problem.outputs * this_machine().vector_bytes


class _Task:
    """The steps that sum all chunks for some groups."""

    def __init__(
        self, problem: Problem, tables: Tables, groups: Range, sums_at: int, x_strides: Strides, g_strides: Strides
    ) -> None:  # fmt: skip
        self.problem, self.tables, self.groups, self.sums_at = problem, tables, groups, sums_at
        self.x_strides, self.g_strides = x_strides, g_strides
        self.dtype, self.count = problem.compute_dtype, groups[1] - groups[0]
        self.lanes, self.vector = lanes_of(this_machine(), self.dtype), this_machine().vector_bytes
        self.pairs = list(product(range(problem.batch), range(problem.out_channels)))

    def chunk(self, planes: Planes, sample: int, box: Box, first: bool) -> list[Steps]:
        """Lay down one tile of one sample, channel by channel, and add its products."""
        along, found = space(self.g_strides), list[Steps]()
        g = self.groups[0] * self.g_strides[0] + sample * self.g_strides[2]
        g += sum(lo * stride for (lo, _), stride in zip(box, along, strict=True))
        for n, (channel, output) in enumerate(self.pairs):
            if output == 0:
                x = (
                    channel * self.x_strides[0] + self.groups[0] * self.x_strides[1] + sample * self.x_strides[2]
                )  # fmt: skip
                found += planes.pack(
                    self.tables, self.problem.input_dtype, space(self.x_strides), self.problem.fill,
                    np.array([x], np.int64), self.count, self.x_strides[1],
                )  # fmt: skip
            for number, index in enumerate(product(*map(range, planes.counts[:-2]))):
                at = g + output * self.g_strides[1] + sum(i * s for i, s in zip(index, along, strict=False))
                place = sum(i * s for i, s in zip(index, planes.strides, strict=False))
                found += self.correlate(planes, n, at, place, first and number == 0)
        return found

    def correlate(self, planes: Planes, pair: int, g: int, x: int, first: bool) -> list[Steps]:
        """Add the products of some rows of one pair of channels."""
        found: list[Steps] = []
        *_, rows, columns = planes.counts
        source = stored_as(self.problem.kernel_dtype, self.dtype)
        for lo, hi in cuts(self.problem.outputs, most_taps(this_machine())):
            schedule = Correlate(self.dtype, self.lanes, hi - lo, "zero" if first else "sums", source)
            found.append(
                kernel.ARGUMENTS.steps(
                    address_of(schedule), 1, x=(SCRATCH, x), g=(KERNEL, g), rows=rows, columns=columns,
                    sums=(SCRATCH, self.sums_at + (pair * self.problem.outputs + lo) * self.vector),
                    taps_at=(TABLES, self.tables.add(planes.taps[lo:hi])), planes=self.count,
                    sums_plane=_sums_plane(self.problem), x_plane=planes.channel, g_plane=self.g_strides[0],
                    x_row=planes.strides[-2], g_row=space(self.g_strides)[-2],
                )
            )  # fmt: skip
        return found

    def store(self, strides: Strides) -> list[Steps]:
        """Each vector of sums becomes one number of the result."""
        found: list[Steps] = []
        for n, (channel, output) in enumerate(self.pairs):
            at = channel * strides[0] + self.groups[0] * strides[1] + output * strides[2]
            found.append(
                kernel.FOLD_ARGUMENTS.steps(
                    address_of(Fold(self.dtype, self.lanes)), 1, out=(OUT, at), planes=self.count,
                    sums=(SCRATCH, self.sums_at + n * self.problem.outputs * self.vector), out_plane=strides[1],
                    sums_plane=_sums_plane(self.problem), vectors=self.problem.outputs, out_step=item_bytes(self.dtype),
                )
            )  # fmt: skip
        return found
