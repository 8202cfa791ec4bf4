"""A layer with an addition that follows it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convkit.arrays.torch_operators import activated
from convkit.nn.layers import Layer


class Joined(nn.Module):
    """``activation(layer(x) + other)``: in one step where both have the same shape, as torch adds them elsewhere.

    Parameters
    ----------
    layer : Layer
        The layer, without its activation.
    activation : str, optional
        What is taken of the sum.
    """

    def __init__(self, layer: Layer, activation: str | None) -> None:
        super().__init__()
        self.layer, self.activation = layer, activation
        self._alike: dict[tuple[torch.Size, torch.Size], bool] = {}

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """The sum with the activation taken."""
        compiling = torch.compiler.is_compiling()
        if not compiling and other.dtype is x.dtype and self._alike.get((x.shape, other.shape)):
            return self.layer.ended(x, other, self.activation)
        sums = self.layer(x)
        if not compiling:
            self._alike[x.shape, other.shape] = sums.shape == other.shape
        sums = sums + other
        return activated(self.activation or "", sums)
