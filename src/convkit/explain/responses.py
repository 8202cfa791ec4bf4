"""Responses: what a kernel gives at every position at once. Every mode, anchor, padding and stride is a part of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from convkit.spec import OUTSIDE, Window, source_index
from convkit.spec.options import Sides

Array = np.ndarray[Any, Any]
MARGIN = 2
"""Positions beyond the last that touches the array: for paddings longer than the kernel."""


@dataclass(frozen=True, slots=True)
class Arrays:
    """The three arrays with batch and channels in front: x (B, C, space), k (O, I, space), y (B, O, space)."""

    x: Array
    k: Array
    y: Array
    network: str = "arrays"
    """``"arrays"``, ``"network"`` or ``"transposed"``: how batch and channels are meant."""

    @property
    def rank(self) -> int:
        """Convolved axes."""
        return self.x.ndim - 2

    @property
    def groups(self) -> int:
        """Groups that the channel numbers tell of."""
        if self.network == "transposed":
            return max(1, self.y.shape[1] // self.k.shape[1])
        return self.x.shape[1] // self.k.shape[1]


@dataclass(frozen=True, slots=True)
class Response:
    """The values at every position, and how they were made.

    ``values[..., p - first] = sum_j v[p + dilation*j] * w[j]``, with ``w`` the kernel as laid down and ``v`` the
    extended, upsampled input.
    """

    values: Array
    first: tuple[int, ...]
    flips: bool
    conjugate: bool
    dilation: tuple[int, ...]
    up: tuple[int, ...]
    sides: tuple[Sides, ...]

    def windows(self, arrays: Arrays, start: Sequence[int], stride: Sequence[int]) -> tuple[Window, ...]:
        """The windows of the outputs that begin at ``start`` and lie ``stride`` apart."""
        return tuple(
            Window(n, k, count, first, s, d, up, sides)
            for n, k, count, first, s, d, up, sides in zip(
                arrays.x.shape[2:], arrays.k.shape[2:], arrays.y.shape[2:], start, stride, self.dilation, self.up,
                self.sides, strict=True,
            )
        )  # fmt: skip

    def at(self, start: Sequence[int], stride: Sequence[int], count: Sequence[int]) -> Array | None:
        """The outputs that begin at ``start`` and lie ``stride`` apart; None where they leave the response."""
        parts: list[slice] = []
        for first, begin, step, number, length in zip(
            self.first, start, stride, count, self.values.shape[2:], strict=True
        ):
            low = begin - first
            if low < 0 or low + (number - 1) * step >= length:
                return None
            parts.append(slice(low, low + (number - 1) * step + 1, step))
        return self.values[(slice(None), slice(None), *parts)]


def respond(
    arrays: Arrays,
    flips: bool,
    conjugate: bool,
    dilation: Sequence[int],
    sides: Sequence[Sides],
    up: Sequence[int] | None = None,
    fill: Any = 0,
    margin: int = MARGIN,
) -> Response:
    """The response of ``arrays.x`` to ``arrays.k`` under one convention."""
    spatial = range(2, 2 + arrays.rank)
    up = tuple(up or (1,) * arrays.rank)
    w = arrays.k[(slice(None), slice(None), *([slice(None, None, -1)] * arrays.rank))] if flips else arrays.k
    w = np.conj(w) if conjugate else w
    v = arrays.x
    first: list[int] = []
    length: list[int] = []
    for axis in spatial:
        n, reach = arrays.x.shape[axis], dilation[axis - 2] * (arrays.k.shape[axis] - 1) + 1
        low = 1 - reach - margin
        high = (n - 1) * up[axis - 2] + margin + reach
        before, after = sides[axis - 2]
        sources = [_source(p, n, up[axis - 2], before, after) for p in range(low, high)]
        index = np.array(sources)
        v = np.take(v, np.maximum(index, 0), axis=axis)
        outside = np.expand_dims(index == OUTSIDE, tuple(a for a in range(v.ndim) if a != axis))
        constant = _where_constant(low, n, up[axis - 2], before, after, len(index))
        v = np.where(outside, np.array(0, v.dtype), v)
        if constant.any() and fill != 0:
            shape = [1] * v.ndim
            shape[axis] = len(index)
            v = np.where(constant.reshape(shape), np.array(fill).astype(v.dtype), v)
        first.append(low)
        length.append(len(index) - reach + 1)
    values = _correlate(v, w, arrays, dilation, length)
    return Response(values, tuple(first), flips, conjugate, tuple(dilation), up, tuple(sides))


def _source(position: int, size: int, up: int, before: str, after: str) -> int:
    if position % up:
        return OUTSIDE
    place = position // up
    return source_index(place, size, before if place < 0 else after)  # type: ignore[arg-type]


def _where_constant(low: int, size: int, up: int, before: str, after: str, count: int) -> Array:
    places = np.arange(low, low + count)
    return ((places < 0) & (before == "constant")) | ((places > (size - 1) * up) & (after == "constant"))


def _correlate(v: Array, w: Array, arrays: Arrays, dilation: Sequence[int], length: Sequence[int]) -> Array:
    groups = arrays.groups
    if arrays.network == "transposed":
        # weights (C, O/groups): the channels summed over stand first
        share = w.shape[0] // groups
        w = np.concatenate([np.swapaxes(w[g * share : (g + 1) * share], 0, 1) for g in range(groups)])
    outs, share = w.shape[0] // groups, w.shape[1]
    out = np.zeros((v.shape[0], w.shape[0], *length), np.result_type(v, w))
    if w.shape[:2] == (1, 1):
        for tap in product(*(range(size) for size in w.shape[2:])):
            part = tuple(slice(d * j, d * j + n) for d, j, n in zip(dilation, tap, length, strict=True))
            out += v[(slice(None), slice(None), *part)] * w[(0, 0, *tap)]
        return out
    grouped = v.reshape(v.shape[0], groups, share, *v.shape[2:])
    weights = w.reshape(groups, outs, share, *w.shape[2:])
    sums = out.reshape(v.shape[0], groups, outs, *length)
    for tap in product(*(range(size) for size in w.shape[2:])):
        part = tuple(slice(d * j, d * j + n) for d, j, n in zip(dilation, tap, length, strict=True))
        at = weights[(slice(None), slice(None), slice(None), *tap)]
        sums += np.einsum("bgs...,gos->bgo...", grouped[(slice(None), slice(None), slice(None), *part)], at)
    return out


def places_of(response: Response, arrays: Arrays, equal: Equality, strides: Sequence[range]) -> Iterator[tuple[
    tuple[int, ...], tuple[int, ...]]]:  # fmt: skip
    """Every (start, stride) at which ``arrays.y`` is a part of the response."""
    y, values = arrays.y, response.values
    count = y.shape[2:]
    lengths = values.shape[2:]
    probe = values[0, 0]
    hits = equal.close(probe, y[(0, 0, *(0,) * arrays.rank)])
    for stride in product(*strides):
        room = [n - (m - 1) * s for n, m, s in zip(lengths, count, stride, strict=True)]
        if min(room) < 1:
            continue
        mask = hits[tuple(slice(0, r) for r in room)].copy()
        # a few more probes leave hardly a false start
        for corner in ((-1,) * arrays.rank, tuple(m // 2 for m in count)):
            at = tuple((c % m) * s for c, m, s in zip(corner, count, stride, strict=True))
            part = probe[tuple(slice(a, a + r) for a, r in zip(at, room, strict=True))]
            mask &= equal.close(part, y[(0, 0, *(c % m for c, m in zip(corner, count, strict=True)))])
        for start in np.argwhere(mask):
            parts = tuple(
                slice(int(a), int(a) + (m - 1) * s + 1, s) for a, m, s in zip(start, count, stride, strict=True)
            )
            if equal.all(values[(slice(None), slice(None), *parts)], y):
                yield tuple(int(a) + f for a, f in zip(start, response.first, strict=True)), stride


@dataclass(frozen=True, slots=True)
class Equality:
    """When two values count as equal: exactly for integers and fractions, within ``tolerance`` for floats.

    Attributes
    ----------
    tolerance : float
        Largest difference; 0 for exact numbers.
    """

    tolerance: float = 0.0

    def close(self, a: Any, b: Any) -> Array:
        """Element by element; two NaN are equal."""
        if self.tolerance == 0:
            return np.asarray(a == b, bool)
        with np.errstate(invalid="ignore"):
            same = np.abs(a - b) <= self.tolerance
        return np.asarray(same | (np.isnan(a) & np.isnan(b)) | (a == b), bool)

    def all(self, a: Array, b: Array) -> bool:
        """Whether all elements are."""
        return a.shape == b.shape and bool(self.close(a, b).all())


def canonical(windows: Sequence[Window], sides: bool = True) -> tuple[Window, ...]:
    """Windows with everything set to a usual value that plays no part in them."""
    plain: list[Window] = []
    for window in windows:
        changes: dict[str, Any] = {}
        if window.count == 1:
            changes["stride"] = 1
        if window.kernel == 1:
            changes["dilation"] = 1
        if window.size <= 1:
            changes["up"] = 1
        one = replace(window, **changes)
        before, after = one.sides if sides else ("zero", "zero")
        if one.first >= 0:
            before = "zero"
        if one.last <= (one.size - 1) * one.up:
            after = "zero"
        plain.append(replace(one, sides=(before, after)))
    return tuple(plain)
