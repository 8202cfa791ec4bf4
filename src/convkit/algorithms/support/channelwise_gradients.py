"""The gradient of depthwise weights with channels side by side, as a program: some groups, all samples and tiles.

``dw[g, o, c, j] = sum_(n,i) u[n, g, o, i] * v[n, g, c, i*stride + start + j*dilation]``, vectors over ``g``. Each task
has the sums of its groups in scratch memory and adds samples and tiles in order. Where channels lie side by side a task
takes a part of the samples or of their rows, so that memory is read in its own order; parts are added in the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.channelwise_tiles import Tile
from convkit.algorithms.support.channelwise_ways import Ways, boxes, halved
from convkit.algorithms.support.packing import LINE, item_bytes
from convkit.algorithms.support.planes import Box, Strides, with_rows
from convkit.algorithms.support.register_tiles import cuts, pieces
from convkit.codegen import channelwise_gradient, finish, transpose
from convkit.codegen.channelwise_gradient import ChannelwiseGradient
from convkit.codegen.channelwise_nest import most_pixels
from convkit.codegen.epilogue import Ending
from convkit.codegen.finish import Finish
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import KERNEL, OUT, SCRATCH, Place, Steps, X
from convkit.planner.problem import Problem

TASKS = 4
"""Tasks that the groups should make, as far as there are vectors of them."""

MOST_PARTS, PART_OUTPUTS = 8, 512
"""Parts at most; outputs of a part at least, so that clearing its sums and storing them takes next to no time."""


def forward(problem: Problem) -> Problem:
    """The layer whose weights' gradient ``problem`` is, for one sample."""
    return problem.derive(
        windows=tuple(window.kernel_adjoint() for window in problem.windows), batch=1, batch_of="samples",
        in_channels=problem.batch,
    )  # fmt: skip


