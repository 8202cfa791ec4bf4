"""The arguments that ndimage's filters share, checked and spread over the axes."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from convkit.compat.numpy import Array
from convkit.compat.refusal import refusal

# ndimage's "reflect" repeats the edge sample and its "mirror" does not; numpy.pad's names are the other way round.
_BOUNDARIES = {
    "reflect": "symmetric",
    "grid-mirror": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "wrap": "wrap",
    "grid-wrap": "wrap",
    "constant": "constant",
    "grid-constant": "constant",
}


def boundary(mode: object) -> str:
    """The verbs' name for ndimage's ``mode``.

    Raises
    ------
    RuntimeError
        A mode that ndimage does not have.

    Examples
    --------
    >>> boundary("mirror"), boundary("reflect")
    ('reflect', 'symmetric')
    """
    if isinstance(mode, str) and mode in _BOUNDARIES:
        return _BOUNDARIES[mode]
    raise refusal(RuntimeError, "scipy_ndimage.mode")


def one_axis(axis: Any, rank: int) -> int:
    """``axis`` counted from the front.

    Raises
    ------
    numpy.exceptions.AxisError
        An axis that the array does not have.
    TypeError
        Something that is not a whole number.
    """
    number = operator.index(axis)
    if not -rank <= number < rank:
        raise np.exceptions.AxisError(number, rank)
    return number % rank


def several_axes(axes: Any, rank: int) -> tuple[int, ...]:
    """``axes`` counted from the front, in the order given; all of them for None.

    Raises
    ------
    ValueError
        Axes that are out of range or repeated.
    TypeError
        Something that is not a whole number.
    """
    if axes is None:
        return tuple(range(rank))
    numbers = [operator.index(entry) for entry in (axes if isinstance(axes, Iterable) else (axes,))]
    for number in numbers:
        if not -rank <= number < rank:
            raise refusal(ValueError, "scipy_ndimage.axis-out-of-range", axis=number)
    counted = tuple(number % rank for number in numbers)
    if len(set(counted)) != len(counted):
        raise refusal(ValueError, "scipy_ndimage.axes-repeated")
    return counted


def spread(value: Any, count: int) -> list[Any]:
    """One value for each of ``count`` axes: a single one is repeated, a sequence must have that many.

    Raises
    ------
    RuntimeError
        A sequence of another length.
    """
    if isinstance(value, str) or not np.iterable(value):
        return [value] * count
    entries = list(value)
    if len(entries) != count:
        raise refusal(RuntimeError, "scipy_ndimage.sequence-length")
    return entries


def check_fill(cval: Any, x: Array, k: Array) -> None:
    """Raise for a complex ``cval`` where the input is real and the weights are complex.

    Raises
    ------
    ValueError
        Such a value.
    """
    if np.iscomplexobj(cval) and x.dtype.kind != "c" and k.dtype.kind == "c":
        raise refusal(ValueError, "scipy_ndimage.complex-cval")


def fill_value(cval: Any, x: Array) -> complex:
    """``cval`` as a number: complex only where the input is.

    Raises
    ------
    TypeError
        Something that is not a number, or a complex one for real input.
    """
    if x.dtype.kind == "c":
        return complex(float(np.real(cval)), float(np.imag(cval)))
    if np.iscomplexobj(cval) or not (hasattr(cval, "__float__") or hasattr(cval, "__index__")):
        raise refusal(TypeError, "scipy_ndimage.not-real", type=type(cval).__name__)
    return float(cval)
