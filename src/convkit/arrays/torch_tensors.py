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
        first, second = a.detach().resolve_conj().numpy(), b.detach().resolve_conj().numpy()
        if role == "forward":
            result = operator.forward(first, second)
        else:
            result = getattr(operator, role)(first, second)
        return torch.from_numpy(np.ascontiguousarray(result))

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
            value = torch.as_tensor(super().array(value, role))
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
        return super().smallest(array.detach().numpy())

    def take_last(self, array: Any, indices: Any) -> Any:
        return torch.gather(array, -1, torch.from_numpy(indices))

    def apply(self, operator: Operator, role: str, a: Any, b: Any, out: Any = None) -> Any:
        return _BilinearMap.apply(operator, role, a, b)

    def finish(self, array: Any, result: str, finisher: Callable[[Any], Any]) -> Any:
        target = getattr(torch, result)
        if target.is_floating_point or target.is_complex:
            return array.to(target)
        return torch.from_numpy(finisher(array.detach().numpy()))


TORCH = TorchNamespace()
