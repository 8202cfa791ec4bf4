"""Torch's max poolings on `ck.pool`, which keeps a byte for each output on the way to its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy

import convkit as ck
from convkit.nn.layers import same_module
from convkit.spec.options import per_axis


class _Pool(nn.Module):
    """What the poolings of all ranks share."""

    rank: int
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    ceil_mode: bool
    return_indices: bool

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch names it so)
        """The largest number of each window; by torch where no gradient is wanted or windows are spread."""
        if isinstance(input, Proxy):
            return input.tracer.create_proxy("call_module", input.tracer.path_of_module(self), (input,), {})  # type: ignore[return-value]
        learns = torch.is_grad_enabled() and input.requires_grad and not torch.compiler.is_compiling()
        sizes, pads, spread = (
            per_axis(name, getattr(self, name), self.rank, least)
            for name, least in (("kernel_size", 1), ("padding", 0), ("dilation", 1))
        )
        known = set(spread) == {1} and not self.return_indices and input.ndim == self.rank + 2
        if not learns or not known or any(2 * pad > size for pad, size in zip(pads, sizes, strict=True)):
            return super().forward(input)
        stride = per_axis("stride", self.stride, self.rank, 1)
        return ck.pool(input, sizes, stride=stride, padding=tuple((pad, pad) for pad in pads), ceil=self.ceil_mode)


class MaxPool1d(_Pool, nn.MaxPool1d):
    """`torch.nn.MaxPool1d`: the same arguments.

    Examples
    --------
    >>> import torch
    >>> MaxPool1d(2)(torch.zeros(3, 4, 9, requires_grad=True)).shape
    torch.Size([3, 4, 4])
    """

    rank = 1


class MaxPool2d(_Pool, nn.MaxPool2d):
    """`torch.nn.MaxPool2d`: the same arguments.

    Where a gradient is wanted, one byte for each output keeps which of its window was the largest; torch keeps eight.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[[[1.0, 5.0, 2.0], [3.0, 4.0, 0.0]]]], requires_grad=True)
    >>> MaxPool2d(2, stride=1)(x).sum().backward()
    >>> x.grad
    tensor([[[[0., 2., 0.],
              [0., 0., 0.]]]])
    """

    rank = 2


class MaxPool3d(_Pool, nn.MaxPool3d):
    """`torch.nn.MaxPool3d`: the same arguments.

    Examples
    --------
    >>> import torch
    >>> MaxPool3d(2)(torch.zeros(1, 2, 4, 5, 6, requires_grad=True)).shape
    torch.Size([1, 2, 2, 2, 3])
    """

    rank = 3


TORCH_POOLS: dict[type, type[_Pool]] = {
    nn.MaxPool1d: MaxPool1d, nn.MaxPool2d: MaxPool2d, nn.MaxPool3d: MaxPool3d,
}  # fmt: skip
POOLS = frozenset(TORCH_POOLS.values())


def same_pool(pool: nn.Module) -> nn.Module | None:
    """Torch's max pooling as this room's; None for any other module."""
    kind = TORCH_POOLS.get(type(pool))
    return None if kind is None else same_module(pool, kind, {})
