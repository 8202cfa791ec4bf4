"""Pooling of NumPy arrays, with its adjoints: the windows that options give, the largest values, the means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from convkit.arrays import NUMPY
from convkit.arrays.layers import PoolOptions
from convkit.planner import pooling
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem
from convkit.spec import sizes
from convkit.spec.window import Window
from convkit.verbs.bilinear import Bilinear
from convkit.verbs.calls import widened
from convkit.verbs.dtypes import element_types, finish


@dataclass(frozen=True, slots=True)
class _Geometry:
    """A call's options worked out.

    Attributes
    ----------
    windows : tuple of Window
        One for each pooled axis.
    sizes, strides : tuple of int
        As given, for each axis.
    pads : tuple of (int, int)
        Likewise.
    """

    windows: tuple[Window, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """Where what is counted ends: the part of a window that hangs over the padded end is not."""
        return tuple(window.size + after for window, (_, after) in zip(self.windows, self.pads, strict=True))


@lru_cache(maxsize=1024)
def geometry_of(shape: tuple[int, ...], options: PoolOptions) -> _Geometry:
    """The windows, laid where they fit.

    Raises
    ------
    ShapeError
        ``shape.kernel-does-not-fit``.
    """
    space = shape[len(shape) - len(options.size) :]
    pads = tuple(zip(options.padding[::2], options.padding[1::2], strict=True))
    return _Geometry(check_windows(space, options), options.size, options.stride, pads)


def check_windows(space: Sequence[Any], options: PoolOptions) -> tuple[Window, ...]:
    """The windows, laid where they fit; sizes may be symbols.

    Raises
    ------
    ShapeError
        ``shape.kernel-does-not-fit``.
    """
    pads = tuple(zip(options.padding[::2], options.padding[1::2], strict=True))
    return windows_of(space, options.size, options.stride, (1,) * len(pads), pads, options.rounding)


def windows_of(
    space: Sequence[Any], taps: tuple[int, ...], steps: tuple[int, ...], apart: tuple[int, ...],
    pads: tuple[tuple[int, int], ...], rounding: str,
) -> tuple[Window, ...]:  # fmt: skip
    """The same for samples that may stand apart."""
    windows = tuple(
        Window(n, k, sizes.pooled_size(n, sizes.reach(k, d), s, pad, rounding).value, -pad[0], s, d)
        for n, k, s, d, pad in zip(space, taps, steps, apart, pads, strict=True)
    )
    hangs = rounding == "ceil" and not any(window.size == 0 or window.count == 0 for window in windows)
    if not hangs:
        padded = tuple(n + before + after for n, (before, after) in zip(space, pads, strict=True))
        sizes.check_fit(padded, taps, apart)
    return windows


class Pools:
    """Pooling of NumPy arrays; see `convkit.arrays.layers.Layers`."""

    def pooled(self, shape: Sequence[Any], options: PoolOptions) -> tuple[Any, ...]:
        """Shape of what pooling gives; sizes may be symbols."""
        lead = len(shape) - len(options.size)
        return (*shape[:lead], *(window.count for window in check_windows(shape[lead:], options)))

    def largest(self, x: Array, options: PoolOptions) -> Array:
        """The largest value of each window."""
        values = _values(x)
        found = self.selected(values, values, options)
        return found if found.dtype == x.dtype else found.astype(x.dtype)

    def selected(self, x: Array, values: Array, options: PoolOptions) -> Array:
        """For each window the number of ``values`` where the largest of ``x`` stands, the first of equals."""
        windows = geometry_of(x.shape, options).windows
        if values is x:
            found = pooling.pool("max", x, windows, tuple(window.size for window in windows))
            return largest(x, windows)[0] if found is None else found
        lead = x.shape[: x.ndim - len(windows)]
        at = largest(x, windows, where=True)[1]
        counts = (window.count for window in windows)
        return np.take_along_axis(values.reshape((*lead, -1)), at, -1).reshape((*lead, *counts))

    def selected_gradient(self, x: Array, g: Array, options: PoolOptions) -> Array:
        """The adjoint: ``g`` added up where the largest of ``x`` stand."""
        windows = geometry_of(x.shape, options).windows
        found = pooling.largest_gradient(x, g, windows)
        if found is not None:
            return found
        lead, space = x.shape[: x.ndim - len(windows)], x.shape[x.ndim - len(windows) :]
        at = largest(x, windows, where=True)[1]
        planes, pixels = math.prod(lead), math.prod(space)
        flat = np.zeros(planes * pixels, g.dtype)
        np.add.at(flat, (at.reshape(planes, -1) + np.arange(planes)[:, None] * pixels).ravel(), g.ravel())
        return flat.reshape(x.shape)

    def largest_kept(self, x: Array, options: PoolOptions) -> tuple[Array, Array] | None:
        """The largest value of each window and its place there, kept for `kept_gradient`; None where nobody can."""
        return pooling.largest_kept(x, geometry_of(x.shape, options).windows)

    def kept_gradient(self, g: Array, places: Array, shape: tuple[int, ...], options: PoolOptions) -> Array:
        """``g`` added up at the places kept, for an input of this shape."""
        return pooling.kept_gradient(g, places, shape[2:], geometry_of(shape, options).windows)

    def mean(self, x: Array, options: PoolOptions) -> Array:
        """The mean of each window."""
        compute, result = _mean_types(x.dtype)
        means = _mean(geometry_of(x.shape, options), compute).down(_values(x))
        return NUMPY.finish(means, result, lambda array: finish(array, result, "raise"))

    def mean_gradient(self, g: Array, shape: tuple[int, ...], options: PoolOptions) -> Array:
        """Gradient of the mean's input."""
        compute, result = _mean_types(g.dtype)
        gradient = _mean(geometry_of(shape, options), compute).up(_values(g))
        return NUMPY.finish(gradient, result, lambda array: finish(array, result, "raise"))


