"""The dozen array operations that verbs need, for NumPy arrays and for torch tensors, under one set of names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from importlib import import_module
from numbers import Number
from typing import Any, Protocol

import numpy as np

from convkit.errors import DTypeError, OptionError


class Operator(Protocol):
    """Something bilinear with adjoints, as `convkit.verbs.bilinear.Bilinear`."""

    @property
    def linear(self) -> Any: ...
    def forward(self, x: Any, k: Any, out: Any = None) -> Any: ...
    def input_gradient(self, g: Any, k: Any, out: Any = None) -> Any: ...
    def kernel_gradient(self, g: Any, x: Any, out: Any = None) -> Any: ...


class Namespace:
    """NumPy's operations; `convkit.arrays.torch_tensors` overrides what differs."""

    name = "numpy"

    def array(self, value: Any, role: str) -> Any:
        """``value`` as an array, without a copy where the protocol allows it.

        Raises
        ------
        OptionError
            ``option.masked-array``: a mask would be lost silently.
        DTypeError
            ``dtype.not-an-array``.
        """
        if isinstance(value, np.ma.MaskedArray):
            raise OptionError("masked-array", role=role)
        if isinstance(value, np.ndarray):
            array: Any = np.asarray(value)
        elif hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            array = np.from_dlpack(value)
        else:
            try:
                array = np.asarray(value)
            except (TypeError, ValueError, RuntimeError) as cause:
                raise DTypeError("not-an-array", role=role, type=type(value).__name__, cause=cause) from None
        if array.dtype.name == "bfloat16":
            return array
        if array.dtype.kind not in "biufcO":
            raise DTypeError("not-a-number", dtype=array.dtype.name)
        if array.dtype.kind == "O" and array.ndim == 0 and not isinstance(array.item(), Number | Decimal):
            raise DTypeError("not-an-array", role=role, type=type(value).__name__, cause="shape ()")
        if array.dtype.kind == "f" and isinstance(value, list | tuple):
            return _whole(value, array)
        # Compiled kernels read memory as it is.
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def dtype(self, array: Any) -> str:
        """Name of the element type."""
        return array.dtype.name

    def cast(self, array: Any, dtype: str) -> Any:
        """``array`` in another element type."""
        return array.astype(dtype)

    def move(self, array: Any, source: Sequence[int], target: Sequence[int]) -> Any:
        """Move axes, as a view."""
        return np.moveaxis(array, source, target)

    def flip(self, array: Any, count: int) -> Any:
        """Reverse the last ``count`` axes, as a view where the library has such views."""
        return array[(..., *((slice(None, None, -1),) * count))]

    def conj(self, array: Any) -> Any:
        """The complex conjugate; real arrays as they are."""
        return np.conj(array) if array.dtype.kind == "c" else array

    def expand(self, array: Any, shape: Sequence[int]) -> Any:
        """Broadcast to ``shape`` without copying."""
        return np.broadcast_to(array, tuple(shape))

    def where(self, condition: Any, one: Any, other: Any) -> Any:
        """Elements of ``one`` where the condition holds, of ``other`` elsewhere."""
        return np.where(condition, one, other)

    def finite(self, array: Any) -> Any:
        """Where elements are neither NaN nor infinite."""
        return np.isfinite(array)

    def absolute(self, array: Any) -> Any:
        """Magnitudes."""
        return np.abs(array)

    def zeros_like(self, array: Any) -> Any:
        """Zeros of the same shape and type."""
        return np.zeros_like(array)

    def real_name(self, dtype: str) -> str:
        """The real type of a complex type's parts; a real type as it is."""
        return {"complex64": "float32", "complex128": "float64", "clongdouble": "longdouble"}.get(dtype, dtype)

    def smallest(self, array: Any) -> float:
        """The smallest element, or 0 if that is less; NaN if there is one."""
        return float(array.min(initial=0))

    def apply(self, operator: Operator, role: str, a: Any, b: Any, out: Any = None) -> Any:
        """One of the operator's three bilinear maps."""
        return getattr(operator, role)(a, b, out)

    def finish(self, array: Any, result: str, finisher: Callable[[Any], Any]) -> Any:
        """Bring sums into the result type."""
        if result == "bfloat16":
            return array.astype(_bfloat16(), copy=False)
        return finisher(array)


def _whole(value: Any, array: Any) -> Any:
    """Lists of integers too large for NumPy's become floats there; here they stay what they are."""
    with np.errstate(invalid="ignore"):
        if not (np.abs(array) >= 2.0**63).any():
            return array
    objects = np.asarray(value, object)
    return objects if all(isinstance(item, int) for item in objects.flat) else array


def _bfloat16() -> Any:
    try:
        return import_module("ml_dtypes").bfloat16
    except ImportError:
        raise DTypeError("no-bfloat16") from None


def stored_name(dtype: str) -> str:
    """The type in which the memory of arrays is read: bfloat16 as float32 where NumPy has no name for it."""
    if dtype == "bfloat16":
        try:
            _bfloat16()
        except DTypeError:
            return "float32"
    return dtype


NUMPY = Namespace()
