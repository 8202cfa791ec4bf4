"""Arrays in and out of the oracle: the one file of this room that knows NumPy.

Every function has the arguments of the verb it is the truth of, takes and returns arrays, and computes
without rounding: integers as Python integers, floats as fractions, rounded once at the end. Object arrays are
computed with their own elements (Fraction, Decimal, symbols). ``arithmetic="plain"`` keeps floats as they are
and rounds at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convkit.errors import IntegerOverflowError
from convkit.oracle.direct import array_operator, network_operator
from convkit.oracle.exact import Gaussian, exact
from convkit.oracle.gradients import adjoint, input_gradient, kernel_gradient
from convkit.oracle.grid import Grid, Index, Number
from convkit.oracle.missing import omit
from convkit.oracle.operator import Operator
from convkit.oracle.pooling import pool
from convkit.oracle.transposed import transposed_operator
from convkit.spec.conv import ConvSpec
from convkit.spec.options import Overflow, PoolKind

Array = NDArray[Any]
Arithmetic = Literal["exact", "plain"]


def to_grid(array: ArrayLike, arithmetic: Arithmetic = "exact") -> Grid:
    """The array's numbers as Python numbers: exact ones, or its floats as they are."""
    given = np.asarray(array)
    if given.dtype.kind == "b":
        given = given.astype(np.int64)
    elif given.dtype.kind not in "iufcO":
        given = given.astype(np.float64)
    values: list[Number] = given.ravel().tolist()
    if arithmetic == "exact" and given.dtype.kind in "fc":
        values = [exact(value) for value in values]
    return Grid(given.shape, values)


def result_dtype(*arrays: ArrayLike) -> np.dtype[Any]:
    """The dtype of a result: int64 for integers, uint64 if all are unsigned, else NumPy's promotion."""
    dtypes = [np.asarray(array).dtype for array in arrays]
    if all(dtype.kind == "u" for dtype in dtypes):
        return np.dtype(np.uint64)
    if all(dtype.kind in "biu" for dtype in dtypes):
        return np.dtype(np.int64)
    return np.result_type(*dtypes)


def from_grid(grid: Grid, dtype: np.dtype[Any], overflow: Overflow = "raise") -> Array:
    """The grid as an array, each number rounded once.

    Into integers, a fraction is rounded half to even and saturates; an integer that does not fit follows
    ``overflow``.

    Raises
    ------
    IntegerOverflowError
        ``integer.does-not-fit``.
    """
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = [_fitted(value, int(limits.min), int(limits.max), overflow, dtype) for value in grid.values]
    elif dtype.kind == "c":
        values = [complex(_float(value.real), _float(value.imag)) for value in grid.values]
    elif dtype.kind == "O":
        values = grid.values
    else:
        values = [_float(value) for value in grid.values]
    out = np.empty(len(values), dtype)
    with np.errstate(over="ignore"):
        out[:] = values if dtype.kind in "iuO" else np.array(values, np.result_type(dtype, np.float64))
    return out.reshape(grid.shape)