POOLS = Pools()


def largest(x: Array, windows: tuple[Window, ...], where: bool = False) -> tuple[Array, Array]:
    """The largest value of each window and, if asked for, where it stands in the flattened space (first of equals)."""
    lead = x.shape[: x.ndim - len(windows)]
    counts = tuple(window.count for window in windows)
    best = np.zeros(lead + counts, x.dtype)
    at = np.zeros(lead + counts, np.int64)
    seen = np.zeros(counts, bool)
    space = tuple(window.size for window in windows)
    for tap in product(*(range(window.kernel) for window in windows)):
        offsets = [w.start + j * w.dilation for w, j in zip(windows, tap, strict=True)]
        positions = [np.arange(w.count) * w.stride + first for w, first in zip(windows, offsets, strict=True)]
        hits = [np.nonzero((p >= 0) & (p < w.size))[0] for p, w in zip(positions, windows, strict=True)]
        if any(len(hit) == 0 for hit in hits):
            continue
        target = tuple(slice(hit[0], hit[-1] + 1) for hit in hits)
        source = tuple(
            slice(int(p[hit[0]]), int(p[hit[-1]]) + 1, w.stride)
            for p, hit, w in zip(positions, hits, windows, strict=True)
        )
        values, current, known = x[(..., *source)], best[(..., *target)], seen[target]
        with np.errstate(invalid="ignore"):
            better = (values > current) | ~known
            if x.dtype.kind == "f":
                better |= np.isnan(values) & ~np.isnan(current)
        np.copyto(current, values, where=better)
        if where:
            chosen = [p[hit[0] : hit[-1] + 1] for p, hit in zip(positions, hits, strict=True)]
            flat = np.ravel_multi_index(np.meshgrid(*chosen, indexing="ij"), space)
            np.copyto(at[(..., *target)], np.broadcast_to(flat, better.shape), where=better)
        known[...] = True
    return best, at.reshape((*lead, math.prod(counts)))


def _values(x: Array) -> Array:
    """Numbers that NumPy and kernels can compare and add."""
    return x if x.dtype.char in "fd" else widened(NUMPY, x)  # a type's name takes NumPy a microsecond


