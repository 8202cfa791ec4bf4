"""Pooling: the largest value, where it stands, or the mean, of each window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from convkit.arrays import NUMPY, tensors_of
from convkit.arrays.layers import PoolOptions
from convkit.errors import DTypeError, OptionError, ShapeError, choose
from convkit.spec import sizes
from convkit.spec.options import POOL_KINDS, pad_pairs, per_axis, whole_number
from convkit.verbs import objects, spread_pooling
from convkit.verbs.calls import plain
from convkit.verbs.pools import POOLS, geometry_of


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
    tensors = tensors_of(x)
    xp = tensors or NUMPY
    array = xp.array(x, "x")
    if kind != "mean" and xp.dtype(array).startswith("complex"):
        raise DTypeError("no-order", dtype=xp.dtype(array))
    if kind == "argmax" or not (isinstance(dilation, int) and dilation == 1):
        spelled = _spelled_out(array.ndim, size, stride, padding, dilation)
        return spread_pooling.pool(xp, array, kind, *spelled, "ceil" if ceil else "floor")
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
    """The options of windows whose samples are neighbours."""
    taps, steps, _, pads = _spelled_out(ndim, size, stride, padding, 1)
    return PoolOptions(taps, steps, tuple(pad for pair in pads for pad in pair), "ceil" if ceil else "floor")


_kept_options = lru_cache(maxsize=1024, typed=True)(_options_of)


def _spelled_out(
    ndim: int, size: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    """A call's windows, their distance, that of their samples, and the padding, for every axis."""
    rank = _rank(size, ndim)
    taps = per_axis("size", size, rank, 1)
    steps = taps if stride is None else per_axis("stride", stride, rank, 1)
    apart, pads = per_axis("dilation", dilation, rank, 1), pad_pairs(padding, rank)
    for axis, (pair, reach) in enumerate(zip(pads, map(sizes.reach, taps, apart), strict=True)):
        if max(pair) >= reach:
            raise OptionError("pool-padding", padding=max(pair), size=reach, axis=axis, largest=reach - 1)
    return taps, steps, apart, pads


def _rank(size: Any, ndim: int) -> int:
    if isinstance(size, Sequence) and not isinstance(size, str):
        rank = len(size)
    else:
        whole_number("size", size, 1)
        rank = ndim - 2 if ndim > 2 else ndim
    if rank == 0 or rank > ndim:
        raise ShapeError("pool-rank", rank=rank, ndim=ndim)
    return rank
