"""Checks that what is added to a layer's sums, and gradients of its output, go together with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convkit.arrays import Namespace
from convkit.errors import DTypeError, ShapeError, by
from convkit.spec.epilogue import WHOLE
from convkit.verbs.dtypes import element_types


def check_addends(bias: Any, add: Any, shape: Sequence[Any]) -> None:
    """Raise unless what is added to the sums has their shape; sizes may be symbols.

    Raises
    ------
    ShapeError
        ``shape.bias``, ``shape.add``.
    """
    if bias is not None and tuple(bias.shape) != (shape[1],):
        raise ShapeError("bias", bias=by(bias.shape), channels=shape[1])
    if add is not None and tuple(add.shape) != tuple(shape):
        raise ShapeError("add", add=by(add.shape), result=by(shape))


def check_types(xp: Namespace, bias: Any, add: Any, activation: str | None, compute: str) -> None:
    """Raise unless sums can take addends and activation: no fractions among integers, no complex among real numbers.

    Raises
    ------
    DTypeError
        ``dtype.complex-to-real``, ``dtype.bias``, ``dtype.activation``.
    """
    whole = compute in ("int64", "uint64")
    for name, addend in (("bias", bias), ("add", add)):
        if addend is None or xp.dtype(addend) == compute:
            continue
        dtype = xp.dtype(addend)
        kind = element_types(dtype, dtype, None).compute
        if kind.startswith("complex") and not compute.startswith("complex"):
            raise DTypeError("complex-to-real", natural=dtype, dtype=compute)
        if whole and kind not in ("int64", "uint64"):
            raise DTypeError("bias", name=name, bias=dtype, compute=compute)
    if activation is not None and (compute.startswith(("complex", "clong")) or (whole and activation not in WHOLE)):
        raise DTypeError("activation", activation=activation, compute=compute, whole=" | ".join(WHOLE))


def check_gradient(shape: Sequence[Any], expected: Sequence[Any], x: Sequence[Any], w: Sequence[Any]) -> None:
    """Raise unless a gradient has the shape of the layer's output.

    Raises
    ------
    ShapeError
        ``shape.gradient``.
    """
    if tuple(shape) != tuple(expected):
        raise ShapeError("gradient", gradient=by(shape), expected=by(expected), input=by(x), weights=by(w))
