"""How Winograd's filtering is cut: boxes of tiles, blocks of output channels, and the register tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.packing import item_bytes
from convkit.algorithms.support.register_tiles import cuts, largest, register_tile, shared
from convkit.codegen.library import this_machine
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.winograd_products import MOST_ROWS
from convkit.planner.problem import Problem

TILES_BYTES = 5 << 16
"""Bytes of transformed samples and of sums at most: a third of a second-level cache. The weights of all frequencies
pass through the rest; with twice as many bytes two cores wait for each other at the next cache."""

INPUTS, OUTPUTS = 128, 128
"""Input channels transformed at a time, and output channels of a task, at most. Every task transforms its samples for
itself, which takes little beside so many output channels."""

LARGE, FEWER = 1 << 24, 64
"""Bytes of transformed weights from which they come from memory for every box of tiles; and how many input and output
channels there are at a time then, so that boxes have more tiles."""

TILES = 48
"""Tiles at a time at most: with so many, weights need not come faster than the next cache can give them."""

TASKS = 4
"""Tasks that a sample should have: where it has fewer boxes of tiles, they share out more blocks of output channels."""

TASK_OUTPUTS = 64
"""Output channels that a task keeps then at least."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Tiles, and how many of them are dealt with at a time.

    Attributes
    ----------
    outputs, taps : int
        Outputs of a tile along each axis, and elements of the kernel.
    tiles : tuple of int
        Tiles of one image along each axis.
    box : tuple of int
        Tiles of a box along each axis at most.
    images : int
        Samples in a box: more than one where an image is one box of few tiles.
    lanes, item : int
        Numbers in a vector, and bytes of one.
    """

    outputs: int
    taps: int
    tiles: tuple[int, int]
    box: tuple[int, int]
    images: int
    lanes: int
    item: int

    @property
    def size(self) -> int:
        """Frequencies along each axis."""
        return self.outputs + self.taps - 1

    def reach(self, tiles: int) -> int:
        """Samples along an axis that so many tiles meet."""
        return tiles * self.outputs + self.taps - 1

    @property
    def tile(self) -> int:
        """Bytes of a transformed tile of one vector of channels."""
        return self.size**2 * self.lanes * self.item

    @property
    def boxes(self) -> list[tuple[Range, Range]]:
        """The boxes of tiles of one image."""
        rows, columns = (cuts(count, most) for count, most in zip(self.tiles, self.box, strict=True))
        return list(product(rows, columns))


@dataclass(frozen=True, slots=True)
class Blocking(Boxes):
    """How a problem is cut.

    Attributes
    ----------
    channels : int
        Input channels transformed and multiplied at a time at most.
    rows, vectors : int
        The register tile.
    blocks : tuple of Range
        Output channels of each task, as ranges of vectors.
    """

    channels: int
    rows: int
    vectors: int
    blocks: tuple[Range, ...]

    @property
    def panels(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """The panels of each task: their vectors, and how many there are of so many; the same for one vector fewer."""
        return [tuple(shared(last - first, self.vectors)) for first, last in self.blocks]  # type: ignore[misc]


@lru_cache(maxsize=512)
def blocking(problem: Problem, outputs: int) -> Blocking:
    """How ``problem`` is cut; neither threads nor the batch have a say in what one sample is cut into."""
    item, lanes = item_bytes(problem.compute_dtype), lanes_of(this_machine(), problem.compute_dtype)
    tiles = (-(-problem.windows[0].count // outputs), -(-problem.windows[1].count // outputs))
    taps = problem.windows[0].kernel
    number = (outputs + taps - 1) ** 2 * item
    large = number * problem.in_channels * problem.out_channels > LARGE
    at_once = (min(FEWER, INPUTS), min(FEWER, OUTPUTS)) if large else (INPUTS, OUTPUTS)
    channels = largest(-(-problem.in_channels // lanes), -(-at_once[0] // lanes)) * lanes
    vectors = -(-problem.out_channels // lanes)
    most = largest(vectors, -(-at_once[1] // lanes))
    rows, columns = _box(tiles, TILES_BYTES // (number * (channels + most * lanes)))
    boxes = -(-tiles[0] // rows) * -(-tiles[1] // columns) * problem.groups
    if boxes * -(-vectors // most) < TASKS:
        splits = min(-(-TASKS // boxes), max(1, problem.out_channels // TASK_OUTPUTS))
        most = min(most, -(-vectors // splits))
    room = TILES_BYTES // (number * (channels + most * lanes))
    rows, columns = _box(tiles, room)
    images = max(1, min(TILES, room) // (rows * columns)) if (rows, columns) == tiles else 1
    blocks = cuts(vectors, most)
    register = register_tile(rows * columns * images, blocks[0][1], MOST_ROWS)
    return Blocking(outputs, taps, tiles, (rows, columns), images, lanes, item, channels, *register, tuple(blocks))


def _box(tiles: tuple[int, int], room: int) -> tuple[int, int]:
    """Rows and columns of a box of ``room`` tiles at most."""
    room = max(1, min(TILES, room))
    columns = largest(tiles[1], room)
    return largest(tiles[0], max(1, room // columns)), columns
