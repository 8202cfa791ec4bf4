"""How a Winograd weight gradient is cut: chunks of tiles, blocks of input and output channels, the register tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.packing import LINE, item_bytes
from convkit.algorithms.support.register_tiles import cuts, cycles, largest
from convkit.codegen.dense import most_vectors
from convkit.codegen.library import this_machine
from convkit.codegen.register_tile import lanes_of
from convkit.planner.problem import Problem
from convkit.spec.window import Window

TILES = 98
"""Tiles of a chunk at most: the more, the fewer times sums are read and written."""

INPUTS, OUTPUTS = 128, 128
"""Input and output channels of a task at most. Every task transforms what it needs for itself, which takes the less
beside its products the more channels it has; sums of all frequencies grow with both."""

PACKED_BYTES = 1 << 17
"""Bytes of samples or gradients that are laid down before they are transformed, if there is more than one vector."""

TASKS = 4
"""Tasks that there should be: where there are fewer blocks of channels, chunks are shared out among several, whose
sums are added in the end."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """How the gradient is cut; threads have no say in it.

    Attributes
    ----------
    windows : tuple of Window
        The layer's.
    outputs : int
        Outputs of a tile along each axis.
    tiles : tuple of int
        Tiles of one image along each axis.
    box : tuple of int
        Tiles of a chunk along each axis at most.
    images : int
        Samples of a chunk: more than one where an image has few tiles.
    inputs, vectors : int
        Input channels, and vectors of output channels, of one task at most.
    packed : int
        Vectors of channels that are laid down at a time.
    rows, panel : int
        The register tile.
    parts : int
        Tasks among which the chunks are shared out.
    lanes, item : int
        Numbers in a vector, and bytes of one.
    """

    windows: tuple[Window, ...]
    outputs: int
    tiles: tuple[int, int]
    box: tuple[int, int]
    images: int
    inputs: int
    vectors: int
    packed: int
    rows: int
    panel: int
    parts: int
    lanes: int
    item: int

    @property
    def size(self) -> int:
        """Frequencies along each axis."""
        return self.outputs + 2

    @property
    def tile(self) -> int:
        """Bytes of a transformed tile of one vector of channels."""
        return self.size**2 * self.lanes * self.item

    @property
    def most(self) -> int:
        """Tiles of a chunk at most."""
        return self.images * self.box[0] * self.box[1]

    def chunks(self, samples: int) -> list[tuple[Range, tuple[Range, Range]]]:
        """The samples and the box of every chunk, in the order in which they are summed."""
        rows, columns = (cuts(count, most) for count, most in zip(self.tiles, self.box, strict=True))
        return list(product(cuts(samples, self.images), product(rows, columns)))


@lru_cache(maxsize=512)
def blocking(problem: Problem, outputs: int) -> Blocking:
    """How ``problem`` is cut, which is the adjoint of a layer by its kernel: samples take the place of channels."""
    windows = tuple(window.kernel_adjoint() for window in problem.windows)
    item, lanes = item_bytes(problem.compute_dtype), lanes_of(this_machine(), problem.compute_dtype)
    tiles = (-(-windows[0].count // outputs), -(-windows[1].count // outputs))
    columns = largest(tiles[1], TILES)
    rows = largest(tiles[0], max(1, TILES // columns))
    whole = (rows, columns) == tiles
    images = largest(problem.in_channels, max(1, TILES // (rows * columns))) if whole else 1
    inputs = largest(-(-problem.batch // lanes), -(-INPUTS // lanes)) * lanes
    blocks = -(-problem.out_channels // lanes)
    vectors = largest(blocks, -(-OUTPUTS // lanes))
    pixels = images * (rows * outputs + 2) * (columns * outputs + 2) * lanes * item + images * LINE
    packed = max(1, PACKED_BYTES // pixels)
    tasks = -(-problem.batch // inputs) * -(-blocks // vectors) * problem.groups
    chunks = -(-problem.in_channels // images) * -(-tiles[0] // rows) * -(-tiles[1] // columns)
    parts = min(chunks, -(-TASKS // tasks))
    return Blocking(
        windows, outputs, tiles, (rows, columns), images, inputs, vectors, packed,
        *register_tile(lanes, vectors), parts, lanes, item,
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
