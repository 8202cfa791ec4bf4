"""MobileNetV2: depthwise convolutions between a widening and a narrowing 1x1 convolution."""

from __future__ import annotations

from torch import Tensor, nn

from convkit.nn.layers import Conv2d
from convkit.nn.zoo.registry import model

STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Widening, channels, blocks and stride of each stage (the paper's table 2)."""


@model(
    "mobilenet_v2",
    standard=(3, 1000, 224),
    parameters=3_504_872,
    source="M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, CVPR 2018, arXiv:1801.04381",
)
class MobileNetV2(nn.Module):
    """A strided convolution, 17 inverted residual blocks, a 1x1 convolution; parameters are named as in torchvision.

    The mean over all places takes any picture size.
    """

    def __init__(self, channels: int, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [_block(channels, 32, 3, stride=2)]
        inside = 32
        for widening, outside, count, stride in STAGES:
            for i in range(count):
                layers.append(InvertedResidual(inside, outside, stride if i == 0 else 1, widening))
                inside = outside
        layers.append(_block(inside, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (batch, classes) of pictures (batch, channels, rows, columns)."""
        return self.classifier(self.avgpool(self.features(pictures)).flatten(1))


class InvertedResidual(nn.Module):
    """Widen by a 1x1, filter each channel by a 3x3, narrow by a 1x1 without activation; add the input where it fits."""

    def __init__(self, inside: int, outside: int, stride: int, widening: int) -> None:
        super().__init__()
        wide = inside * widening
        layers = [] if widening == 1 else [_block(inside, wide, 1)]
        self.conv = nn.Sequential(
            *layers,
            _block(wide, wide, 3, stride=stride, groups=wide),
            Conv2d(wide, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.adds = "input" if stride == 1 and inside == outside else "nothing"

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inside, rows, columns) to (batch, outside, rows/stride, columns/stride)."""
        return x + self.conv(x) if self.adds == "input" else self.conv(x)


def _block(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU cut off at 6."""
    return nn.Sequential(
        Conv2d(inside, outside, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU6(inplace=True),
    )
