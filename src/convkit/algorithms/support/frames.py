"""The outputs as boxes: those whose windows leave the input, and all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from convkit.algorithms.support.blocks import Range
from convkit.spec.window import Window

Box = tuple[Range, ...]


def frame(windows: Sequence[Window]) -> tuple[list[Box], Box | None]:
    """Boxes whose windows leave the input somewhere, and the box of the others, if there are any."""
    whole = tuple((0, window.count) for window in windows)
    edges: list[Box] = []
    inner: Box = ()
    for axis, window in enumerate(windows):
        enter = min(max(0, -(window.start // window.stride)), window.count)
        leave = min(max(0, (window.size - window.reach - window.start) // window.stride + 1), window.count)
        if leave <= enter:
            return [*edges, (*inner, *whole[axis:])], None
        outside = [(lo, hi) for lo, hi in ((0, enter), (leave, window.count)) if lo < hi]
        edges += [(*inner, side, *whole[axis + 1 :]) for side in outside]
        inner = (*inner, (enter, leave))
    return edges, inner


def cut(box: Box, lengths: Sequence[int]) -> Iterator[Box]:
    """Tiles of ``lengths`` outputs, the last ones along an axis shorter."""
    cuts = [[(at, min(at + n, hi)) for at in range(lo, hi, n)] for (lo, hi), n in zip(box, lengths, strict=True)]
    yield from product(*cuts)
