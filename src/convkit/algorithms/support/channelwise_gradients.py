"""The gradient of depthwise weights with channels side by side, as a program: some groups, all samples and tiles.

``dw[g, o, c, j] = sum_(n,i) u[n, g, o, i] * v[n, g, c, i*stride + start + j*dilation]``, vectors over ``g``. Each task
has the sums of its groups in scratch memory and adds samples and tiles in order.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

import numpy as np

from convkit.algorithms.support.channelwise_tiles import Tile
from convkit.algorithms.support.channelwise_ways import Ways, boxes, halved
from convkit.algorithms.support.packing import LINE
from convkit.algorithms.support.planes import Strides, with_rows
from convkit.algorithms.support.register_tiles import pieces
from convkit.codegen import channelwise_gradient, transpose
from convkit.codegen.channelwise_gradient import ChannelwiseGradient
from convkit.codegen.channelwise_nest import most_pixels
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import KERNEL, OUT, SCRATCH, Place, Steps, X
from convkit.planner.problem import Problem

TASKS, FAR_TASKS = 4, 2
"""Tasks that the groups should make, as far as there are vectors of them; where samples come from beyond the caches,
which hand over most when as much of each pixel is read at once as may be."""


def forward(problem: Problem) -> Problem:
    """The layer whose weights' gradient ``problem`` is, for one sample."""
    return problem.derive(
        windows=tuple(window.kernel_adjoint() for window in problem.windows), batch=1, batch_of="samples",
        in_channels=problem.batch,
    )  # fmt: skip


def _vectors(problem: Problem, ways: Ways) -> int:
    """Vectors of groups that a task takes."""
    every = -(-problem.groups // lanes_of(this_machine(), problem.compute_dtype))
    return max(1, min(ways.vectors, every // (FAR_TASKS if ways.reads == "ahead" else TASKS)))


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
def program(problem: Problem, x_strides: Strides, g_strides: Strides, out_strides: Strides, ways: Ways) -> Program:
    """Everything about a call but its arrays. Strides are the forward operator's: (batch, groups, channels, ...)."""
    tables, one, vectors = Tables(), forward(problem), _vectors(problem, ways)
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    cut = [tuple((0, w.count) for w in with_rows(one.windows))]
    if not (ways.read and ways.write):
        cut = list(boxes(one, vectors))
    tiles = [
        _Chunk(problem, Tile(one, ways, tables, box, x_strides, g_strides, problem.kernel_dtype, vectors, "read"))
        for box in cut
    ]
    sums_at = max(chunk.tile.bytes for chunk in tiles)
    tasks: list[list[Steps]] = []
    for lo, hi in halved(-(-problem.groups // lanes), vectors):
        groups = lo * lanes, min(hi * lanes, problem.groups)
        steps = [_cleared(problem, sums_at, hi - lo)]
        for sample, chunk in product(range(problem.in_channels), tiles):
            steps += chunk.steps(sample, *groups, sums_at)
        tasks.append(steps + _stored(problem, out_strides, *groups, sums_at))
    return join(tasks, tables.array(), sums_at + _sums(problem, vectors))


def _cleared(problem: Problem, sums_at: int, vectors: int) -> Steps:
    """Sums begin at zero: rows that are not there become columns of zeros."""
    terms = problem.batch * problem.out_channels * _taps(problem) * vectors
    return transpose.ARGUMENTS.steps(
        address_of(transpose.Transpose(problem.compute_dtype)), 1, to=(SCRATCH, sums_at), x=(SCRATCH, sums_at),
        planes=1, rows=0, to_plane=0, x_plane=0, columns=terms, x_row=0, to_row=this_machine().vector_bytes,
        width=lanes_of(this_machine(), problem.compute_dtype),
    )  # fmt: skip


def _stored(problem: Problem, strides: Strides, lo: int, hi: int, sums_at: int) -> list[Steps]:
    """Turn the sums: the kernel elements of a channel lie side by side in the result."""
    lanes, vector, taps = lanes_of(this_machine(), problem.compute_dtype), this_machine().vector_bytes, _taps(problem)
    found: list[Steps] = []
    vectors = -(-(hi - lo) // lanes)
    for n, (c, o) in enumerate(product(range(problem.batch), range(problem.out_channels))):
        for v in range(vectors):
            at = c * strides[2] + o * strides[3] + (lo + v * lanes) * strides[1]
            found.append(
                transpose.ARGUMENTS.steps(
                    address_of(transpose.Transpose(problem.compute_dtype)), 1, to=(OUT, at), planes=1, rows=taps,
                    x=(SCRATCH, sums_at + (n * vectors + v) * taps * vector), to_plane=0, x_plane=0, width=taps,
                    columns=min(lanes, hi - lo - v * lanes), to_row=strides[1], x_row=vector,
                )
            )  # fmt: skip
    return found


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
