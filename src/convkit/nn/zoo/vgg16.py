"""VGG-16: thirteen 3x3 convolutions and three dense layers (the paper's configuration D)."""

from __future__ import annotations

from torch import Tensor, nn

from convkit.nn.layers import Conv2d
from convkit.nn.zoo.registry import model

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions between one pooling and the next."""


@model(
    "vgg16",
    standard=(3, 1000, 224),
    parameters=138_357_544,
    source="K. Simonyan, A. Zisserman, ICLR 2015, arXiv:1409.1556",
    least=32,
)
class VGG16(nn.Module):
    """Five blocks of 3x3 convolutions, each halved by pooling; parameters are named as in torchvision.

    Larger pictures are averaged to the 7x7 grid that the dense layers expect, smaller ones give a smaller grid.
    """

    def __init__(self, channels: int, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        grid = [min(7, side // 32) for side in size]
        layers: list[nn.Module] = []
        for block in BLOCKS:
            for outside in block:
                layers += [Conv2d(channels, outside, 3, padding=1), nn.ReLU(inplace=True)]
                channels = outside
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((grid[0], grid[1]))
        self.classifier = nn.Sequential(
            nn.Linear(512 * grid[0] * grid[1], 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, classes),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (batch, classes) of pictures (batch, channels, rows, columns)."""
        return self.classifier(self.avgpool(self.features(pictures)).flatten(1))
