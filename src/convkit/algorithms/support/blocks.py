"""Blocks: the piece of the boundary-extended input that a tile of outputs needs.

Only this piece is ever extended or converted. Where it lies inside the input it is a view; the whole input is never
padded or copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.planner.algorithm import Array
from convkit.spec.boundary import index_map
from convkit.spec.window import Window

SPACE = 3
"""Axes before the convolved ones: batch (or channel blocks), groups, channels."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the positions of a span along one axis come from.

    Attributes
    ----------
    inner : tuple of int
        The positions of the span that are samples themselves.
    before, after : ndarray of int or None
        Samples repeated before and after them; None where zeros or the fill stand.
    held : slice
        The samples that any of these are.
    """

    inner: Range
    before: NDArray[np.intp] | None
    after: NDArray[np.intp] | None
    held: slice


@lru_cache(maxsize=1024)
def _source(window: Window, span: Range) -> _Source:
    lo, hi = span
    first = min(max(lo, 0), hi)
    last = max(min(hi, window.size), first)
    repeated: list[NDArray[np.intp] | None] = []
    for start, stop, name in ((lo, first, window.sides[0]), (last, hi, window.sides[1])):
        plain = name in ("zero", "constant") or stop <= start
        repeated.append(
            None if plain else np.asarray(index_map(start, stop - start, window.size, window.sides), np.intp)
        )
    bounds = [(first, last)] if last > first else []
    bounds += [(int(sources.min()), int(sources.max()) + 1) for sources in repeated if sources is not None]
    held = slice(min((start for start, _ in bounds), default=0), max((stop for _, stop in bounds), default=0))
    return _Source((first, last), repeated[0], repeated[1], held)


def needed(window: Window, outputs: Range) -> Range:
    """Input positions, first and one past the last, that the outputs ``lo..hi-1`` of an axis touch."""
    lo, hi = outputs
    first = window.start + lo * window.stride
    return first, window.start + (hi - 1) * window.stride + window.reach if hi > lo else first


def extended(x: Array, windows: Sequence[Window], spans: Sequence[Range], fill: Any, dtype: np.dtype[Any]) -> Array:
    """The extended input at the positions ``spans`` (one range an axis), in ``dtype``; a view where it can be.

    Axes are extended one after another, as ``numpy.pad`` does.
    """
    inside = [lo >= 0 and hi <= window.size for window, (lo, hi) in zip(windows, spans, strict=True)]
    held = [
        slice(*span) if within else _source(window, span).held
        for window, span, within in zip(windows, spans, inside, strict=True)
    ]
    if any(part.stop - part.start > 2 * (hi - lo) + 8 for part, (lo, hi) in zip(held, spans, strict=True)):
        return _gathered(x, windows, spans, fill, dtype)
    block = x[(slice(None),) * SPACE + tuple(held)]
    for axis, (window, span, within) in enumerate(zip(windows, spans, inside, strict=True), SPACE):
        if not within:
            block = _extend_axis(block, axis, window, span, fill, dtype)
    return block if block.dtype == dtype else block.astype(dtype)


def _extend_axis(block: Array, axis: int, window: Window, span: Range, fill: Any, dtype: np.dtype[Any]) -> Array:
    """Lay out a span along one axis: what stands before, the samples themselves, what stands after."""
    source = _source(window, span)
    (lo, hi), (first, last), offset = span, source.inner, source.held.start
    shape = list(block.shape)
    shape[axis] = hi - lo
    result = np.empty(shape, dtype)
    at: list[Any] = [slice(None)] * block.ndim
    if last > first:
        taken: list[Any] = [slice(None)] * block.ndim
        at[axis], taken[axis] = slice(first - lo, last - lo), slice(first - offset, last - offset)
        result[tuple(at)] = block[tuple(taken)]
    outer = (lo, first, window.sides[0], source.before), (last, hi, window.sides[1], source.after)
    for start, stop, name, samples in outer:
        if stop > start:
            at[axis] = slice(start - lo, stop - lo)
            if samples is None:
                result[tuple(at)] = 0 if name == "zero" else fill
            else:
                result[tuple(at)] = block.take(samples - offset, axis=axis)
    return result


def _gathered(x: Array, windows: Sequence[Window], spans: Sequence[Range], fill: Any, dtype: np.dtype[Any]) -> Array:
    """The same for spans whose samples lie far apart (``wrap``): picked by index, so that nothing between is copied."""
    result = np.empty(x.shape[:SPACE] + tuple(hi - lo for lo, hi in spans), dtype)
    picked: list[NDArray[np.intp]] = []
    target: list[slice] = []
    for axis, (window, (lo, hi)) in enumerate(zip(windows, spans, strict=True), SPACE):
        source = _source(window, (lo, hi))
        first, last = source.inner
        parts = [part for part in (source.before, np.arange(first, last), source.after) if part is not None]
        picked.append(np.concatenate(parts))
        begin = 0 if source.before is not None else first - lo
        target.append(slice(begin, begin + len(picked[-1])))
        for outside, name in ((slice(0, begin), window.sides[0]), (slice(target[-1].stop, None), window.sides[1])):
            result[(slice(None),) * axis + (outside,)] = fill if name == "constant" else 0
    result[(..., *target)] = x[(slice(None),) * SPACE + np.ix_(*picked)]
    return result


def clipped(window: Window, span: Range) -> Range:
    """``span`` without the positions that hold no sample: those outside under boundary ``zero``."""
    lo, hi = span
    if window.sides[0] == "zero":
        lo = max(lo, 0)
    if window.sides[1] == "zero":
        hi = min(hi, window.size)
    return (lo, hi) if lo < hi else (lo, lo)


def tiles(windows: Sequence[Window], per_tile: int) -> list[tuple[Range, ...]]:
    """Cut the outputs into boxes of at most about ``per_tile`` outputs, last axis longest.

    Along an axis that is cut, the cuts also run where windows begin to leave the input, so that inner tiles are views;
    an axis that fits a tile is left whole, as many small tiles cost more than the copy of one. The cuts depend on the
    geometry alone, so results do not depend on the number of threads.
    """
    lengths = tile_lengths(windows, per_tile)
    cuts = [_cuts(window, length) for window, length in zip(windows, lengths, strict=True)]
    return list(product(*cuts))


def tile_lengths(windows: Sequence[Window], per_tile: int) -> list[int]:
    """Outputs of one tile along each axis, at most about ``per_tile`` together."""
    lengths = [0] * len(windows)
    room = max(1, per_tile)
    for axis in range(len(windows) - 1, -1, -1):
        lengths[axis] = max(1, min(windows[axis].count, room))
        room = max(1, room // lengths[axis])
    return lengths


def block_size(windows: Sequence[Window], lengths: Sequence[int]) -> int:
    """Extended samples that a tile of ``lengths`` outputs needs, for one channel."""
    return math.prod((n - 1) * window.stride + window.reach for window, n in zip(windows, lengths, strict=True))


def _cuts(window: Window, length: int) -> list[Range]:
    marks = {0, window.count}
    if length < window.count and not window.inside and window.sides != ("zero", "zero"):
        # First output whose window lies inside, and first that leaves it again.
        enter = -(-max(0, -window.start) // window.stride)
        leave = (window.size - window.reach - window.start) // window.stride + 1
        marks |= {min(max(mark, 0), window.count) for mark in (enter, leave)}
    edges = sorted(marks)
    cuts: list[Range] = []
    for lo, hi in pairwise(edges):
        pieces = -(-(hi - lo) // length)
        cuts += [(lo + (hi - lo) * p // pieces, lo + (hi - lo) * (p + 1) // pieces) for p in range(pieces)]
    return cuts


def sliding_windows(block: Array, windows: Sequence[Window], counts: Sequence[int]) -> Array:
    """A view of a block with the kernel's axes split off: (..., *counts, *kernel), nothing copied."""
    shape = block.shape[:SPACE] + tuple(counts) + tuple(window.kernel for window in windows)
    steps = block.strides[SPACE:]
    outer = tuple(step * window.stride for step, window in zip(steps, windows, strict=True))
    inner = tuple(step * window.dilation for step, window in zip(steps, windows, strict=True))
    return np.lib.stride_tricks.as_strided(block, shape, block.strides[:SPACE] + outer + inner, writeable=False)


def tap_slices(
    windows: Sequence[Window], outputs: Sequence[Range], spans: Sequence[Range], tap: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """Where one kernel element meets samples: slices of the output tile and of a block over ``spans``.

    None if it meets none. An output ``i`` meets the sample at ``i*stride + start + tap*dilation``.
    """
    targets: list[slice] = []
    sources: list[slice] = []
    for window, (lo, hi), (first, last), j in zip(windows, outputs, spans, tap, strict=True):
        offset = window.start + j * window.dilation
        begin = max(lo, -((offset - first) // window.stride))
        end = min(hi, (last - 1 - offset) // window.stride + 1)
        if end <= begin:
            return None
        targets.append(slice(begin - lo, end - lo))
        at = begin * window.stride + offset - first
        sources.append(slice(at, at + (end - begin - 1) * window.stride + 1, window.stride))
    return tuple(targets), tuple(sources)


def taps(windows: Sequence[Window]) -> Iterator[tuple[int, ...]]:
    """Every index into the kernel, in storage order."""
    return product(*(range(window.kernel) for window in windows))
