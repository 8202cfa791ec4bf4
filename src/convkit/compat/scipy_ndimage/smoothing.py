"""``scipy.ndimage``'s Gaussian and uniform filters: one axis after another."""

from __future__ import annotations

import numbers
import operator
from typing import Any

import numpy as np

from convkit import verbs
from convkit.compat.numpy import Array
from convkit.compat.refusal import refusal
from convkit.compat.scipy_ndimage.arguments import boundary, fill_value, one_axis, several_axes, spread
from convkit.compat.scipy_ndimage.correlation import correlate1d
from convkit.compat.scipy_ndimage.output import between_axes, check_types, finished, prepare, store
from convkit.compat.scipy_ndimage.truncation import on_the_grid
from convkit.compat.ways import LARGE, sums_as_defined


def gaussian_kernel(sigma: float, order: int, radius: int) -> Array:
    """The ``order``-th derivative of a Gaussian, sampled at ``-radius .. radius``; order 0 sums to one.

    ``g(x) = q(x) exp(-x^2 / (2 sigma^2)) / Z`` with ``q = 1`` for order 0, and each derivative turns ``q`` into
    ``q' - q x / sigma^2``.

    Parameters
    ----------
    sigma : float
        Standard deviation in samples.
    order : int
        Which derivative.
    radius : int
        Distance to the last sample.

    Examples
    --------
    >>> gaussian_kernel(1.0, 0, 1).round(4).tolist()
    [0.2741, 0.4519, 0.2741]
    """
    if order < 0:
        raise refusal(ValueError, "scipy_ndimage.order")
    times = operator.index(order)
    variance = sigma * sigma
    x = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 / variance * x**2)
    bell /= bell.sum()
    polynomial = np.polynomial.Polynomial([1.0])
    slope = np.polynomial.Polynomial([0.0, -1.0 / variance])
    for _ in range(times):
        polynomial = polynomial.deriv() + polynomial * slope
    return polynomial(x) * bell if times else bell


def gaussian_filter1d(
    input: Any,  # noqa: A002 - the imitated signature
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
) -> Array:
    """Filter with a Gaussian, or one of its derivatives, along one axis.

    ``out[i] = sum_j input[i - j] g(j)``, j = -radius..radius

    Parameters
    ----------
    input : array_like
        The image.
    sigma : float
        Standard deviation in samples.
    axis : int
        The axis to filter.
    order : int
        0 smooths; 1, 2, ... differentiate the smoothed image that many times.
    output, mode, cval
        As in `correlate1d`.
    truncate : float
        The kernel ends ``truncate`` standard deviations from its middle.
    radius : int, optional
        The kernel ends this many samples from its middle; goes before ``truncate``.

    Returns
    -------
    ndarray
        As from `correlate1d`.

    Raises
    ------
    ValueError
        A negative order, or a radius that is negative or not a whole number.
    RuntimeError, TypeError
        As in `correlate1d`.

    Examples
    --------
    >>> gaussian_filter1d([1.0, 2, 3, 4, 5], 1).round(6).tolist()
    [1.427041, 2.067822, 3.0, 3.932178, 4.572959]

    Equivalent to ``scipy.ndimage.gaussian_filter1d(input, sigma, axis, order, output, mode, cval, truncate,
    radius=radius)``.
    """
    reach = int(truncate * float(sigma) + 0.5) if radius is None else radius
    if not isinstance(reach, numbers.Integral) or reach < 0:
        raise refusal(ValueError, "scipy_ndimage.radius")
    # A convolution with the kernel is a correlation with the reversed one.
    weights = gaussian_kernel(sigma, order, int(reach))[::-1]
    return correlate1d(input, weights, axis, output, mode, cval, 0)


def gaussian_filter(
    input: Any,  # noqa: A002 - the imitated signature
    sigma: Any,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: Any = None,
    axes: Any = None,
) -> Array:
    """Filter with a Gaussian, or its derivatives, one axis after another.

    Between the axes the image is kept in the output's type, as ndimage does: an integer image is truncated after each.

    Parameters
    ----------
    input : array_like
        The image.
    sigma, order, mode, radius
        As in `gaussian_filter1d`, one value for all of ``axes`` or one for each; an axis whose ``sigma`` is 0 is left.
    output, cval, truncate
        As in `gaussian_filter1d`.
    axes : int, sequence of int or None
        The axes to filter; all by default.

    Returns
    -------
    ndarray
        As from `correlate1d`.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As in `gaussian_filter1d`; a sequence of the wrong length, axes that do not exist or are repeated.

    Examples
    --------
    >>> gaussian_filter([[0, 0, 0], [0, 90, 0], [0, 0, 0]], 0.5).tolist()
    [[0, 7, 0], [7, 55, 7], [0, 7, 0]]

    Equivalent to ``scipy.ndimage.gaussian_filter(input, sigma, order, output, mode, cval, truncate, radius=radius,
    axes=axes)``.
    """
    x = np.asarray(input)
    target = prepare(output, x)
    chosen = several_axes(axes, x.ndim)
    settings = zip(chosen, *(spread(value, len(chosen)) for value in (sigma, order, mode, radius)))
    source, stage = x, between_axes(target)
    for axis, width, derivative, extension, reach in settings:
        if width > 1e-15:
            gaussian_filter1d(source, width, axis, derivative, stage, extension, cval, truncate, radius=reach)
            source = stage
    if source is x:
        target[...] = x
    return finished(target, stage)


