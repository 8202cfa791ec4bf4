"""A small network as one would build it today: convolution, batch norm and ReLU, and a mean over all places."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convkit.nn.layers import Conv2d
from convkit.nn.zoo.registry import model


@model(
    "small_cnn",
    standard=(1, 10, 28),
    parameters=278_890,
    source="convkit; batch norm: S. Ioffe, C. Szegedy, ICML 2015; mean over places: M. Lin et al., ICLR 2014",
    least=4,
)
def small_cnn(channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Five 3x3 convolutions at three scales, for pictures of about 28x28 or 32x32; any size of at least 4 works."""
    return nn.Sequential(
        OrderedDict(
            block1=_block(channels, 32),
            pool1=nn.MaxPool2d(2),
            block2=_block(32, 64),
            block3=_block(64, 64),
            pool2=nn.MaxPool2d(2),
            block4=_block(64, 128),
            block5=_block(128, 128),
            mean=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            output=nn.Linear(128, classes),
        )
    )


def _block(inside: int, outside: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the norm's shift makes a bias superfluous."""
    return nn.Sequential(
        OrderedDict(
            conv=Conv2d(inside, outside, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(outside),
            relu=nn.ReLU(inplace=True),
        )
    )
