"""An autograd function for maps that are linear in one of their arguments and have an adjoint: pooling."""

from __future__ import annotations

from typing import Any

import torch

from convkit.arrays.namespace import Linear


class _LinearMap(torch.autograd.Function):
    """``down(x, v)`` or ``up(x, g)``; the derivative of each by its second argument is the other."""

    @staticmethod
    def forward(ctx: Any, maps: Linear, way: str, x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        ctx.maps, ctx.way = maps, way
        ctx.save_for_backward(x)
        samples = x.resolve_neg().numpy()
        given = (
            samples if values.data_ptr() == x.data_ptr() and way == "down" else values.detach().resolve_neg().numpy()
        )
        return torch.from_numpy(getattr(maps, way)(samples, given))

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[Any, ...]:
        (x,), (gradient,) = ctx.saved_tensors, upstream
        other = "up" if ctx.way == "down" else "down"
        return None, None, None, _LinearMap.apply(ctx.maps, other, x, gradient)


def apply(maps: Linear, x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``maps.down(x, values)``, differentiable by ``values`` to any order."""
    return _LinearMap.apply(maps, "down", x.detach(), values)  # type: ignore[no-any-return]
