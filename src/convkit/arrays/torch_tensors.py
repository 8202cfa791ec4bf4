"""torch tensors: the same operations, and an autograd function for the three bilinear maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from convkit.arrays.namespace import Namespace, Operator
from convkit.errors import DTypeError, OptionError


class _BilinearMap(torch.autograd.Function):
    """``F(x, k)``, ``X(g, k)`` or ``K(g, x)``; the derivative of each is made of the other two, to any order."""

    @staticmethod
    def forward(ctx: Any, operator: Operator, role: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        ctx.operator, ctx.role = operator, role
        ctx.save_for_backward(a, b)
        first, second = plain(a), plain(b)
        if role == "forward":
            result = operator.forward(first, second)
        else:
            result = getattr(operator, role)(first, second)
        return _tensor(result)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[Any, ...]:
        (gradient,) = upstream
        a, b = ctx.saved_tensors
        operator, role = ctx.operator, ctx.role
        first: tuple[Any, str, Any, Any]
        second: tuple[Any, str, Any, Any]
        linear = operator.linear
        # With T(x, k, g) the trilinear form: every map differentiated by one argument is the map of the other two.
        if role == "forward":
            first = (linear, "input_gradient", gradient, b.conj())
            second = (operator, "kernel_gradient", gradient, a.conj())
        elif role == "input_gradient":
            first = (linear, "forward", gradient, b.conj())
            second = (linear, "kernel_gradient", a.conj(), gradient)
        else:
            first = (operator, "forward", b.conj(), gradient)
            second = (linear, "input_gradient", a.conj(), gradient)
        wanted = ctx.needs_input_grad[2:]
        grads = [
            _like(_BilinearMap.apply(*one), of) if need else None
            for one, of, need in zip((first, second), (a, b), wanted, strict=True)
        ]
        return (None, None, *grads)


def plain(tensor: torch.Tensor) -> Any:
    """A NumPy view of a tensor; a pending conjugate or sign is carried out first."""
    return tensor.detach().resolve_conj().resolve_neg().numpy()


def _tensor(result: Any) -> torch.Tensor:
    """A result as a tensor on the same memory."""
    if not hasattr(torch, result.dtype.name):
        raise DTypeError("not-in-torch", dtype=result.dtype.name)
    result = np.ascontiguousarray(result)
    if result.dtype.name == "bfloat16":  # known to torch by its bits alone
        return torch.from_numpy(result.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(result)


def _like(gradient: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """The gradient in the type of what it belongs to: real where that is real."""
    if gradient.is_complex() and not of.is_complex():
        gradient = gradient.real
    return gradient.to(of.dtype)


class TorchNamespace(Namespace):
    """Tensors on the CPU; views share memory with NumPy, so nothing is copied on the way in."""

    name = "torch"

    def array(self, value: Any, role: str) -> Any:
        if not isinstance(value, torch.Tensor):
            array = super().array(value, role)
            if array.dtype.kind == "O" or array.dtype.itemsize > 8 * (1 + (array.dtype.kind == "c")):
                raise DTypeError("not-in-torch", dtype=array.dtype.name)
            if array.dtype.name == "bfloat16":
                return torch.from_numpy(array.astype(np.float32)).bfloat16()
            if min(array.strides, default=0) < 0 or not array.dtype.isnative or not array.flags.writeable:
                array = array.astype(array.dtype.newbyteorder("="), order="C")  # views that torch does not know
            value = torch.as_tensor(array)
        if value.device.type != "cpu":
            raise OptionError("device", role=role, device=value.device)
        if value.is_sparse or value.is_quantized:
            raise DTypeError("not-an-array", role=role, type="sparse or quantised tensor", cause="no strided memory")
        return value

    def dtype(self, array: Any) -> str:
        return str(array.dtype).removeprefix("torch.")

    def cast(self, array: Any, dtype: str) -> Any:
        return array.to(getattr(torch, dtype))

    def move(self, array: Any, source: Sequence[int], target: Sequence[int]) -> Any:
        return torch.movedim(array, tuple(source), tuple(target))

    def flip(self, array: Any, count: int) -> Any:
        if array.dtype in (torch.uint16, torch.uint32):  # torch stores these types, but flips none of them
            return torch.from_numpy(np.ascontiguousarray(super().flip(array.numpy(), count)))
        return torch.flip(array, tuple(range(-count, 0))) if count else array

    def conj(self, array: Any) -> Any:
        return array.conj()

    def expand(self, array: Any, shape: Sequence[int]) -> Any:
        return array.expand(tuple(shape))

    def where(self, condition: Any, one: Any, other: Any) -> Any:
        return torch.where(condition, one, other)

    def finite(self, array: Any) -> Any:
        return torch.isfinite(array)

    def absolute(self, array: Any) -> Any:
        return torch.abs(array)

    def zeros_like(self, array: Any) -> Any:
        return torch.zeros_like(array)

    def smallest(self, array: Any) -> float:
        return super().smallest(plain(array))

    def take_last(self, array: Any, indices: Any) -> Any:
        return torch.gather(array, -1, torch.from_numpy(indices))

    def apply(self, operator: Operator, role: str, a: Any, b: Any, out: Any = None) -> Any:
        return _BilinearMap.apply(operator, role, a, b)

    def layer(self, operator: Operator, x: Any, k: Any, bias: Any, add: Any, activation: Any, out: Any = None) -> Any:
        addends = [tensor for tensor in (bias, add) if tensor is not None]
        if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in (x, k, *addends)):
            first, second = (None if tensor is None else plain(tensor) for tensor in (bias, add))
            return _tensor(operator.forward(plain(x), plain(k), None, first, second))
        # Step by step, each of which has its gradient; the sums are new, so that addends may be added where they stand.
        sums = _BilinearMap.apply(operator.plain, "forward", x, k)
        if bias is not None:
            sums = sums.add_(bias[(..., *((None,) * (sums.ndim - 3)))])
        if add is not None:
            sums = sums.add_(add)
        return sums if activation is None else getattr(torch.nn.functional, activation)(sums)

    def finish(self, array: Any, result: str, finisher: Callable[[Any], Any]) -> Any:
        target = getattr(torch, result, None)
        if target is None:
            raise DTypeError("not-in-torch", dtype=result)
        if target.is_floating_point or target.is_complex:
            return array.to(target)
        return torch.from_numpy(finisher(plain(array)))


TORCH = TorchNamespace()