def uniform_filter1d(
    input: Any,  # noqa: A002 - the imitated signature
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> Array:
    """Replace each sample by the mean of ``size`` samples along one axis.

    ``out[i] = (1/size) sum_j input[i + j - size//2 - origin]``, j = 0..size-1

    Parameters
    ----------
    input : array_like
        The image.
    size : int
        Samples in a window.
    axis : int
        The axis to filter.
    output, mode, cval, origin
        As in `correlate1d`.

    Returns
    -------
    ndarray
        As from `correlate1d`. A NaN reaches the windows that hold it and no other.

    Raises
    ------
    RuntimeError
        A size below 1, an unknown mode, an unusable output, a type that ndimage does not take.
    ValueError
        An origin outside the window; an axis that does not exist.
    TypeError
        A size or a ``cval`` that is not a number.

    Examples
    --------
    >>> uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3).tolist()
    [4, 3, 4, 1, 4, 6, 6, 3]

    Equivalent to ``scipy.ndimage.uniform_filter1d(input, size, axis, output, mode, cval, origin)``.
    """
    x = np.asarray(input)
    where = one_axis(axis, x.ndim)
    if size < 1:
        raise refusal(RuntimeError, "scipy_ndimage.size")
    length = operator.index(size)
    complex_result = x.dtype.kind == "c"
    target = prepare(output, x, complex_result)
    anchor = length // 2 + operator.index(origin)
    if not 0 <= anchor < length:
        raise refusal(ValueError, "scipy_ndimage.origin-of-window")
    extension = boundary(mode)
    check_types(x, target, complex_result)
    # The sum first and one division: the mean of whole numbers is then correctly rounded before it is truncated.
    ones = np.ones(length)
    fill = fill_value(cval, x)
    if x.size == 0:
        return target
    options: dict[str, Any] = {"boundary": extension, "axes": (where,), "anchor": (anchor,)}
    if extension == "constant":
        options["fill"] = fill
    options |= sums_as_defined(x.shape, ones.shape, LARGE) or {"accuracy": "elementwise"}
    total = verbs.correlate(x, ones, "same", **options)
    if target.dtype.kind in "iub":
        total = on_the_grid(total, x, ones, float(fill.real))
    return store(total / length, target)


def uniform_filter(
    input: Any,  # noqa: A002 - the imitated signature
    size: Any = 3,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Replace each sample by the mean of the box around it, one axis after another.

    Between the axes the image is kept in the output's type, as ndimage does: an integer image is truncated after each.

    Parameters
    ----------
    input : array_like
        The image.
    size, mode, origin
        As in `uniform_filter1d`, one value for all of ``axes`` or one for each; an axis whose size is 1 is left.
    output, cval
        As in `uniform_filter1d`.
    axes : int, sequence of int or None
        The axes to filter; all by default.

    Returns
    -------
    ndarray
        As from `uniform_filter1d`.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As in `uniform_filter1d`; a sequence of the wrong length, axes that do not exist or are repeated.

    Examples
    --------
    >>> uniform_filter([[0, 0, 0], [0, 90, 0], [0, 0, 0]], (3, 1)).tolist()
    [[0, 30, 0], [0, 30, 0], [0, 30, 0]]

    Equivalent to ``scipy.ndimage.uniform_filter(input, size, output, mode, cval, origin, axes=axes)``.
    """
    x = np.asarray(input)
    target = prepare(output, x, x.dtype.kind == "c")
    chosen = several_axes(axes, x.ndim)
    settings = zip(chosen, *(spread(value, len(chosen)) for value in (size, origin, mode)))
    source, stage = x, between_axes(target)
    for axis, length, shift, extension in settings:
        if length > 1:
            uniform_filter1d(source, int(length), axis, stage, extension, cval, shift)
            source = stage
    if source is x:
        target[...] = x
    return finished(target, stage)
