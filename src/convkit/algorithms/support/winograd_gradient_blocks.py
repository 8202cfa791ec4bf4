"""How a Winograd weight gradient is cut: chunks of tiles, blocks of input and output channels, the register tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.packing import LINE, item_bytes
from convkit.algorithms.support.register_tiles import cuts, cycles, largest
from convkit.algorithms.support.winograd_blocks import Boxes
from convkit.codegen.dense import most_vectors
from convkit.codegen.library import this_machine
from convkit.codegen.register_tile import lanes_of
from convkit.planner.problem import Problem
from convkit.spec.window import Window

TILES = 64
"""Tiles of a chunk at most: the more, the fewer times sums are read and written."""

INPUTS, OUTPUTS = 8, 8
"""Vectors of input and of output channels of a task at most. Every task transforms what it needs for itself, which
takes the less beside its products the more channels it has; sums of all frequencies grow with both."""

PACKED_BYTES = 1 << 17
"""Bytes of samples or gradients that are laid down before they are transformed, if there is more than one vector."""

FEWEST = 48
"""Tiles that each part of the sum should have: with fewer it costs less to share out output channels, whose samples are
transformed several times then, than sums, which all have to be transformed."""

FEW = 2
"""Vectors of output channels that a task keeps at least where they are shared out."""

TRANSFORMED = 300
"""Cycles that it takes, roughly, to lay a vector of a tile down and to transform it."""

TASKS, WORK = 4, 1 << 18
"""Tasks that there should be, and cycles that each of them should take: where there are fewer blocks of channels,
tiles are shared out among several, whose sums are added in the end."""


@dataclass(frozen=True, slots=True)
class Blocking(Boxes):
    """How the gradient is cut; threads have no say in it. A chunk is a box of tiles of some samples.

    Attributes
    ----------
    windows : tuple of Window
        The layer's.
    inputs, vectors : int
        Input channels, and vectors of output channels, of one task at most.
    packed : int
        Vectors of channels that are laid down at a time.
    rows, panel : int
        The register tile.
    parts : int
        Tasks among which the chunks are shared out.
    """

    windows: tuple[Window, ...]
    inputs: int
    vectors: int
    packed: int
    rows: int
    panel: int
    parts: int

    @property
    def most(self) -> int:
        """Tiles of a chunk at most."""
        return self.images * self.box[0] * self.box[1]

    def chunks(self, samples: int) -> list[tuple[Range, tuple[Range, Range]]]:
        """The samples and the box of every chunk, in the order in which they are summed."""
        return list(product(cuts(samples, self.images), self.boxes))


@lru_cache(maxsize=512)
def blocking(problem: Problem, outputs: int) -> Blocking:
    """How ``problem`` is cut, which is the adjoint of a layer by its kernel: samples take the place of channels."""
    windows = tuple(window.kernel_adjoint() for window in problem.windows)
    item, lanes = item_bytes(problem.compute_dtype), lanes_of(this_machine(), problem.compute_dtype)
    tiles = (-(-windows[0].count // outputs), -(-windows[1].count // outputs))
    columns = largest(tiles[1], TILES)
    rows = largest(tiles[0], max(1, TILES // columns))
    inputs = largest(-(-problem.batch // lanes), INPUTS) * lanes
    blocks = -(-problem.out_channels // lanes)
    vectors = largest(blocks, OUTPUTS)
    tasks = -(-problem.batch // inputs) * -(-blocks // vectors) * problem.groups
    every = tiles[0] * tiles[1] * problem.in_channels
    laid = TRANSFORMED * (-(-problem.batch // lanes) + blocks)
    taps = windows[0].kernel
    work = every * ((outputs + taps - 1) ** 2 * problem.batch * blocks + laid) * problem.groups
    wanted = -(-max(1, min(TASKS, work // WORK)) // tasks)
    parts = max(1, min(wanted, every // FEWEST))
    if parts < wanted:
        vectors = max(min(vectors, FEW), -(-vectors * parts // wanted))
    images = 1
    if (rows, columns) == tiles:  # as many chunks in each part
        most = parts * max(1, TILES // (rows * columns))
        images = -(-problem.in_channels // (-(-problem.in_channels // most) * parts))
    chunks = -(-tiles[0] // rows) * -(-tiles[1] // columns) * -(-problem.in_channels // images)
    pixels = images * (rows * outputs + taps - 1) * (columns * outputs + taps - 1) * lanes * item + images * LINE
    return Blocking(
        outputs, taps, tiles, (rows, columns), images, lanes, item, windows, inputs, vectors,
        max(1, PACKED_BYTES // pixels), *register_tile(lanes, vectors), min(parts, chunks),
    )  # fmt: skip


def register_tile(lanes: int, vectors: int) -> tuple[int, int]:
    """The register tile for a block of ``lanes`` input channels: its rows divide them."""
    target = this_machine()
    choices = [
        (rows, panel)
        for rows in range(1, lanes + 1) if lanes % rows == 0
        for panel in range(1, min(vectors, most_vectors(target, rows)) + 1)
    ]  # fmt: skip
    return min(choices, key=lambda tile: (cycles(lanes, vectors, *tile), -tile[1]))
