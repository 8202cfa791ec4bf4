"""``scipy.ndimage``'s edge filters, built from one-dimensional correlations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convkit.compat.numpy import Array
from convkit.compat.scipy_ndimage.arguments import one_axis, several_axes, spread
from convkit.compat.scipy_ndimage.correlation import correlate1d
from convkit.compat.scipy_ndimage.output import between_axes, finished, prepare
from convkit.compat.scipy_ndimage.smoothing import gaussian_filter

Derivative = Callable[[Array, int, Any, Any], Array]


def sobel(
    input: Any,  # noqa: A002 - the imitated signature
    axis: int = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
) -> Array:
    """Sobel's derivative: ``[-1, 0, 1]`` along ``axis``, ``[1, 2, 1]`` along every other; correlations both.

    Parameters
    ----------
    input : array_like
        The image.
    axis : int
        The axis along which to differentiate.
    output, cval
        As in `correlate1d`.
    mode : str or sequence of str
        As in `correlate1d`, one for all axes or one for each.

    Returns
    -------
    ndarray
        As from `correlate1d`: an unsigned image wraps where the derivative is negative.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As in `correlate1d`.

    Examples
    --------
    >>> sobel([[0, 0, 1], [0, 0, 1]], axis=1).tolist()
    [[0, 4, 4], [0, 4, 4]]

    Equivalent to ``scipy.ndimage.sobel(input, axis, output, mode, cval)``.
    """
    return _crossed(input, axis, output, mode, cval, [1, 2, 1])


def prewitt(
    input: Any,  # noqa: A002 - the imitated signature
    axis: int = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
) -> Array:
    """Prewitt's derivative: ``[-1, 0, 1]`` along ``axis``, ``[1, 1, 1]`` along every other; correlations both.

    Parameters
    ----------
    input, axis, output, mode, cval
        As in `sobel`.

    Returns
    -------
    ndarray
        As from `sobel`.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As in `correlate1d`.

    Examples
    --------
    >>> prewitt([[0, 0, 1], [0, 0, 1]], axis=1).tolist()
    [[0, 3, 3], [0, 3, 3]]

    Equivalent to ``scipy.ndimage.prewitt(input, axis, output, mode, cval)``.
    """
    return _crossed(input, axis, output, mode, cval, [1, 1, 1])


def laplace(
    input: Any,  # noqa: A002 - the imitated signature
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    axes: Any = None,
) -> Array:
    """The sum of second differences, ``[1, -2, 1]`` along each of ``axes``.

    Parameters
    ----------
    input : array_like
        The image.
    output, cval
        As in `correlate1d`.
    mode : str or sequence of str
        As in `correlate1d`, one for all of ``axes`` or one for each.
    axes : int, sequence of int or None
        The axes to differentiate along; all by default.

    Returns
    -------
    ndarray
        As from `correlate1d`.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As in `correlate1d`; axes that do not exist or are repeated.

    Examples
    --------
    >>> laplace([[0, 0, 0], [0, 1, 0], [0, 0, 0]]).tolist()
    [[0, 1, 0], [1, -4, 1], [0, 1, 0]]

    Equivalent to ``scipy.ndimage.laplace(input, output, mode, cval, axes=axes)``.
    """
    x = np.asarray(input)

    def second_difference(image: Array, axis: int, into: Any, extension: str) -> Array:
        return correlate1d(image, [1, -2, 1], axis, into, extension, cval)

    return _summed(x, second_difference, output, mode, several_axes(axes, x.ndim))


def gaussian_laplace(
    input: Any,  # noqa: A002 - the imitated signature
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    axes: Any = None,
    **kwargs: Any,
) -> Array:
    """The Laplacian of the smoothed image: second derivatives of a Gaussian along each of ``axes``, summed.

    Parameters
    ----------
    input : array_like
        The image.
    sigma : float or sequence of float
        Standard deviations, one for all of ``axes`` or one for each.
    output, mode, cval, axes
        As in `laplace`.
    **kwargs
        Passed on to `gaussian_filter`.

    Returns
    -------
    ndarray
        As from `correlate1d`.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As in `gaussian_filter`.

    Examples
    --------
    >>> gaussian_laplace([0.0, 0, 1, 0, 0], 1).round(4).tolist()
    [0.1974, 0.002, -0.3989, 0.002, 0.1974]

    Equivalent to ``scipy.ndimage.gaussian_laplace(input, sigma, output, mode, cval, axes=axes, **kwargs)``.
    """
    x = np.asarray(input)
    chosen = several_axes(axes, x.ndim)
    widths = spread(sigma, len(chosen))
    if len(chosen) < x.ndim:
        given = dict(zip(chosen, widths))
        widths = [given.get(axis, 0) for axis in range(x.ndim)]
    return _summed(x, _gaussian_derivative(widths, cval, 2, kwargs), output, mode, chosen)


def gaussian_gradient_magnitude(
    input: Any,  # noqa: A002 - the imitated signature
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    axes: Any = None,
    **kwargs: Any,
) -> Array:
    """The length of the smoothed image's gradient: first derivatives of a Gaussian, squared, summed, rooted.

    Parameters
    ----------
    input : array_like
        The image.
    sigma : float or sequence of float
        Standard deviations, one for all the image's axes or one for each: all are smoothed, ``axes`` or not.
    output, mode, cval, axes
        As in `laplace`.
    **kwargs
        Passed on to `gaussian_filter`.

    Returns
    -------
    ndarray
        As from `correlate1d`; squares and sums are formed in its type.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As in `gaussian_filter`.

    Examples
    --------
    >>> gaussian_gradient_magnitude([0.0, 0, 1, 1, 1], 1).round(4).tolist()
    [0.108, 0.3632, 0.3638, 0.1218, 0.0133]

    Equivalent to ``scipy.ndimage.gaussian_gradient_magnitude(input, sigma, output, mode, cval, axes=axes, **kwargs)``.
    """
    x = np.asarray(input)
    chosen = several_axes(axes, x.ndim)
    target = _summed(x, _gaussian_derivative(sigma, cval, 1, kwargs), output, mode, chosen, square=np.square)
    if chosen:
        np.sqrt(target, target, casting="unsafe")
    return target


def _crossed(source: Any, axis: int, output: Any, mode: Any, cval: Any, smoothing: list[int]) -> Array:
    """``[-1, 0, 1]`` along ``axis`` and ``smoothing`` along every other, the image kept in the output's type."""
    x = np.asarray(source)
    where = one_axis(axis, x.ndim)
    target = prepare(output, x)
    modes = spread(mode, x.ndim)
    stage = between_axes(target)
    correlate1d(x, [-1, 0, 1], where, stage, modes[where], cval)
    for other in range(x.ndim):
        if other != where:
            correlate1d(stage, smoothing, other, stage, modes[other], cval)
    return finished(target, stage)


def _gaussian_derivative(sigma: Any, cval: Any, order: int, options: dict[str, Any]) -> Derivative:
    """The ``order``-th derivative of the smoothed image along one axis."""

    def derivative(image: Array, axis: int, into: Any, extension: Any) -> Array:
        orders = [order if other == axis else 0 for other in range(image.ndim)]
        return gaussian_filter(image, sigma, orders, into, extension, cval, **options)

    return derivative


def _summed(
    x: Array,
    derivative: Derivative,
    output: Any,
    mode: Any,
    axes: tuple[int, ...],
    square: Callable[..., Array] | None = None,
) -> Array:
    """The sum over ``axes`` of a derivative along each, formed in the output's type."""
    target = prepare(output, x)
    if not axes:
        target[...] = x
        return target
    if np.may_share_memory(x, target):
        # The second derivative is taken of the image, not of the first derivative.
        x = x.copy()
    modes = spread(mode, len(axes))
    for index, (axis, extension) in enumerate(zip(axes, modes)):
        part = derivative(x, axis, target if index == 0 else target.dtype, extension)
        if square is not None:
            square(part, part)
        if index:
            target += part
    return target
