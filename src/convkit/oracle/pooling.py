"""The definition of pooling: the largest sample, its place, or the mean, of each window.

``out[n] = max, argmax or mean of x[n*stride - padding + j*dilation]``, ``0 <= j < size``, along the last axes
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

from convkit.oracle.grid import Grid, Number, indices
from convkit.spec.options import PoolKind, pad_pairs, per_axis
from convkit.spec.sizes import pooled_size, reach


def pool(
    x: Grid,
    size: Sequence[int],
    *,
    kind: PoolKind = "max",
    stride: object = None,
    padding: object = 0,
    dilation: object = 1,
    ceil: bool = False,
) -> Grid:
    """Pool over the last ``len(size)`` axes.

    Padding holds nothing for the maximum and zeros for the mean. With ``ceil`` a last window may reach beyond
    the padding; what lies there is neither compared nor counted. A mean of integers is a Fraction. NaN wins a
    maximum. The place of the maximum, first of equals, is counted through the pooled axes, last axis fastest.

    Examples
    --------
    >>> pool(Grid.of([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]), (2, 2)).values
    [6, 8, 3, 4]
    """
    rank = len(size)
    outer, sizes = x.shape[: x.rank - rank], x.shape[x.rank - rank :]
    strides = tuple(size) if stride is None else per_axis("stride", stride, rank, 1)
    pads = pad_pairs(padding, rank)
    rounding = "ceil" if ceil else "floor"
    steps = per_axis("dilation", dilation, rank, 1)
    counts = [pooled_size(sizes[a], reach(size[a], steps[a]), strides[a], pads[a], rounding).value for a in range(rank)]
    out = Grid.full((*outer, *counts), 0)
    for index in out.indices():
        lead, place = index[: len(outer)], index[len(outer) :]
        starts = [p * s - pad[0] for p, s, pad in zip(place, strides, pads, strict=True)]
        held = [min(size[a], -(-(sizes[a] + pads[a][1] - starts[a]) // steps[a])) for a in range(rank)]
        samples: list[Number] = []
        places: list[int] = []
        for shift in indices(held):
            at = tuple(start + j * step for start, j, step in zip(starts, shift, steps, strict=True))
            if all(0 <= p < n for p, n in zip(at, sizes, strict=True)):
                samples.append(x[(*lead, *at)])
                places.append(_place(at, sizes))
        if kind == "mean":
            out[index] = _mean(samples, prod(held))
        else:
            largest = _largest(samples)
            out[index] = samples[largest] if kind == "max" else places[largest]
    return out


def _largest(samples: list[Number]) -> int:
    """Where the largest sample stands in the list."""
    best = 0
    for i, sample in enumerate(samples):
        known = samples[best]
        if known == known and (sample != sample or sample > known):
            best = i
    return best


def _place(at: tuple[int, ...], sizes: Sequence[int]) -> int:
    place = 0
    for p, n in zip(at, sizes, strict=True):
        place = place * n + p
    return place


def _mean(samples: list[Number], count: int) -> Number:
    total: Number = sum(samples)
    return Fraction(total, count) if isinstance(total, int) else total / count
