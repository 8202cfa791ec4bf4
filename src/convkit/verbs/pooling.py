"""Pooling: the largest value, or the mean, of each window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from convkit.arrays import NUMPY, Namespace, namespace_of
from convkit.errors import DTypeError, OptionError, ShapeError, choose
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem
from convkit.spec import sizes
from convkit.spec.options import POOL_KINDS, pad_pairs, per_axis, whole_number
from convkit.spec.window import Window
from convkit.verbs import objects
from convkit.verbs.bilinear import Bilinear
from convkit.verbs.calls import widened
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
    rounding = "ceil" if ceil else "floor"
    windows = tuple(
        Window(n, k, sizes.pooled_size(n, k, s, pad, rounding).value, -pad[0], s)
        for n, k, s, pad in zip(space, window_sizes, steps, pads, strict=True)
    )
    if not ceil or any(0 in (window.size, window.count) for window in windows):  # else one window may hang over
        padded = tuple(n + before + after for n, (before, after) in zip(space, pads, strict=True))
        sizes.check_fit(padded, window_sizes, (1,) * rank)
    if xp is NUMPY and array.dtype.kind == "O":
        return objects.pool(array, window_sizes, kind, steps, pads, ceil)
    if kind == "max":
        return _maximum(xp, array, windows)
    return _mean(xp, array, windows, pads)


def _rank(size: Any, ndim: int) -> int:
    if isinstance(size, Sequence) and not isinstance(size, str):
        rank = len(size)
    else:
        whole_number("size", size, 1)
        rank = ndim - 2 if ndim > 2 else ndim
    if rank == 0 or rank > ndim:
        raise ShapeError("pool-rank", rank=rank, ndim=ndim)
    return rank


def _maximum(xp: Namespace, x: Any, windows: tuple[Window, ...]) -> Any:
    if xp.dtype(x).startswith("complex"):
        raise DTypeError("no-order", dtype=xp.dtype(x))
    if xp is NUMPY:
        return _largest(x, windows)[0]
    lead, space = x.shape[: x.ndim - len(windows)], x.shape[x.ndim - len(windows) :]
    flat = x.reshape((*lead, math.prod(space)))
    values = widened(xp, x).detach().resolve_neg().numpy()
    return xp.take_last(flat, _largest(values, windows, where=True)[1]).reshape(
        (*flat.shape[:-1], *(window.count for window in windows))
    )


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


def _mean(xp: Namespace, x: Any, windows: tuple[Window, ...], pads: tuple[tuple[int, int], ...]) -> Any:
    rank = len(windows)
    lead, space = tuple(x.shape[: x.ndim - rank]), tuple(x.shape[x.ndim - rank :])
    own = xp.dtype(x)
    types = element_types(own, own, None)
    result = "float64" if types.compute in ("int64", "uint64") else types.result
    problem = Problem(
        windows=windows, batch=math.prod(lead), input_dtype=types.compute, kernel_dtype=types.compute,
        compute_dtype=types.compute, accuracy="elementwise",
    )  # fmt: skip
    counted = widened(xp, x).reshape((math.prod(lead), 1, 1, *space))
    box = xp.array(np.ones((1,) * (3 + rank), types.compute), "box")
    kernel = xp.expand(box, (1, 1, 1, *(window.kernel for window in windows)))
    sums = xp.apply(Bilinear(problem), "forward", counted, kernel)
    # The part of a window that hangs over the padded end is not counted.
    counts = np.ones((), np.int64)
    for window, (_, after) in zip(windows, pads, strict=True):
        first = np.arange(window.count) * window.stride + window.start
        counts = counts[..., None] * (np.minimum(first + window.kernel, window.size + after) - first)
    divisor = xp.array(counts.astype("float32" if types.compute == "float32" else "float64"), "count")
    mean = sums.reshape((*lead, *(window.count for window in windows))) / divisor
    return xp.finish(mean, result, lambda array: finish(array, result, "raise"))
