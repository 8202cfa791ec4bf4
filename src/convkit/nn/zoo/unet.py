"""U-Net: down to see what there is, up again to say where, with a bridge at every scale."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from convkit.nn.layers import Conv2d, ConvTranspose2d
from convkit.nn.zoo.registry import model

WIDTHS = (64, 128, 256, 512, 1024)
"""Channels at each scale, from the finest."""


@model(
    "unet",
    task="segmentation",
    standard=(1, 2, 572),
    parameters=31_036_546,
    source="O. Ronneberger, P. Fischer, T. Brox, MICCAI 2015, arXiv:1505.04597",
)
class UNet(nn.Module):
    """Five scales, two 3x3 convolutions at each, 2x2 transposed convolutions on the way up.

    The paper's convolutions lose a border of one pixel each and have no batch norm; these keep the size, so that every
    pixel is labelled, and are normalised, so that they train from scratch. Poolings round up and what hangs over is
    cut: any size goes through.
    """

    def __init__(self, channels: int, classes: int, size: tuple[int, int], widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.down = nn.ModuleList(
            _pair(inside, outside) for inside, outside in zip((channels, *widths), widths, strict=False)
        )
        upwards = widths[::-1]
        self.up = nn.ModuleList(ConvTranspose2d(low, high, 2, stride=2) for low, high in pairwise(upwards))
        self.joined = nn.ModuleList(_pair(2 * width, width) for width in upwards[1:])
        self.output = Conv2d(widths[0], classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (batch, classes, rows, columns) of pictures (batch, channels, rows, columns)."""
        x = self.down[0](pictures)
        bridges = [x]
        for down in self.down[1:]:
            x = down(self.pool(x))
            bridges.append(x)
        bridges.pop()
        for up, joined in zip(self.up, self.joined, strict=True):
            bridge = bridges.pop()
            x = up(x)[..., : bridge.shape[-2], : bridge.shape[-1]]
            x = joined(torch.cat([bridge, x], dim=1))
        return self.output(x)


def _pair(inside: int, outside: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inside, outside):
        layers += [
            Conv2d(channels, outside, 3, padding=1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
