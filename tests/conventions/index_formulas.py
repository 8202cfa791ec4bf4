"""The index formulas of CONVENTIONS.md as plain loops, for holding other libraries against them.

    convolution   out[i] = sum_j x[i + anchor - j] * k[j]
    correlation   out[i] = sum_j x[i + j - anchor] * k[j]

Nothing of convkit is used here: the dictionary must hold whether or not convkit is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Position = Callable[[int, int], "int | None"]


def outside(position: int, size: int) -> int | None:
    return position if 0 <= position < size else None


def edge(position: int, size: int) -> int:
    return min(max(position, 0), size - 1)


def reflect(position: int, size: int) -> int:
    """``d c b | a b c d | c b a``: the edge sample is the mirror and is not repeated."""
    folded = position % (2 * size - 2)
    return min(folded, 2 * size - 2 - folded)


def symmetric(position: int, size: int) -> int:
    """``d c b a | a b c d | d c b a``: the mirror lies between samples."""
    folded = position % (2 * size)
    return min(folded, 2 * size - 1 - folded)


def wrap(position: int, size: int) -> int:
    return position % size


BOUNDARIES: dict[str, Position] = {
    "zero": outside,
    "edge": edge,
    "reflect": reflect,
    "symmetric": symmetric,
    "wrap": wrap,
}


def same(x: Sequence[float], k: Sequence[float], operation: str, anchor: int, boundary: str = "zero") -> list[float]:
    """As many outputs as inputs, by the formula at the top of this file."""
    sign = -1 if operation == "convolution" else 1
    out = []
    for i in range(len(x)):
        places = [BOUNDARIES[boundary](i + sign * (j - anchor), len(x)) for j in range(len(k))]
        out.append(sum(x[p] * weight for p, weight in zip(places, k, strict=True) if p is not None))
    return out


def strided(x: Sequence[float], k: Sequence[float], stride: int, before: int, count: int) -> list[float]:
    """Correlation with ``before`` zeros in front, every ``stride``-th output, ``count`` of them."""
    steps = range(count)
    places = [[outside(i * stride + j - before, len(x)) for j in range(len(k))] for i in steps]
    return [sum(x[p] * w for p, w in zip(row, k, strict=True) if p is not None) for row in places]
