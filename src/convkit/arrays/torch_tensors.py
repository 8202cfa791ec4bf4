"""torch tensors: the same operations, and an autograd function for the three bilinear maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from convkit.arrays import torch_layers, torch_pools
from convkit.arrays.layers import Direction, PoolOptions
from convkit.arrays.namespace import Namespace, Operator
from convkit.arrays.torch_memory import plain, tensor_of
from convkit.arrays.torch_operators import like
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
        return tensor_of(np.ascontiguousarray(result))

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
            like(_BilinearMap.apply(*one), of.dtype) if need else None
            for one, of, need in zip((first, second), (a, b), wanted, strict=True)
        ]
        return (None, None, *grads)


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
        if value.device.type not in ("cpu", "meta"):
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

    def apply(self, operator: Operator, role: str, a: Any, b: Any, out: Any = None) -> Any:
        return _BilinearMap.apply(operator, role, a, b)

    def network(
        self, direction: Direction, x: Any, w: Any, bias: Any, add: Any, activation: Any, method: str, out: Any,
        options: dict[str, Any],
    ) -> Any:  # fmt: skip
        """``ck.conv`` and ``ck.conv_transpose`` on tensors."""
        if out is not None:
            raise OptionError("out-with-tensors")
        lowers = torch.is_autocast_enabled("cpu")
        if lowers or not torch_layers.free(x, w, bias, add):
            x, w = self.array(x, "x"), self.array(w, "w")
            bias = None if bias is None else self.array(bias, "bias")
            add = None if add is None else self.array(add, "add")
            if lowers:
                x, w, bias, add = torch_layers.CAST.lowered(x, w, bias, add)
            if not torch_layers.free(x, w, bias, add):
                names, values = tuple(options), tuple(options.values())
                return torch_layers.watched(direction, x, w, bias, add, activation or "", method, names, values)
        return torch_layers.called(direction, x, w, bias, add, activation or "", method, options)

    def network_gradient(
        self, of: str, g: Any, other: Any, shape: tuple[int, ...], method: str, out: Any,
        options: dict[str, Any],
    ) -> Any:  # fmt: skip
        """``ck.conv_input_gradient`` and ``ck.conv_weight_gradient`` on tensors."""
        if out is not None:
            raise OptionError("out-with-tensors")
        if not torch_layers.free(g, other):
            g, other = self.array(g, "g"), self.array(other, "w" if of == "input" else "x")
            if not torch_layers.free(g, other):
                names, values = tuple(options), tuple(options.values())
                return torch_layers.watched_gradient(of, g, other, shape, method, names, values)
        return torch_layers.called_gradient(of, g, other, shape, method, options)

    def pool(self, kind: str, x: Any, options: PoolOptions) -> Any:
        """``ck.pool`` on tensors."""
        return torch_pools.called(kind, x, options)

    def finish(self, array: Any, result: str, finisher: Callable[[Any], Any]) -> Any:
        target = getattr(torch, result, None)
        if target is None:
            raise DTypeError("not-in-torch", dtype=result)
        if target.is_floating_point or target.is_complex:
            return array.to(target)
        return torch.from_numpy(finisher(plain(array)))


TORCH = TorchNamespace()
