"""Layers under `torch.func`'s transforms and forward-mode differentiation: one function for the three bilinear maps.

``T(x, w, g) = sum g * F(x, w)`` is linear in each argument, so a map's derivative along a direction is the map itself,
once for each argument; a batch of maps is one map of as many more groups, or of so many more samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from convkit.arrays.layers import Direction, Options
from convkit.arrays.torch_operators import OPERATORS, Maps, Maybe, Tensor, activated, differentiated

_C: Any = torch._C


def transformed() -> bool:
    """Whether a transform, or forward-mode differentiation, is at work."""
    return _C._functorch.maybe_current_level() is not None or torch.autograd.forward_ad._current_level >= 0


class _Map(torch.autograd.Function):
    """One of the maps; ``more`` is what its operator is given between the tensors and the options."""

    @staticmethod
    def forward(
        role: str, direction: Direction, a: Tensor, b: Tensor, more: tuple[Any, ...], options: Options
    ) -> Tensor:  # fmt: skip
        return OPERATORS[direction, role](a, b, *more, *options)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.role, ctx.direction, a, b, ctx.more, ctx.options = inputs
        ctx.save_for_backward(a, b)
        ctx.save_for_forward(a, b)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        wanted = (*ctx.needs_input_grad[2:4], False)
        first, second, _ = differentiated(
            ctx.role, MAPS, ctx.direction, ctx.saved_tensors, upstream[0], wanted, None, ctx.options
        )
        return None, None, first, second, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        (a, b), (along_a, along_b) = ctx.saved_tensors, tangents[2:4]
        parts: list[Tensor] = []
        if along_a is not None:  # what a fill adds does not move with the samples
            linear = ctx.options if ctx.role == "weight_gradient" else ctx.options._replace(fill=0)
            parts.append(_Map.apply(ctx.role, ctx.direction, along_a, b, ctx.more, linear))  # type: ignore[arg-type]
        if along_b is not None:
            linear = ctx.options._replace(fill=0) if ctx.role == "weight_gradient" else ctx.options
            parts.append(_Map.apply(ctx.role, ctx.direction, a, along_b, ctx.more, linear))  # type: ignore[arg-type]
        return sum(parts[1:], parts[0])

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], role: str, direction: Direction, a: Tensor, b: Tensor,
        more: tuple[Any, ...], options: Options,
    ) -> tuple[Tensor, int]:  # fmt: skip
        count, (a_dim, b_dim) = info.batch_size, in_dims[2:4]
        if b_dim is None and role != "weight_gradient":  # so many more samples
            samples = a.movedim(a_dim, 0)
            more = tuple((count * one[0], *one[1:]) if isinstance(one, (tuple, list)) else one for one in more)
            done = _Map.apply(role, direction, samples.flatten(0, 1), b, more, options)
            return done.unflatten(0, (count, -1)), 0  # type: ignore[union-attr]
        a, b = (
            one.unsqueeze(0).expand(count, *one.shape) if dim is None else one.movedim(dim, 0)
            for one, dim in ((a, a_dim), (b, b_dim))
        )
        # So many more groups: of samples and upstream gradients along the channels, of weights along the first axis.
        a = a.movedim(0, 1).flatten(1, 2)
        b = b.movedim(0, 1).flatten(1, 2) if role == "weight_gradient" else b.flatten(0, 1)
        axis = 0 if role == "weight_gradient" else 1
        more = tuple(_times(one, axis, count) if isinstance(one, (tuple, list)) else one for one in more)
        done = _Map.apply(role, direction, a, b, more, options._replace(groups=options.groups * count))
        return done.unflatten(axis, (count, -1)), axis  # type: ignore[union-attr]


def _times(shape: Sequence[int], axis: int, count: int) -> tuple[int, ...]:
    return (*shape[:axis], shape[axis] * count, *shape[axis + 1 :])


class _Transformed(Maps):
    """The maps as transforms take them apart."""

    def forward(self, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, options: Options) -> Tensor:
        sums: Tensor = _Map.apply("forward", direction, x, w, (None,), options)  # type: ignore[assignment]
        return sums if bias is None else (sums + bias.reshape(1, -1, *[1] * (w.ndim - 2))).to(sums.dtype)

    def fused(
        self, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, options: Options
    ) -> Tensor:  # fmt: skip
        sums = self.forward(direction, x, w, bias, options)
        return activated(activation, sums if add is None else (sums + add).to(sums.dtype))

    def input_gradient(
        self, direction: Direction, g: Tensor, w: Tensor, shape: Sequence[int], options: Options
    ) -> Tensor:  # fmt: skip
        return _Map.apply("input_gradient", direction, g, w, (tuple(shape),), options)  # type: ignore[return-value]

    def weight_gradient(
        self, direction: Direction, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format,
        options: Options,
    ) -> Tensor:  # fmt: skip
        contiguous = torch.contiguous_format  # a batch of them has an axis more
        more = (tuple(shape), contiguous)
        return _Map.apply("weight_gradient", direction, g, x, more, options)  # type: ignore[return-value]


MAPS = _Transformed()
