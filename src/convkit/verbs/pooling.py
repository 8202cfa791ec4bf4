"""Pooling: the largest value, its place, or the mean, of each window."""

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
    xp = namespace_of(x)
    array = xp.array(x, "x")
    rank = _rank(size, array.ndim)
    window_sizes = per_axis("size", size, rank, 1)
    steps = window_sizes if stride is None else per_axis("stride", stride, rank, 1)
    pads = pad_pairs(padding, rank)
    apart = per_axis("dilation", dilation, rank, 1)
    reaches = tuple(map(sizes.reach, window_sizes, apart))
    space = tuple(array.shape[array.ndim - rank :])
    for axis, (before, after) in enumerate(pads):
        if max(before, after) >= reaches[axis]:
            size_here = reaches[axis]
            raise OptionError(
                "pool-padding", padding=max(before, after), size=size_here, axis=axis, largest=size_here - 1
            )
    rounding = "ceil" if ceil else "floor"
    windows = tuple(
        Window(n, k, sizes.pooled_size(n, sizes.reach(k, d), s, pad, rounding).value, -pad[0], s, d)
        for n, k, s, d, pad in zip(space, window_sizes, steps, apart, pads, strict=True)
    )
    if not ceil or any(0 in (window.size, window.count) for window in windows):  # else one window may hang over
        padded = tuple(n + before + after for n, (before, after) in zip(space, pads, strict=True))
        sizes.check_fit(padded, window_sizes, apart)
    if kind != "mean" and max(apart) > 1:
        _check_samples(windows)
    if xp is NUMPY and array.dtype.kind == "O":
        options = {"kind": kind, "stride": steps, "padding": pads, "dilation": apart, "ceil": ceil}
        return objects.pool(array, window_sizes, options)
    if kind == "argmax":
        return xp.array(_places(xp, array, windows), "places")
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


def _check_samples(windows: tuple[Window, ...]) -> None:
    """Raise where the samples of a dilated window all lie in the padding: nothing is the largest of none."""
    for axis, window in enumerate(windows):
        taps = np.arange(window.kernel) * window.dilation + window.start
        places = np.arange(window.count)[:, None] * window.stride + taps
        empty = np.nonzero(~((places >= 0) & (places < window.size)).any(axis=1))[0]
        if empty.size:
            raise ShapeError(
                "pool-nothing", axis=axis, window=int(empty[0]), places=", ".join(map(str, places[empty[0]])),
                last=window.size - 1,
            )  # fmt: skip


def _maximum(xp: Namespace, x: Any, windows: tuple[Window, ...]) -> Any:
    if xp is NUMPY:
        _check_order(x.dtype.name)
        return _largest(x, windows)[0]
    places = _places(xp, x, windows)
    lead, space = x.shape[: x.ndim - len(windows)], x.shape[x.ndim - len(windows) :]
    flat = places.reshape((*lead, math.prod(places.shape[len(lead) :])))
    return xp.take_last(x.reshape((*lead, math.prod(space))), flat).reshape(places.shape)


def _places(xp: Namespace, x: Any, windows: tuple[Window, ...]) -> Array:
    """Where the largest value of each window stands in the flattened space."""
    _check_order(xp.dtype(x))
    values = x if xp is NUMPY else widened(xp, x).detach().resolve_neg().numpy()
    lead = tuple(x.shape[: x.ndim - len(windows)])
    return _largest(values, windows, where=True)[1].reshape((*lead, *(window.count for window in windows)))


def _check_order(dtype: str) -> None:
    if dtype.startswith("complex"):
        raise DTypeError("no-order", dtype=dtype)


def _largest(x: Array, windows: tuple[Window, ...], where: bool = False) -> tuple[Array, Array]:
    """The largest value of each window and, if asked for, where it stands in the flattened space (first of equals)."""
    lead = x.shape[: x.ndim - len(windows)]
    counts = tuple(window.count for window in windows)
    best = np.zeros(lead + counts, x.dtype)
    at = np.zeros(lead + counts, np.int64)
    seen = np.zeros(counts, bool)
    space = tuple(window.size for window in windows)
    for tap in product(*(range(window.kernel) for window in windows)):
        positions = [
            np.arange(w.count) * w.stride + w.start + j * w.dilation for w, j in zip(windows, tap, strict=True)
        ]
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
        held = -(-(window.size + after - first) // window.dilation)
        counts = counts[..., None] * np.minimum(window.kernel, held)
    divisor = xp.array(counts.astype("float32" if types.compute == "float32" else "float64"), "count")
    mean = sums.reshape((*lead, *(window.count for window in windows))) / divisor
    return xp.finish(mean, result, lambda array: finish(array, result, "raise"))
