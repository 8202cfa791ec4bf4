"""Pooling: the largest value, or the mean, of each window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from convkit.arrays import NUMPY, tensors_of
from convkit.arrays.layers import PoolOptions
from convkit.errors import DTypeError, OptionError, ShapeError, choose
from convkit.planner import pooling
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem
from convkit.spec import sizes
from convkit.spec.options import POOL_KINDS, pad_pairs, per_axis, whole_number
from convkit.spec.window import Window
from convkit.verbs import objects
from convkit.verbs.bilinear import Bilinear
from convkit.verbs.calls import plain, widened
from convkit.verbs.dtypes import element_types, finish


def pool(
    x: Any, size: Any, *, kind: str = "max", stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil: bool = False,
) -> Any:  # fmt: skip
    """Reduce each window of the last axes to its largest value, to where that stands, or to its mean.

    ``out[i] = max_j v[i*stride - pad + j*dilation]`` or ``sum_j v[...] / count``, j = 0..size-1.

    Parameters
    ----------
    x : array_like
        The last axes are pooled: as many as ``size`` has entries. For a single number, all axes of a 1-D or 2-D array,
        otherwise all but the first two (batch and channel).
    size : int or sequence of int
        The window.
    kind : {"max", "mean", "argmax"}
        What becomes of it. The padding of ``max`` never wins; that of ``mean`` counts as zeros, so the mean is the
        convolution with a box. ``argmax`` is the place of the largest value (the first of equals), counted through the
        pooled axes, last axis fastest.
    stride : int or sequence of int, optional
        Distance between windows; their size by default.
    padding : int or sequence
        Samples before and after, fewer than the window reaches.
    dilation : int or sequence of int
        Distance between the samples of a window.
    ceil : bool
        Whether a last window may hang over the end; what lies beyond the padding is not counted.

    Returns
    -------
    ndarray or torch.Tensor
        ``max`` keeps the type; the mean of integers is float64; places are int64.

    Raises
    ------
    ShapeError
        ``shape.kernel-does-not-fit``, ``shape.pool-rank``, ``shape.pool-nothing``.
    OptionError
        ``option.pool-padding`` and the usual ones.

    Notes
    -----
    Equivalent to ``torch.nn.functional.max_pool2d`` (``argmax``: its indices) and ``avg_pool2d`` with the same
    arguments.

    Examples
    --------
    >>> import convkit as ck
    >>> ck.pool([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], 2)
    array([[6, 8],
           [3, 4]])
    """
    choose("kind", kind, POOL_KINDS)
    if kind == "argmax" or not (isinstance(dilation, int) and dilation == 1):
        from convkit.verbs import spread_pooling  # it builds on this file

        return spread_pooling.pool(x, size, kind, stride, padding, dilation, ceil)
    tensors = tensors_of(x)
    xp = tensors or NUMPY
    array = xp.array(x, "x")
    if kind == "max" and xp.dtype(array).startswith("complex"):
        raise DTypeError("no-order", dtype=xp.dtype(array))
    if tensors is not None:
        return tensors.pool(kind, array, _options_of(array.ndim, size, stride, padding, ceil))
    try:
        options = _kept_options(array.ndim, size, stride, padding, ceil)
    except TypeError:  # options given as lists or arrays
        options = _kept_options(array.ndim, plain(size), plain(stride), plain(padding), ceil)
    if array.dtype.kind == "O":
        geometry = geometry_of(array.shape, options)
        return objects.pool(array, geometry.sizes, kind, geometry.strides, geometry.pads, ceil)
    return POOLS.largest(array, options) if kind == "max" else POOLS.mean(array, options)


def _options_of(ndim: int, size: Any, stride: Any, padding: Any, ceil: bool) -> PoolOptions:
    """A call's options, spelled out for every axis."""
    rank = _rank(size, ndim)
    window_sizes = per_axis("size", size, rank, 1)
    steps = window_sizes if stride is None else per_axis("stride", stride, rank, 1)
    pads = pad_pairs(padding, rank)
    for axis, (before, after) in enumerate(pads):
        if max(before, after) >= window_sizes[axis]:
            here = window_sizes[axis]
            raise OptionError("pool-padding", padding=max(before, after), size=here, axis=axis, largest=here - 1)
    spelled = tuple(pad for pair in pads for pad in pair)
    return PoolOptions(window_sizes, steps, spelled, "ceil" if ceil else "floor")


_kept_options = lru_cache(maxsize=1024, typed=True)(_options_of)


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
    windows = tuple(
        Window(n, k, sizes.pooled_size(n, k, s, pad, options.rounding).value, -pad[0], s)
        for n, k, s, pad in zip(space, options.size, options.stride, pads, strict=True)
    )
    hangs = options.rounding == "ceil" and not any(window.size == 0 or window.count == 0 for window in windows)
    if not hangs:
        padded = tuple(n + before + after for n, (before, after) in zip(space, pads, strict=True))
        sizes.check_fit(padded, options.size, (1,) * len(windows))
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
        return _Selection(geometry_of(x.shape, options).windows).down(x, values)

    def selected_gradient(self, x: Array, g: Array, options: PoolOptions) -> Array:
        """The adjoint: ``g`` added up where the largest of ``x`` stand."""
        return _Selection(geometry_of(x.shape, options).windows).up(x, g)

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


def _rank(size: Any, ndim: int) -> int:
    if isinstance(size, Sequence) and not isinstance(size, str):
        rank = len(size)
    else:
        whole_number("size", size, 1)
        rank = ndim - 2 if ndim > 2 else ndim
    if rank == 0 or rank > ndim:
        raise ShapeError("pool-rank", rank=rank, ndim=ndim)
    return rank


class _Selection:
    """The numbers of one array that stand where another's largest are: linear in the first, with its adjoint."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        self.windows = windows

    def down(self, x: Array, values: Array) -> Array:
        """For each window the number of ``values`` where the largest of ``x`` stands."""
        if values is x:
            found = pooling.pool("max", x, self.windows, tuple(window.size for window in self.windows))
            return _largest(x, self.windows)[0] if found is None else found
        lead = x.shape[: x.ndim - len(self.windows)]
        at = _largest(x, self.windows, where=True)[1]
        counts = (window.count for window in self.windows)
        return np.take_along_axis(values.reshape((*lead, -1)), at, -1).reshape((*lead, *counts))

    def up(self, x: Array, gradient: Array) -> Array:
        """The adjoint: ``gradient`` added up where the largest of ``x`` stand."""
        found = pooling.largest_gradient(x, gradient, self.windows)
        if found is not None:
            return found
        lead, space = x.shape[: x.ndim - len(self.windows)], x.shape[x.ndim - len(self.windows) :]
        at = _largest(x, self.windows, where=True)[1]
        planes, pixels = math.prod(lead), math.prod(space)
        flat = np.zeros(planes * pixels, gradient.dtype)
        np.add.at(flat, (at.reshape(planes, -1) + np.arange(planes)[:, None] * pixels).ravel(), gradient.ravel())
        return flat.reshape(x.shape)


def _largest(x: Array, windows: tuple[Window, ...], where: bool = False) -> tuple[Array, Array]:
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
