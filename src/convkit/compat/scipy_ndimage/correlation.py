"""``scipy.ndimage.correlate``, ``convolve`` and their one-dimensional forms."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from convkit import verbs
from convkit.compat.numpy import Array
from convkit.compat.refusal import refusal
from convkit.compat.scipy_ndimage import footprint
from convkit.compat.scipy_ndimage.arguments import boundary, check_fill, fill_value, one_axis, several_axes, spread
from convkit.compat.scipy_ndimage.output import check_types, prepare, store
from convkit.compat.scipy_ndimage.truncation import Order, settled
from convkit.compat.ways import LARGE, sums_as_defined


def correlate1d(
    input: Any,  # noqa: A002 - the imitated signature
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> Array:
    """Correlate along one axis; complex weights are conjugated.

    ``out[i] = sum_j input[i + j - K//2 - origin] conj(weights[j])``

    Parameters
    ----------
    input : array_like
        The image, of any rank.
    weights : array_like, (K,)
        The kernel.
    axis : int
        The axis to filter.
    output : ndarray, dtype or None
        Array to fill, or type of the result; the input's type by default.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}
        What stands outside; "grid-mirror", "grid-constant" and "grid-wrap" are other names of the first, second and
        last.
    cval : scalar
        The value outside under "constant".
    origin : int
        Shift of the kernel, ``-(K//2) <= origin <= (K-1)//2``; positive ones move the result towards the end.

    Returns
    -------
    ndarray
        Computed in double precision and truncated into integer types.

    Raises
    ------
    RuntimeError
        No weights, more than one axis of them, an unknown mode, an unusable output, a type ndimage does not take.
    ValueError
        An origin that lays no weight on the output sample; an axis that does not exist.
    TypeError
        A ``cval`` that is not a number.

    Examples
    --------
    >>> correlate1d([2, 8, 0, 4, 1, 9, 9, 0], [1, 3]).tolist()
    [8, 26, 8, 12, 7, 28, 36, 9]

    Equivalent to ``scipy.ndimage.correlate1d(input, weights, axis, output, mode, cval, origin)``.
    """
    return _along_axis("correlation", input, weights, axis, output, mode, cval, origin)


def convolve1d(
    input: Any,  # noqa: A002 - the imitated signature
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> Array:
    """Convolve along one axis: the kernel is flipped and not conjugated.

    ``out[i] = sum_j input[i - j + K//2 + origin] weights[j]``

    Parameters
    ----------
    input, weights, axis, output, mode, cval, origin
        As in `correlate1d`.

    Returns
    -------
    ndarray
        As from `correlate1d`.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As in `correlate1d`.

    Examples
    --------
    >>> convolve1d([2, 8, 0, 4, 1, 9, 9, 0], [1, 3]).tolist()
    [14, 24, 4, 13, 12, 36, 27, 0]

    Equivalent to ``scipy.ndimage.convolve1d(input, weights, axis, output, mode, cval, origin)``.
    """
    return _along_axis("convolution", input, weights, axis, output, mode, cval, origin)


def correlate(
    input: Any,  # noqa: A002 - the imitated signature
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Correlate with a kernel of the same rank, or over some axes only; complex weights are conjugated.

    ``out[i] = sum_j input[i + j - K//2 - origin] conj(weights[j])``, i and j running over all axes.

    Parameters
    ----------
    input : array_like
        The image, of any rank.
    weights : array_like
        The kernel: one axis for each of ``axes``, in increasing order.
    output, mode, cval
        As in `correlate1d`; one mode for all axes.
    origin : int or sequence of int
        Shift of the kernel, one for each of ``axes``.
    axes : int, sequence of int or None
        The axes to filter; all by default.

    Returns
    -------
    ndarray
        Computed in double precision and truncated into integer types.

    Raises
    ------
    RuntimeError
        Weights of another rank, several or unknown modes, an unusable output, a type ndimage does not take.
    ValueError
        An origin that lays no weight on the output sample; axes that do not exist or are repeated.
    TypeError
        A ``cval`` that is not a number.

    Examples
    --------
    >>> correlate([[1, 2, 0], [5, 3, 0]], [[1, 0], [0, 10]]).tolist()
    [[11, 21, 2], [51, 31, 2]]

    Equivalent to ``scipy.ndimage.correlate(input, weights, output, mode, cval, origin, axes=axes)``.
    """
    return _over_axes("correlation", input, weights, output, mode, cval, origin, axes)


def convolve(
    input: Any,  # noqa: A002 - the imitated signature
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Convolve with a kernel of the same rank, or over some axes only: the kernel is flipped, not conjugated.

    ``out[i] = sum_j input[i - j + K//2 + origin] weights[j]``, i and j running over all axes.

    Parameters
    ----------
    input, weights, output, mode, cval, origin, axes
        As in `correlate`.

    Returns
    -------
    ndarray
        As from `correlate`.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As in `correlate`.

    Examples
    --------
    >>> convolve([[1, 2, 0], [5, 3, 0]], [[1, 0], [0, 10]]).tolist()
    [[13, 20, 0], [53, 30, 0]]

    Equivalent to ``scipy.ndimage.convolve(input, weights, output, mode, cval, origin, axes=axes)``.
    """
    return _over_axes("convolution", input, weights, output, mode, cval, origin, axes)


def _along_axis(
    operation: str, source: Any, weights: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any
) -> Array:
    x, k = np.asarray(source), np.asarray(weights)
    complex_result = "c" in (x.dtype.kind, k.dtype.kind)
    target = prepare(output, x, complex_result)
    check_fill(cval, x, k)
    k = k.astype(np.complex128 if k.dtype.kind == "c" else np.float64, copy=False)
    if k.ndim != 1 or k.size == 0:
        raise refusal(RuntimeError, "scipy_ndimage.no-weights")
    where = one_axis(axis, x.ndim)
    anchor = _anchor(k.size, origin, "len(weights)", "origin")
    return filtered(operation, x, k, target, (where,), (anchor,), boundary(mode), cval, "line")


def _over_axes(
    operation: str, source: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Array:
    x, k = np.asarray(source), np.asarray(weights)
    complex_result = "c" in (x.dtype.kind, k.dtype.kind)
    check_fill(cval, x, k)
    chosen = several_axes(axes, x.ndim)
    k = k.astype(np.complex128 if k.dtype.kind == "c" else np.float64, copy=False)
    rank = sum(size > 0 for size in k.shape)
    if rank != len(chosen) or k.ndim != rank:
        raise refusal(RuntimeError, "scipy_ndimage.weights-rank", rank=rank, axes=len(chosen))
    origins = dict(zip(chosen if len(chosen) < x.ndim else range(x.ndim), spread(origin, len(chosen))))
    # The kernel's axes follow the image's, whatever the order in which a caller names them.
    chosen = tuple(sorted(chosen))
    anchors = tuple(
        _anchor(size, origins[axis], "weights.shape[k]", "origin[k]") for axis, size in zip(chosen, k.shape)
    )
    target = prepare(output, x, complex_result)
    if not isinstance(mode, str) and isinstance(mode, Iterable):
        raise refusal(RuntimeError, "scipy_ndimage.several-modes")
    # ndimage leaves such weights out of the sum altogether.
    k = np.where(np.abs(k) > np.finfo(np.float64).eps, k, 0)
    return filtered(operation, x, k, target, chosen, anchors, boundary(mode), cval, "window")


def _anchor(size: int, origin: Any, length: str, name: str) -> int:
    """The kernel element on the output sample, ``K//2 + origin``, for a correlation and for a convolution alike."""
    anchor = size // 2 + operator.index(origin)
    if not 0 <= anchor < size:
        raise refusal(ValueError, "scipy_ndimage.origin", length=length, name=name)
    return anchor


def filtered(
    operation: str,
    x: Array,
    k: Array,
    target: Array,
    axes: tuple[int, ...],
    anchors: tuple[int, ...],
    extension: str,
    cval: Any,
    order: Order,
) -> Array:
    """Filter ``x`` with ``k`` into ``target`` through the verb, all arguments settled.

    Parameters
    ----------
    operation : {"correlation", "convolution"}
        Which verb.
    x, k, target : ndarray
        Image, kernel in double precision with one axis for each of ``axes``, and the array to fill.
    axes, anchors : tuple of int
        The filtered axes, and for each the kernel element on the output sample.
    extension : str
        The verbs' boundary.
    cval : scalar
        The value outside under "constant".
    order : {"line", "window"}
        The order of ndimage's additions; in a window, weights of zero take no part.
    """
    check_types(x, target, "c" in (x.dtype.kind, k.dtype.kind))
    fill = fill_value(cval, x)
    if x.size == 0 or not axes:
        return store(x * k if x.size else x, target)
    truncated = target.dtype.kind in "iub"
    options: dict[str, Any] = {"boundary": extension, "axes": axes, "anchor": anchors}
    if extension == "constant":
        options["fill"] = fill
    # Truncation turns the smallest error into a whole unit, so no transform may ever stand behind such sums.
    options |= sums_as_defined(x.shape, k.shape, LARGE) or ({"accuracy": "elementwise"} if truncated else {})
    verb = verbs.correlate if operation == "correlation" else verbs.convolve
    if order == "window" and footprint.matters(x, k, fill):
        return store(footprint.left_out(verb, x, k, float(fill.real), options), target)
    sums = verb(x, k, "same", **options)
    if truncated:
        if operation == "convolution":
            k, anchors = np.flip(k), tuple(size - 1 - anchor for size, anchor in zip(k.shape, anchors))
        sums = settled(sums, x, k, axes, anchors, extension, float(fill.real), order)
    return store(sums, target)
