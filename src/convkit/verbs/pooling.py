"""Pooling: the largest value, or the mean, of each window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from convkit.arrays import NUMPY, namespace_of
from convkit.arrays.layers import PoolOptions
from convkit.errors import DTypeError, OptionError, ShapeError, choose
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem
from convkit.spec import sizes
from convkit.spec.options import POOL_KINDS, pad_pairs, per_axis, whole_number
from convkit.spec.window import Window
from convkit.verbs import objects
from convkit.verbs.bilinear import Bilinear
from convkit.verbs.calls import widened, widened_name
from convkit.verbs.dtypes import element_types, finish


def pool(
    x: Any, size: Any, *, kind: str = "max", stride: Any = None, padding: Any = 0, ceil: bool = False
) -> Any:  # fmt: skip
    """Reduce each window of the last axes to its largest value or its mean.

    ``out[i] = max_j v[i*stride - pad + j]`` or ``sum_j v[...] / count``, j = 0..size-1.

    Parameters
    ----------
    x : array_like
        The last axes are pooled: as many as ``size`` has entries. For a single number, all axes of a 1-D or 2-D array,
        otherwise all but the first two (batch and channel).
    size : int or sequence of int
        The window.
    kind : {"max", "mean"}
        What becomes of it. The padding of ``max`` never wins; that of ``mean`` counts as zeros, so the mean is the
        convolution with a box.
    stride : int or sequence of int, optional
        Distance between windows; their size by default.
    padding : int or sequence
        Samples before and after, fewer than the window.
    ceil : bool
        Whether a last window may hang over the end; what lies beyond the padding is not counted.

    Returns
    -------
    ndarray or torch.Tensor
        ``max`` keeps the type; the mean of integers is float64.

    Raises
    ------
    ShapeError
        ``shape.kernel-does-not-fit``, ``shape.pool-rank``.
    OptionError
        ``option.pool-padding`` and the usual ones.

    Notes
    -----
    Equivalent to ``torch.nn.functional.max_pool2d`` and ``avg_pool2d`` with the same arguments.

    Examples
    --------
    >>> import convkit as ck
    >>> ck.pool([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], 2)
    array([[6, 8],
           [3, 4]])
    """
    choose("kind", kind, POOL_KINDS)
    xp = namespace_of(x)
    array = xp.array(x, "x")
    rank = _rank(size, array.ndim)
    window_sizes = per_axis("size", size, rank, 1)
    steps = window_sizes if stride is None else per_axis("stride", stride, rank, 1)
    pads = pad_pairs(padding, rank)
    space = tuple(array.shape[array.ndim - rank :])
    for axis, (before, after) in enumerate(pads):
        if max(before, after) >= window_sizes[axis]:
            size_here = window_sizes[axis]
            raise OptionError(
                "pool-padding", padding=max(before, after), size=size_here, axis=axis, largest=size_here - 1
            )
    options = PoolOptions(window_sizes, steps, tuple(pad for pair in pads for pad in pair), "ceil" if ceil else "floor")
    if kind == "max" and xp.dtype(array).startswith("complex"):
        raise DTypeError("no-order", dtype=xp.dtype(array))
    if xp is not NUMPY:
        return xp.pool(kind, array, options)
    check_windows(space, options)
    if array.dtype.kind == "O":
        return objects.pool(array, window_sizes, kind, steps, pads, ceil)
    return POOLS.largest(array, options) if kind == "max" else POOLS.mean(array, options)


def check_windows(space: Sequence[Any], options: PoolOptions) -> tuple[Window, ...]:
    """The windows, laid where they fit; sizes may be symbols.

    Raises
    ------
    ShapeError
        ``shape.kernel-does-not-fit``.
    """
    windows = _windows(space, options)
    hangs = options.rounding == "ceil" and not any(window.size == 0 or window.count == 0 for window in windows)
    if not hangs:
        pads = zip(options.padding[::2], options.padding[1::2], strict=True)
        padded = tuple(n + before + after for n, (before, after) in zip(space, pads, strict=True))
        sizes.check_fit(padded, options.size, (1,) * len(windows))
    return windows


class Pools:
    """Pooling of NumPy arrays, windows laid and checked; see `convkit.arrays.layers.Layers`."""

    def pooled(self, shape: Sequence[Any], options: PoolOptions) -> tuple[Any, ...]:
        """Shape of what pooling gives; sizes may be symbols."""
        rank = len(options.size)
        windows = check_windows(shape[len(shape) - rank :], options)
        return (*shape[: len(shape) - rank], *(window.count for window in windows))

    def largest(self, x: Array, options: PoolOptions) -> Array:
        """The largest value of each window."""
        return _largest(x, check_windows(_space(x.shape, options), options))[0]

    def selected(self, x: Array, values: Array, options: PoolOptions) -> Array:
        """For each window the number of ``values`` where the largest of ``x`` stands, the first of equals."""
        shape, at = self.pooled(x.shape, options), self._places(x, options)
        return np.take_along_axis(values.reshape((*at.shape[:-1], -1)), at, -1).reshape(shape)

    def selected_gradient(self, x: Array, g: Array, options: PoolOptions) -> Array:
        """The adjoint: ``g`` added up where the largest of ``x`` stand."""
        at = self._places(x, options)
        planes, pixels = math.prod(at.shape[:-1]), math.prod(_space(x.shape, options))
        flat = np.zeros(planes * pixels, g.dtype)
        np.add.at(flat, (at.reshape(planes, -1) + np.arange(planes)[:, None] * pixels).ravel(), g.ravel())
        return flat.reshape(x.shape)

    def _places(self, x: Array, options: PoolOptions) -> Array:
        return _largest(x, check_windows(_space(x.shape, options), options), where=True)[1]

    def mean(self, x: Array, options: PoolOptions) -> Array:
        """The mean of each window."""
        rank = len(options.size)
        operator, kernel, counts, result = _averaging(x.shape, x.dtype.name, options)
        problem = operator.problem
        sums = operator.forward(widened(NUMPY, x).reshape((problem.batch, 1, 1, *x.shape[x.ndim - rank :])), kernel)
        means = sums.reshape(self.pooled(x.shape, options)) / counts
        return NUMPY.finish(means, result, lambda array: finish(array, result, "raise"))

    def mean_gradient(self, g: Array, shape: tuple[int, ...], options: PoolOptions) -> Array:
        """Gradient of the mean's input."""
        rank = len(options.size)
        operator, kernel, counts, result = _averaging(shape, g.dtype.name, options)
        problem = operator.problem
        parts = (g / counts).reshape((problem.batch, 1, 1, *g.shape[g.ndim - rank :]))
        gradient = operator.input_gradient(parts, kernel).reshape(shape)
        return NUMPY.finish(gradient, result, lambda array: finish(array, result, "raise"))


