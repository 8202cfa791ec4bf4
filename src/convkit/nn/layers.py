"""Torch's convolution layers, computed by `ck.conv`."""

from __future__ import annotations

from torch import Tensor, nn

import convkit as ck

_BOUNDARIES = {"zeros": "zero", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class _Conv:
    """The forward pass that the three layers share: torch's module keeps the weights, the verb computes."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch names its argument so)
        """``out[b, o] = sum_i correlate(input[b, i], weight[o, i]) + bias[o]``; without a batch axis as well."""
        alone = input.ndim == self.weight.ndim - 1
        padding = self.padding
        out = ck.conv(
            input.unsqueeze(0) if alone else input,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=padding if isinstance(padding, str) else tuple((pad, pad) for pad in padding),
            dilation=self.dilation,
            groups=self.groups,
            boundary=_BOUNDARIES[self.padding_mode],
        )
        return out.squeeze(0) if alone else out


class Conv1d(_Conv, nn.Conv1d):
    """`torch.nn.Conv1d` on `ck.conv`: the same arguments, the same ``state_dict``.

    Shapes: (batch, in_channels, samples) to (batch, out_channels, samples), the batch axis optional.

    Examples
    --------
    >>> import torch
    >>> Conv1d(3, 4, 5, stride=2)(torch.zeros(2, 3, 11)).shape
    torch.Size([2, 4, 4])
    """


class Conv2d(_Conv, nn.Conv2d):
    """`torch.nn.Conv2d` on `ck.conv`: the same arguments, the same ``state_dict``.

    Shapes: (batch, in_channels, rows, columns) to (batch, out_channels, rows, columns), the batch axis optional.

    Examples
    --------
    >>> import torch
    >>> Conv2d(1, 2, (3, 2), padding="same")(torch.zeros(1, 1, 5, 7)).shape
    torch.Size([1, 2, 5, 7])
    """


class Conv3d(_Conv, nn.Conv3d):
    """`torch.nn.Conv3d` on `ck.conv`: the same arguments, the same ``state_dict``.

    Shapes: (batch, in_channels, planes, rows, columns) to (batch, out_channels, ...), the batch axis optional.

    Examples
    --------
    >>> import torch
    >>> Conv3d(1, 2, 2)(torch.zeros(1, 1, 3, 4, 5)).shape
    torch.Size([1, 2, 2, 3, 4])
    """
