"""The definition of pooling: the largest sample, or the mean, of each window.

``out[n] = max or mean of x[n*stride - padding + j]``, ``0 <= j < size``, along the last axes
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf, prod

from convkit.oracle.grid import Grid, Number, indices
from convkit.spec.options import PoolKind, pad_pairs, per_axis
from convkit.spec.sizes import pooled_size


def pool(
    x: Grid,
    size: Sequence[int],
    *,
    kind: PoolKind = "max",
    stride: object = None,
    padding: object = 0,
    ceil: bool = False,
) -> Grid:
    """Pool over the last ``len(size)`` axes.

    Padding holds nothing for the maximum and zeros for the mean. With ``ceil`` a last window may reach beyond
    the padding; what lies there is neither compared nor counted. A mean of integers is a Fraction. NaN wins a
    maximum.

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
    counts = [pooled_size(sizes[a], size[a], strides[a], pads[a], rounding).value for a in range(rank)]
    out = Grid.full((*outer, *counts), 0)
    for index in out.indices():
        lead, place = index[: len(outer)], index[len(outer) :]
        starts = [p * s - pad[0] for p, s, pad in zip(place, strides, pads, strict=True)]
        stops = [min(starts[a] + size[a], sizes[a] + pads[a][1]) for a in range(rank)]
        samples: list[Number] = []
        for shift in indices([stop - start for start, stop in zip(starts, stops, strict=True)]):
            at = tuple(start + j for start, j in zip(starts, shift, strict=True))
            if all(0 <= p < n for p, n in zip(at, sizes, strict=True)):
                samples.append(x[(*lead, *at)])
        out[index] = _largest(samples) if kind == "max" else _mean(samples, prod(map(int.__sub__, stops, starts)))
    return out


def _largest(samples: list[Number]) -> Number:
    largest: Number = -inf
    for sample in samples:
        if sample != sample or not (largest != largest or sample <= largest):
            largest = sample
    return largest


def _mean(samples: list[Number], count: int) -> Number:
    total: Number = sum(samples)
    return Fraction(total, count) if isinstance(total, int) else total / count