def parts(problem: Problem, ways: Ways) -> list[list[tuple[int, Range]]]:
    """The samples, and rows of their outputs, that are summed apart from others."""
    rows = with_rows(forward(problem).windows)[0].count
    samples, outputs = problem.in_channels, math.prod(problem.kernel_shape[3:])
    most = min(MOST_PARTS, samples * outputs // PART_OUTPUTS) // 2 * 2 if ways.read and ways.write else 1
    each = cuts(rows, -(-rows // min(rows, max(1, most // samples))))
    pieces = list(product(range(samples), each))
    return [pieces[lo:hi] for lo, hi in cuts(len(pieces), -(-len(pieces) // max(1, most)))]


def _vectors(problem: Problem, ways: Ways) -> int:
    """Vectors of groups that a task takes."""
    every = -(-problem.groups // lanes_of(this_machine(), problem.compute_dtype))
    tasks = TASKS if len(parts(problem, ways)) == 1 else 1
    return max(1, min(ways.vectors, every // tasks))


def _taps(problem: Problem) -> int:
    return math.prod(problem.output_shape[3:])


@lru_cache(maxsize=256)
def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs at most."""
    one, ways = forward(problem), Ways(False, False)
    vectors = _vectors(problem, ways)
    strides = (0,) * (3 + len(one.windows))
    tile = Tile(one, ways, Tables(), boxes(one, vectors)[0], strides, strides, problem.compute_dtype, vectors, "read")
    return tile.bytes + _sums(problem, vectors)


def _sums(problem: Problem, vectors: int) -> int:
    """Bytes of the sums of one task."""
    pairs = problem.batch * problem.out_channels
    return pairs * _taps(problem) * vectors * this_machine().vector_bytes + LINE


@lru_cache(maxsize=128)
def program(
    problem: Problem, x_strides: Strides, g_strides: Strides, out_strides: Strides, ways: Ways, out_part: int
) -> Program:  # fmt: skip
    """Everything about a call but its arrays. Strides are the forward operator's: (batch, groups, channels, ...).

    The sums of each part are stored ``out_part`` bytes behind those of the one before.
    """
    tables, one, vectors = Tables(), forward(problem), _vectors(problem, ways)
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    cut = parts(problem, ways)
    chunks = {
        rows: [
            _Chunk(problem, Tile(one, ways, tables, box, x_strides, g_strides, problem.kernel_dtype, vectors, "read"))
            for box in _boxes(one, ways, rows, vectors)
        ]
        for part in cut
        for _, rows in part
    }
    sums_at = max(chunk.tile.bytes for found in chunks.values() for chunk in found)
    tasks: list[list[Steps]] = []
    for (n, part), (lo, hi) in product(enumerate(cut), halved(-(-problem.groups // lanes), vectors)):
        groups = lo * lanes, min(hi * lanes, problem.groups)
        steps = [_cleared(problem, sums_at, hi - lo)]
        for sample, rows in part:
            for chunk in chunks[rows]:
                steps += chunk.steps(sample, *groups, sums_at)
        tasks.append(steps + _stored(problem, n * out_part, out_strides, *groups, sums_at))
    return join(tasks, tables.array(), sums_at + _sums(problem, vectors))


def _boxes(one: Problem, ways: Ways, rows: Range, vectors: int) -> Sequence[Box]:
    """The outputs of every tile of some rows: all of them, where nothing is turned in scratch memory."""
    if ways.read and ways.write:
        return [(rows, *((0, window.count) for window in with_rows(one.windows)[1:]))]
    return boxes(one, vectors)


def _cleared(problem: Problem, sums_at: int, vectors: int) -> Steps:
    """Sums begin at zero: rows that are not there become columns of zeros."""
    terms = problem.batch * problem.out_channels * _taps(problem) * vectors
    return transpose.ARGUMENTS.steps(
        address_of(transpose.Transpose(problem.compute_dtype)), 1, to=(SCRATCH, sums_at), x=(SCRATCH, sums_at),
        planes=1, rows=0, to_plane=0, x_plane=0, columns=terms, x_row=0, to_row=this_machine().vector_bytes,
        width=lanes_of(this_machine(), problem.compute_dtype),
    )  # fmt: skip


def _stored(problem: Problem, out: int, strides: Strides, lo: int, hi: int, sums_at: int) -> list[Steps]:
    """Turn the sums: the kernel elements of a channel lie side by side in the result."""
    lanes, vector, taps = lanes_of(this_machine(), problem.compute_dtype), this_machine().vector_bytes, _taps(problem)
    found: list[Steps] = []
    vectors = -(-(hi - lo) // lanes)
    for n, (c, o) in enumerate(product(range(problem.batch), range(problem.out_channels))):
        for v in range(vectors):
            at = out + c * strides[2] + o * strides[3] + (lo + v * lanes) * strides[1]
            found.append(
                transpose.ARGUMENTS.steps(
                    address_of(transpose.Transpose(problem.compute_dtype)), 1, to=(OUT, at), planes=1, rows=taps,
                    x=(SCRATCH, sums_at + (n * vectors + v) * taps * vector), to_plane=0, x_plane=0, width=taps,
                    columns=min(lanes, hi - lo - v * lanes), to_row=strides[1], x_row=vector,
                )
            )  # fmt: skip
    return found


@lru_cache(maxsize=256)
def addition(dtype: str, parts: int, numbers: int) -> Program:
    """Adds several parts, each so many ``numbers``, one after another."""
    size = numbers * item_bytes(dtype)
    steps = [
        finish.ARGUMENTS.steps(
            address_of(Finish(dtype, Ending(add=True))), 1, out=(OUT, 0), sums=(OUT, 0) if n > 1 else (X, 0),
            add=(X, n * size), bias=(X, 0), planes=1, out_plane=0, sums_plane=0, add_plane=0, bias_plane=0, rows=1,
            out_row=0, sums_row=0, add_row=0, columns=numbers,
        )
        for n in range(1, parts)
    ]  # fmt: skip
    return join([steps], Tables().array(), 0)


class _Chunk:
    """The steps that add one tile of one sample."""

    def __init__(self, problem: Problem, tile: Tile) -> None:
        self.problem, self.tile = problem, tile

    def steps(self, sample: int, lo: int, hi: int, sums_at: int) -> list[Steps]:
        """All pairs of an input and an output channel, for the groups from ``lo`` to ``hi``."""
        tile, ways, found = self.tile, self.tile.ways, list[Steps]()
        x = np.array([sample * tile.x_strides[0] + lo * tile.x_strides[1]], np.int64)
        g = np.array([sample * tile.out_strides[0] + lo * tile.out_strides[1]], np.int64)
        vectors = -(-(hi - lo) // tile.lanes)
        pair = _taps(self.problem) * vectors * tile.vector
        if not ways.read:
            found += tile.lay_samples(x, hi - lo)
        if not ways.write:
            found += tile.lay_gradient(g, hi - lo)
        g = tile.first_output(g)
        for n, (c, o) in enumerate(product(range(self.problem.batch), range(self.problem.out_channels))):
            from_x = (X, x + c * tile.x_strides[2]) if ways.read else tile.samples.place(c)
            from_g = (KERNEL, g + o * tile.out_strides[2]) if ways.write else tile.sums.place(o)
            found += self.add(from_x, from_g, sums_at + n * pair, hi - lo)
        return found

    def add(self, x: Place, g: Place, sums: int, groups: int) -> list[Steps]:
        """Multiply and add: tiles of one width after those of another."""
        tile, found, begin = self.tile, list[Steps](), 0
        (phase,) = tile.phases
        edge, channels = tile.edge(groups)
        for pixels, count in pieces(phase.counts[-1], most_pixels(this_machine(), phase.tile().elements)):
            starts = list(range(begin, begin + pixels * count, pixels))
            begin += pixels * count
            first, move, tables = tile.geometry(phase, phase.tile(pixels), starts, 1)
            schedule = ChannelwiseGradient(
                tile.dtype, tile.lanes, phase.tile(pixels), edge, tile.ways.reads, **tile.types
            )
            found.append(
                channelwise_gradient.ARGUMENTS.steps(
                    address_of(schedule), 1, sums=(SCRATCH, sums), g=(g[0], g[1] + first), x=x, g_pixel=move,
                    sums_vector=_taps(self.problem) * tile.vector, **tables, **tile.lanes_of(channels),
                )
            )  # fmt: skip
        return found