POOLS = Pools()


def _space(shape: tuple[int, ...], options: PoolOptions) -> tuple[int, ...]:
    return shape[len(shape) - len(options.size) :]


def _windows(space: Sequence[Any], options: PoolOptions) -> tuple[Window, ...]:
    pads = zip(options.padding[::2], options.padding[1::2], strict=True)
    return tuple(
        Window(n, k, sizes.pooled_size(n, k, s, pad, options.rounding).value, -pad[0], s)
        for n, k, s, pad in zip(space, options.size, options.stride, pads, strict=True)
    )


def _rank(size: Any, ndim: int) -> int:
    if isinstance(size, Sequence) and not isinstance(size, str):
        rank = len(size)
    else:
        whole_number("size", size, 1)
        rank = ndim - 2 if ndim > 2 else ndim
    if rank == 0 or rank > ndim:
        raise ShapeError("pool-rank", rank=rank, ndim=ndim)
    return rank


def _largest(x: Array, windows: tuple[Window, ...], where: bool = False) -> tuple[Array, Array]:
    """The largest value of each window and, if asked for, where it stands in the flattened space (first of equals)."""
    lead = x.shape[: x.ndim - len(windows)]
    counts = tuple(window.count for window in windows)
    best = np.zeros(lead + counts, x.dtype)
    at = np.zeros(lead + counts, np.int64)
    seen = np.zeros(counts, bool)
    space = tuple(window.size for window in windows)
    for tap in product(*(range(window.kernel) for window in windows)):
        positions = [np.arange(w.count) * w.stride + w.start + j for w, j in zip(windows, tap, strict=True)]
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


def _averaging(shape: tuple[int, ...], own: str, options: PoolOptions) -> tuple[Bilinear, Array, Array, str]:
    """The sum of each window as a convolution with a box, the samples in each window, and the type of means."""
    rank = len(options.size)
    windows = check_windows(_space(shape, options), options)
    types = element_types(own, own, None)
    result = "float64" if types.compute in ("int64", "uint64") else types.result
    problem = Problem(
        windows=windows, batch=math.prod(shape[: len(shape) - rank]), input_dtype=widened_name(own),
        kernel_dtype=types.compute,
        compute_dtype=types.compute, accuracy="elementwise",
    )  # fmt: skip
    kernel = np.broadcast_to(np.ones((), types.compute), (1, 1, 1, *options.size))
    # The part of a window that hangs over the padded end is not counted.
    counts = np.ones((), np.int64)
    for window, after in zip(windows, options.padding[1::2], strict=True):
        first = np.arange(window.count) * window.stride + window.start
        counts = counts[..., None] * (np.minimum(first + window.kernel, window.size + after) - first)
    return Bilinear(problem), kernel, counts.astype("float32" if types.compute == "float32" else "float64"), result