def _float(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _fitted(value: Number, low: int, high: int, overflow: Overflow, dtype: np.dtype[Any]) -> int:
    if not isinstance(value, int):
        return min(max(round(value), low), high)
    if low <= value <= high:
        return value
    if overflow == "raise":
        raise IntegerOverflowError("does-not-fit", dtype=dtype.name, count=1, least=low, largest=high, worst=value)
    return min(max(value, low), high) if overflow == "saturate" else (value - low) % (high - low + 1) + low


def operator_of(
    operation: str,
    x_shape: Index,
    k_shape: Index,
    mode: str = "full",
    *,
    axes: int | Sequence[int] | None = None,
    fill: Number = 0,
    arithmetic: Arithmetic = "exact",
    **options: Any,
) -> Operator:
    """The operator of ``ck.convolve`` or ``ck.correlate`` for these shapes."""
    chosen = tuple(range(len(x_shape))) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    chosen = tuple(axis % len(x_shape) for axis in chosen)
    number = exact(fill) if arithmetic == "exact" else fill
    spec = ConvSpec.of_arrays(len(chosen), operation, mode, fill=number, **options)
    return array_operator(spec, x_shape, k_shape, chosen)


def _arrays(
    operation: str,
    x: ArrayLike,
    k: ArrayLike,
    mode: str,
    dtype: Any,
    overflow: Overflow,
    nan: str,
    weights: ArrayLike | None,
    mask: ArrayLike | None,
    arithmetic: Arithmetic,
    options: dict[str, Any],
) -> Array:
    operator = operator_of(operation, np.shape(x), np.shape(k), mode, arithmetic=arithmetic, **options)
    samples, kernel = to_grid(x, arithmetic), to_grid(k, arithmetic)
    kind = result_dtype(x, k)
    if nan == "omit" or weights is not None or mask is not None:
        presence = Grid.full(samples.shape, 1)
        for given in (weights, mask):
            if given is not None:
                counted = to_grid(np.broadcast_to(np.asarray(given), samples.shape), arithmetic).values
                presence.values = [a * b for a, b in zip(presence.values, counted, strict=True)]
        if nan == "omit":
            presence.values = [w if _finite(s) else 0 for w, s in zip(presence.values, samples.values, strict=True)]
        if kind.kind in "iu":
            kind = np.dtype(np.float64)
        out = omit(operator, samples, kernel, presence)
    else:
        out = operator.apply(samples, kernel)
    return from_grid(out, kind if dtype is None else np.dtype(dtype), overflow)


def _finite(value: Number) -> bool:
    if isinstance(value, Gaussian | complex):
        return _finite(value.real) and _finite(value.imag)
    return not isinstance(value, float) or isfinite(value)


def oracle_convolve(
    x: ArrayLike,
    k: ArrayLike,
    mode: str = "full",
    *,
    dtype: Any = None,
    overflow: Overflow = "raise",
    nan: str = "propagate",
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    arithmetic: Arithmetic = "exact",
    **options: Any,
) -> Array:
    """``ck.convolve`` by its definition; ``options`` are boundary, fill, stride, dilation, axes and anchor.

    Examples
    --------
    >>> oracle_convolve([1, 2, 3], [1, 10], "same", boundary="wrap").tolist()
    [31, 12, 23]
    """
    return _arrays("convolution", x, k, mode, dtype, overflow, nan, weights, mask, arithmetic, options)


def oracle_correlate(
    x: ArrayLike,
    k: ArrayLike,
    mode: str = "full",
    *,
    dtype: Any = None,
    overflow: Overflow = "raise",
    nan: str = "propagate",
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    arithmetic: Arithmetic = "exact",
    **options: Any,
) -> Array:
    """``ck.correlate`` by its definition; ``options`` are boundary, fill, stride, dilation, axes and anchor.

    Examples
    --------
    >>> oracle_correlate([1, 2, 3], [1, 10], "valid").tolist()
    [21, 32]
    """
    return _arrays("correlation", x, k, mode, dtype, overflow, nan, weights, mask, arithmetic, options)


def oracle_adjoint(
    y: ArrayLike,
    k: ArrayLike,
    shape: Sequence[int],
    operation: str = "convolution",
    mode: str = "full",
    *,
    arithmetic: Arithmetic = "exact",
    **options: Any,
) -> Array:
    """``ck.Convolver(k, operation, mode, **options).adjoint(y, shape)`` by its definition."""
    operator = operator_of(operation, tuple(shape), np.shape(k), mode, arithmetic=arithmetic, **options)
    out = adjoint(operator, to_grid(y, arithmetic), to_grid(k, arithmetic))
    return from_grid(out, result_dtype(y, k))


def network_of(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    direction: Literal["forward", "transposed"] = "forward",
    fill: Number = 0,
    arithmetic: Arithmetic = "exact",
    **options: Any,
) -> Operator:
    """The operator of ``ck.conv``, or of ``ck.conv_transpose``, for these shapes."""
    number = exact(fill) if arithmetic == "exact" else fill
    spec = ConvSpec.of_network(len(x_shape) - 2, direction=direction, fill=number, **options)
    return (network_operator if direction == "forward" else transposed_operator)(spec, x_shape, w_shape)


def oracle_conv(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    dtype: Any = None,
    overflow: Overflow = "raise",
    arithmetic: Arithmetic = "exact",
    direction: Literal["forward", "transposed"] = "forward",
    **options: Any,
) -> Array:
    """``ck.conv`` by its definition.

    ``options`` are stride, padding, dilation, groups, boundary, fill and operation.
    """
    operator = network_of(np.shape(x), np.shape(w), direction=direction, arithmetic=arithmetic, **options)
    added = None if bias is None else to_grid(bias, arithmetic)
    out = operator.apply(to_grid(x, arithmetic), to_grid(w, arithmetic), added)
    return from_grid(out, result_dtype(x, w) if dtype is None else np.dtype(dtype), overflow)


def oracle_conv_transpose(x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None, **options: Any) -> Array:
    """``ck.conv_transpose`` by stamping; ``options`` as for `oracle_conv`, and output_padding."""
    return oracle_conv(x, w, bias, direction="transposed", **options)


def oracle_conv_input_gradient(
    g: ArrayLike,
    w: ArrayLike,
    input_shape: Sequence[int],
    *,
    arithmetic: Arithmetic = "exact",
    **options: Any,
) -> Array:
    """``ck.conv_input_gradient`` by the terms of the forward sum."""
    operator = network_of(input_shape, np.shape(w), arithmetic=arithmetic, **options)
    out = input_gradient(operator, to_grid(g, arithmetic), to_grid(w, arithmetic))
    return from_grid(out, result_dtype(g, w))


def oracle_conv_weight_gradient(
    g: ArrayLike,
    x: ArrayLike,
    weight_shape: Sequence[int],
    *,
    arithmetic: Arithmetic = "exact",
    **options: Any,
) -> Array:
    """``ck.conv_weight_gradient`` by the terms of the forward sum."""
    operator = network_of(np.shape(x), weight_shape, arithmetic=arithmetic, **options)
    out = kernel_gradient(operator, to_grid(g, arithmetic), to_grid(x, arithmetic))
    return from_grid(out, result_dtype(g, x))


def oracle_pool(
    x: ArrayLike,
    size: int | Sequence[int],
    *,
    kind: PoolKind = "max",
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
    arithmetic: Arithmetic = "exact",
) -> Array:
    """``ck.pool`` by its definition; a mean of integers is a float.

    Examples
    --------
    >>> oracle_pool([[1, 1, 2, 4], [5, 6, 7, 8]], 2, kind="mean").tolist()
    [[3.25, 5.25]]
    """
    given = np.asarray(x)
    rank = given.ndim if given.ndim <= 2 else given.ndim - 2
    window = (size,) * rank if isinstance(size, int) else tuple(size)
    grid = to_grid(given, arithmetic)
    out = pool(grid, window, kind=kind, stride=stride, padding=padding, dilation=dilation, ceil=ceil)
    if kind == "argmax":
        return from_grid(out, np.dtype(np.int64))
    dtype = np.dtype(np.float64) if kind == "mean" and given.dtype.kind in "biu" else given.dtype
    return from_grid(out, dtype)
