"""How work is cut into register tiles: pieces of nearly equal size, and the tile that takes least time."""

from __future__ import annotations

from functools import lru_cache

from convkit.algorithms.support.blocks import Range
from convkit.codegen.dense import most_vectors
from convkit.codegen.library import this_machine


def shared(total: int, most: int) -> list[tuple[int, int]]:
    """``total`` cut into as few pieces as can be, of at most ``most`` and nearly equal: (size, pieces of that size)."""
    count = -(-total // most)
    size = -(-total // count)
    small = count * size - total
    return [(size, count - small), (size - 1, small)]


def pieces(total: int, most: int) -> list[tuple[int, int]]:
    """The same without sizes of which there are none."""
    return [(size, count) for size, count in shared(total, most) if size and count]


def cuts(total: int, most: int, unit: int = 1) -> list[Range]:
    """The same as ranges, all but the last of whole units; ``most`` is a number of units then."""
    ranges: list[Range] = []
    for size, count in shared(-(-total // unit), -(-most // unit)):
        for _ in range(count):
            begin = ranges[-1][1] if ranges else 0
            ranges.append((begin, min(total, begin + size * unit)))
    return ranges


def largest(total: int, most: int) -> int:
    """The size of the largest of those pieces."""
    return -(-total // -(-total // most))


TURN = 0.5
"""Cycles that a turn of the innermost loop takes besides: where tiles are as good, the larger one is better."""


@lru_cache(maxsize=1024)
def register_tile(rows: int, vectors: int, most_rows: int, width: float = 1.0) -> tuple[int, int]:
    """The register tile that takes least time for so many rows and vectors of sums."""
    target = this_machine()
    choices = [
        (r, v) for r in range(1, min(most_rows, rows) + 1) for v in range(1, min(most_vectors(target, r), vectors) + 1)
    ]
    return min(choices, key=lambda tile: (cycles(rows, vectors, *tile, width), -tile[1]))


def cycles(rows: int, vectors: int, most_rows: int, most_vectors: int, width: float = 1.0) -> float:
    """Cycles of one term of all sums; ``width``: how much of a whole vector's time a vector takes.

    As many as there are multiply-adds, as vectors take from the second-level cache, as loads take, or as sums take to
    be ready again: whichever is most.
    """
    total = 0.0
    for r, blocks in pieces(rows, most_rows):
        for v, tiles in pieces(vectors, most_vectors):
            total += blocks * tiles * (max(width * r * v, 4 * width * v, (r + 3 * width * v) / 2, 10) + TURN)
    return total * (1 + 0.1 / most_vectors)  # what is not in vectors is read again for every tile