@lru_cache(maxsize=64)
def _mean_types(dtype: np.dtype[Any]) -> tuple[str, str]:
    """Types in which means are formed and stored."""
    types = element_types(dtype.name, dtype.name, None)
    return types.compute, "float64" if types.compute in ("int64", "uint64") else types.result


class _Mean:
    """The mean of each window, by a kernel of its own or as a convolution with a box; and its adjoint."""

    def __init__(self, geometry: _Geometry, compute: str) -> None:
        self.windows, self.ends, self.compute = geometry.windows, geometry.ends, compute
        counts = np.ones((), np.int64)
        for window, end in zip(self.windows, self.ends, strict=True):
            first = np.arange(window.count) * window.stride + window.start
            counts = counts[..., None] * (np.minimum(first + window.kernel, end) - first)
        self.counts = counts.astype("float32" if compute == "float32" else "float64")
        self.even = counts.size > 0 and bool((counts == counts.flat[0]).all())

    def down(self, values: Array) -> Array:
        """The means."""
        found = pooling.pool("mean", values, self.windows, self.ends)
        if found is not None:
            return found
        rank = len(self.windows)
        lead, space = values.shape[: values.ndim - rank], values.shape[values.ndim - rank :]
        batch, groups = outer = _outer(lead)
        box = _box(self.windows, groups, 1, self.compute)
        operator = _operator(self.windows, batch, groups, self.compute)
        sums = operator.forward(values.reshape((*outer, 1, *space)), box)
        return sums.reshape((*lead, *(window.count for window in self.windows))) / self.counts

    def up(self, gradient: Array) -> Array:
        """The adjoint: each number's share of the means that it is in. It lies in memory as ``gradient`` does."""
        rank = len(self.windows)
        lead, counts = gradient.shape[: gradient.ndim - rank], gradient.shape[gradient.ndim - rank :]
        batch, groups = outer = _outer(lead)
        share, shares = 1.0, gradient
        if self.even and gradient.dtype.kind == "f":  # then the box makes shares of the means
            share = 1 / float(self.counts.flat[0])
        else:
            shares = (gradient / self.counts).astype(gradient.dtype, copy=False)
        found = _laid_like(gradient, lead, tuple(window.size for window in self.windows), self.compute)
        out = found.reshape((*outer, 1, *found.shape[len(lead) :]))
        operator = _operator(self.windows, batch, groups, self.compute)
        operator.input_gradient(
            shares.reshape((*outer, 1, *counts)), _box(self.windows, groups, share, self.compute), out
        )
        return found


_mean = lru_cache(maxsize=256)(_Mean)


@lru_cache(maxsize=256)
def _box(windows: tuple[Window, ...], groups: int, value: float, compute: str) -> Array:
    """A kernel for each channel, all alike."""
    box = np.full((1, 1, 1, *(window.kernel for window in windows)), value, compute)
    return np.broadcast_to(box, (groups, *box.shape[1:]))


@lru_cache(maxsize=256)
def _operator(windows: tuple[Window, ...], batch: int, groups: int, compute: str) -> Bilinear:
    """The convolution with it."""
    problem = Problem(
        windows=windows, batch=batch, groups=groups, input_dtype=compute, kernel_dtype=compute, compute_dtype=compute,
        accuracy="elementwise",
    )  # fmt: skip
    return Bilinear(problem).linear


def _outer(lead: tuple[int, ...]) -> tuple[int, int]:
    """Samples, and channels, of the axes before those that are pooled."""
    groups = lead[-1] if len(lead) > 1 else 1
    return math.prod(lead) // max(1, groups), groups


def _laid_like(array: Array, lead: tuple[int, ...], space: tuple[int, ...], dtype: str) -> Array:
    """A new array whose channels lie side by side if those of ``array`` do."""
    if len(lead) == 2 and lead[1] > 1 and array.strides[1] == array.itemsize:
        return np.moveaxis(np.empty((lead[0], *space, lead[1]), dtype), -1, 1)
    return np.empty((*lead, *space), dtype)
