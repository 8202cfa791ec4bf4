"""How a depthwise problem with channels side by side is cut, and where its samples are read and results written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

from convkit import codegen
from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.channelwise_weights import pieces
from convkit.algorithms.support.packing import item_bytes
from convkit.algorithms.support.planes import Box, Strides, with_rows
from convkit.algorithms.support.register_tiles import cuts, largest
from convkit.codegen.channelwise_nest import most_pixels
from convkit.codegen.library import this_machine
from convkit.codegen.register_tile import lanes_of
from convkit.planner.algorithm import Reason
from convkit.planner.problem import Problem

PROGRAM_STEPS = 1 << 13
"""Steps of a program beyond which it is run several times, for some of the samples each."""

TASK_PRODUCTS = 1 << 17
"""Products of a task at least: some microseconds, many times what handing it out takes."""

TASKS = 8
"""Tasks that a sample should have, as far as they are of that size."""

TILE_BYTES = 1 << 17
"""Bytes of a tile's samples, and of its sums, that are turned in scratch memory."""

TURNED, IN_PLACE = 2, 16
"""Vectors of channels that are done together: turned, or where they lie."""

AHEAD, STREAMED = 1 << 24, 1 << 23
"""Bytes of samples and results from which samples are asked for before they are needed; of results from which they are
written past the caches."""


MOST_ROWS = 128
"""Kernel rows at most, each of which has addresses of its own."""

FEWEST_PIXELS = 4
"""Outputs of a tile at least, for the vectors of a kernel row to be worth loading."""


def why_not(rows: int, columns: int) -> Reason | None:
    """Why kernels of so many rows, each of so many elements, are not for vectors over groups, if they are not."""
    missing = codegen.why_not()
    if missing is not None:
        return Reason(missing)
    if most_pixels(this_machine(), columns) < FEWEST_PIXELS or rows > MOST_ROWS:
        return Reason("long-kernel-rows", columns=columns, rows=rows)
    return None


@dataclass(frozen=True, slots=True)
class Ways:
    """How samples are read, and results written.

    Attributes
    ----------
    read, write : bool
        Where they lie, rather than turned.
    reads, results : str
        As in `convkit.codegen.channelwise.Channelwise`.
    """

    read: bool
    write: bool
    reads: Literal["plain", "ahead"] = "plain"
    results: Literal["cached", "streamed"] = "cached"

    @classmethod
    def of(cls, problem: Problem, x_strides: Strides, out_strides: Strides, stored: str, out_at: int) -> Ways:
        """Channels side by side are read and written where they lie; ``out_at`` is the address of the result.

        ``stored`` is the type of the result; a fill stands beside samples that are read where they lie, as they do.
        """
        sample, item, vector = item_bytes(problem.input_dtype), item_bytes(stored), this_machine().vector_bytes
        lone, same = problem.groups == 1, problem.input_dtype == problem.compute_dtype
        read, write = x_strides[1] == sample or lone, out_strides[1] == item or lone
        read = read and (same or problem.fill == 0)
        results = item * math.prod(problem.output_shape)
        far = read and sample * math.prod(problem.input_shape) + results >= AHEAD
        sizes = problem.output_shape
        strides = [stride for axis, stride in enumerate(out_strides) if axis != 1 and sizes[axis] > 1]
        aligned = all(number % vector == 0 for number in (out_at, *strides))
        past = write and aligned and results >= STREAMED and item * problem.groups % vector == 0
        past = past and stored == problem.compute_dtype
        return cls(read, write, "ahead" if far else "plain", "streamed" if past else "cached")

    @property
    def vectors(self) -> int:
        """Vectors of channels that are done together at most."""
        return IN_PLACE if self.read and self.write else TURNED


def halved(total: int, most: int) -> list[Range]:
    """``total`` cut into pieces of at most ``most``; an even number of them if there are several, for two threads."""
    parts = -(-total // most)
    parts = min(total, parts + parts % 2) if parts > 1 else 1
    return [(n * total // parts, (n + 1) * total // parts) for n in range(parts)]


@lru_cache(maxsize=256)
def boxes(problem: Problem, vectors: int) -> tuple[Box, ...]:
    """The outputs of every tile; neither threads nor the batch have a say in it."""
    windows, lanes = with_rows(problem.windows), lanes_of(this_machine(), problem.compute_dtype)
    channels = min(problem.groups, vectors * lanes)
    chunks = -(-problem.groups // channels)
    work = max(1, problem.terms * problem.out_channels * channels // math.prod(w.up for w in windows))
    room = max(TASK_PRODUCTS // work, -(-problem.outputs * chunks // TASKS), 64)
    if vectors == TURNED:
        strides = math.prod(min(w.stride, w.reach) for w in windows) * max(problem.in_channels, problem.out_channels)
        room = min(room, max(64, TILE_BYTES // (item_bytes(problem.compute_dtype) * channels * strides)))
    lengths: list[int] = []
    for window in reversed(windows):
        lengths.append(largest(window.count, max(1, room)))
        room //= lengths[-1]
    lengths.reverse()
    return tuple(product(*(cuts(w.count, n) for w, n in zip(windows, lengths, strict=True))))


@lru_cache(maxsize=256)
def samples_at_once(problem: Problem, ways: Ways) -> int:
    """For how many samples one program is made, so that it stays small however many there are."""
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    chunks = -(-problem.groups // (ways.vectors * lanes))
    of_phase = len(pieces(problem.windows)) + 2 * ways.vectors
    steps = chunks * len(boxes(problem, ways.vectors)) * of_phase * problem.out_channels * problem.in_channels
    return max(1, min(problem.batch, PROGRAM_STEPS // steps))
