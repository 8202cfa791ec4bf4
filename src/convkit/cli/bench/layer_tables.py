"""The convolution layers of nine networks, as data: each distinct one once, and how often its network has it.

The geometry is that of the papers with the usual later choices (ResNet-50 with its strides in the 3 x 3 layers, U-Nets
padded so that sizes stay whole, ConvNeXt's linear layers as the 1 x 1 convolutions that they are).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["conv", "transposed"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a network.

    Attributes
    ----------
    name : str
        What it is called there.
    channels, outputs : int
        Channels in and out.
    size : int
        Side of the square (cubic) input.
    kernel, stride, padding, groups : int
        The same along every axis.
    count : int
        How many of these the network has.
    dilation : int
        Distance between the kernel's elements.
    rank : int
        Axes of space.
    form : {"conv", "transposed"}
        A convolution, or its adjoint.
    """

    name: str
    channels: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    count: int = 1
    dilation: int = 1
    rank: int = 2
    form: Form = "conv"


def _bottlenecks(rows: list[tuple[str, int, int, int, int, int, int, int]]) -> list[Layer]:
    """Inverted residuals: (name, in, wide, out, size, kernel, stride, count) as their three layers.

    A first row without widening (wide == in) has no 1 x 1 layer before the depthwise one.
    """
    layers: list[Layer] = []
    for name, channels, wide, outputs, size, kernel, stride, count in rows:
        if wide != channels:
            layers.append(Layer(f"{name} expand", channels, wide, size, 1, count=count))
        layers.append(Layer(f"{name} depthwise", wide, wide, size, kernel, stride, kernel // 2, wide, count))
        layers.append(Layer(f"{name} project", wide, outputs, size // stride, 1, count=count))
    return layers


def _squeezes(rows: list[tuple[str, int, int, int]]) -> list[Layer]:
    """Squeeze and excitation: (name, wide, narrow, count) as two layers on single pixels."""
    return [
        layer
        for name, wide, narrow, count in rows
        for layer in (
            Layer(f"{name} squeeze", wide, narrow, 1, 1, count=count),
            Layer(f"{name} excite", narrow, wide, 1, 1, count=count),
        )
    ]


def _stages(rows: list[tuple[str, int, int, int]]) -> list[Layer]:
    """ConvNeXt's blocks: (name, channels, size, count) as a depthwise 7 x 7 and two 1 x 1 layers."""
    return [
        layer
        for name, channels, size, count in rows
        for layer in (
            Layer(f"{name} depthwise", channels, channels, size, 7, 1, 3, channels, count),
            Layer(f"{name} expand", channels, 4 * channels, size, 1, count=count),
            Layer(f"{name} project", 4 * channels, channels, size, 1, count=count),
        )
    ]


def _doubles(rows: list[tuple[str, int, int, int, int]], rank: int = 2) -> list[Layer]:
    """Two 3 x 3 layers each: (name, in, between, out, size)."""
    return [
        layer
        for name, channels, between, outputs, size in rows
        for layer in (
            Layer(f"{name} a", channels, between, size, 3, 1, 1, rank=rank),
            Layer(f"{name} b", between, outputs, size, 3, 1, 1, rank=rank),
        )
    ]


def _ups(rows: list[tuple[str, int, int, int]], rank: int = 2) -> list[Layer]:
    """Transposed 2 x 2 layers of stride 2: (name, in, out, size)."""
    return [Layer(name, c, o, size, 2, 2, rank=rank, form="transposed") for name, c, o, size in rows]


NETWORKS: dict[str, list[Layer]] = {
    "AlexNet": [
        Layer("conv1", 3, 96, 227, 11, 4),
        Layer("conv2", 96, 256, 27, 5, 1, 2, 2),
        Layer("conv3", 256, 384, 13, 3, 1, 1),
        Layer("conv4", 384, 384, 13, 3, 1, 1, 2),
        Layer("conv5", 384, 256, 13, 3, 1, 1, 2),
    ],
    "VGG-16": [
        Layer("conv1.1", 3, 64, 224, 3, 1, 1),
        Layer("conv1.2", 64, 64, 224, 3, 1, 1),
        Layer("conv2.1", 64, 128, 112, 3, 1, 1),
        Layer("conv2.2", 128, 128, 112, 3, 1, 1),
        Layer("conv3.1", 128, 256, 56, 3, 1, 1),
        Layer("conv3.2", 256, 256, 56, 3, 1, 1, count=2),
        Layer("conv4.1", 256, 512, 28, 3, 1, 1),
        Layer("conv4.2", 512, 512, 28, 3, 1, 1, count=2),
        Layer("conv5", 512, 512, 14, 3, 1, 1, count=3),
    ],
    "ResNet-18": [
        Layer("conv1", 3, 64, 224, 7, 2, 3),
        Layer("layer1", 64, 64, 56, 3, 1, 1, count=4),
        Layer("layer2.0", 64, 128, 56, 3, 2, 1),
        Layer("layer2", 128, 128, 28, 3, 1, 1, count=3),
        Layer("layer2 shortcut", 64, 128, 56, 1, 2),
        Layer("layer3.0", 128, 256, 28, 3, 2, 1),
        Layer("layer3", 256, 256, 14, 3, 1, 1, count=3),
        Layer("layer3 shortcut", 128, 256, 28, 1, 2),
        Layer("layer4.0", 256, 512, 14, 3, 2, 1),
        Layer("layer4", 512, 512, 7, 3, 1, 1, count=3),
        Layer("layer4 shortcut", 256, 512, 14, 1, 2),
    ],
    "ResNet-50": [
        Layer("conv1", 3, 64, 224, 7, 2, 3),
        Layer("layer1.0 reduce", 64, 64, 56, 1),
        Layer("layer1 3x3", 64, 64, 56, 3, 1, 1, count=3),
        Layer("layer1 expand", 64, 256, 56, 1, count=4),
        Layer("layer1 reduce", 256, 64, 56, 1, count=2),
        Layer("layer2.0 reduce", 256, 128, 56, 1),
        Layer("layer2.0 3x3", 128, 128, 56, 3, 2, 1),
        Layer("layer2 expand", 128, 512, 28, 1, count=4),
        Layer("layer2 shortcut", 256, 512, 56, 1, 2),
        Layer("layer2 reduce", 512, 128, 28, 1, count=3),
        Layer("layer2 3x3", 128, 128, 28, 3, 1, 1, count=3),
        Layer("layer3.0 reduce", 512, 256, 28, 1),
        Layer("layer3.0 3x3", 256, 256, 28, 3, 2, 1),
        Layer("layer3 expand", 256, 1024, 14, 1, count=6),
        Layer("layer3 shortcut", 512, 1024, 28, 1, 2),
        Layer("layer3 reduce", 1024, 256, 14, 1, count=5),
        Layer("layer3 3x3", 256, 256, 14, 3, 1, 1, count=5),
        Layer("layer4.0 reduce", 1024, 512, 14, 1),
        Layer("layer4.0 3x3", 512, 512, 14, 3, 2, 1),
        Layer("layer4 expand", 512, 2048, 7, 1, count=3),
        Layer("layer4 shortcut", 1024, 2048, 14, 1, 2),
        Layer("layer4 reduce", 2048, 512, 7, 1, count=2),
        Layer("layer4 3x3", 512, 512, 7, 3, 1, 1, count=2),
    ],
    "MobileNetV2": [
        Layer("stem", 3, 32, 224, 3, 2, 1),
        *_bottlenecks(
            [
                ("1", 32, 32, 16, 112, 3, 1, 1),
                ("2.0", 16, 96, 24, 112, 3, 2, 1),
                ("2", 24, 144, 24, 56, 3, 1, 1),
                ("3.0", 24, 144, 32, 56, 3, 2, 1),
                ("3", 32, 192, 32, 28, 3, 1, 2),
                ("4.0", 32, 192, 64, 28, 3, 2, 1),
                ("4", 64, 384, 64, 14, 3, 1, 3),
                ("5.0", 64, 384, 96, 14, 3, 1, 1),
                ("5", 96, 576, 96, 14, 3, 1, 2),
                ("6.0", 96, 576, 160, 14, 3, 2, 1),
                ("6", 160, 960, 160, 7, 3, 1, 2),
                ("7", 160, 960, 320, 7, 3, 1, 1),
            ]
        ),
        Layer("head", 320, 1280, 7, 1),
    ],
    "EfficientNet-B0": [
        Layer("stem", 3, 32, 224, 3, 2, 1),
        *_bottlenecks(
            [
                ("1", 32, 32, 16, 112, 3, 1, 1),
                ("2.0", 16, 96, 24, 112, 3, 2, 1),
                ("2", 24, 144, 24, 56, 3, 1, 1),
                ("3.0", 24, 144, 40, 56, 5, 2, 1),
                ("3", 40, 240, 40, 28, 5, 1, 1),
                ("4.0", 40, 240, 80, 28, 3, 2, 1),
                ("4", 80, 480, 80, 14, 3, 1, 2),
                ("5.0", 80, 480, 112, 14, 5, 1, 1),
                ("5", 112, 672, 112, 14, 5, 1, 2),
                ("6.0", 112, 672, 192, 14, 5, 2, 1),
                ("6", 192, 1152, 192, 7, 5, 1, 3),
                ("7", 192, 1152, 320, 7, 3, 1, 1),
            ]
        ),
        *_squeezes(
            [
                ("1", 32, 8, 1),
                ("2.0", 96, 4, 1),
                ("2", 144, 6, 2),
                ("3", 240, 10, 2),
                ("4", 480, 20, 3),
                ("5", 672, 28, 3),
                ("6", 1152, 48, 4),
            ]
        ),
        Layer("head", 320, 1280, 7, 1),
    ],
    "ConvNeXt-T": [
        Layer("stem", 3, 96, 224, 4, 4),
        *_stages([("1", 96, 56, 3), ("2", 192, 28, 3), ("3", 384, 14, 9), ("4", 768, 7, 3)]),
        Layer("2 down", 96, 192, 56, 2, 2),
        Layer("3 down", 192, 384, 28, 2, 2),
        Layer("4 down", 384, 768, 14, 2, 2),
    ],
    "U-Net": [
        *_doubles(
            [
                ("down1", 1, 64, 64, 256),
                ("down2", 64, 128, 128, 128),
                ("down3", 128, 256, 256, 64),
                ("down4", 256, 512, 512, 32),
                ("bottom", 512, 1024, 1024, 16),
                ("up4", 1024, 512, 512, 32),
                ("up3", 512, 256, 256, 64),
                ("up2", 256, 128, 128, 128),
                ("up1", 128, 64, 64, 256),
            ]
        ),
        *_ups([("to4", 1024, 512, 16), ("to3", 512, 256, 32), ("to2", 256, 128, 64), ("to1", 128, 64, 128)]),
        Layer("classes", 64, 2, 256, 1),
    ],
    "3-D U-Net": [
        *_doubles(
            [
                ("down1", 1, 32, 64, 64),
                ("down2", 64, 64, 128, 32),
                ("down3", 128, 128, 256, 16),
                ("bottom", 256, 256, 512, 8),
                ("up3", 768, 256, 256, 16),
                ("up2", 384, 128, 128, 32),
                ("up1", 192, 64, 64, 64),
            ],
            rank=3,
        ),
        *_ups([("to3", 512, 512, 8), ("to2", 256, 256, 16), ("to1", 128, 128, 32)], rank=3),
        Layer("classes", 64, 3, 64, 1, rank=3),
    ],
}
"""The layers of each network."""

SHORT: dict[str, tuple[str, ...]] = {
    "AlexNet": ("conv1", "conv2", "conv4"),
    "VGG-16": ("conv1.1", "conv2.2", "conv3.2", "conv4.2", "conv5"),
    "ResNet-18": ("conv1", "layer1", "layer2.0", "layer2", "layer3", "layer4"),
    "ResNet-50": (
        "layer1 expand", "layer1 reduce", "layer2.0 3x3", "layer2 shortcut", "layer2 reduce", "layer3 expand",
        "layer4 reduce",
    ),
    "MobileNetV2": (
        "stem", "1 depthwise", "2.0 expand", "2.0 depthwise", "2 depthwise", "3 project", "4 depthwise", "5 expand",
        "6 depthwise",
    ),
    "EfficientNet-B0": ("3.0 depthwise", "5 depthwise", "6 depthwise", "4 squeeze"),
    "ConvNeXt-T": ("stem", "1 depthwise", "3 depthwise", "3 expand", "3 down"),
    "U-Net": ("down1 a", "up4 b", "to3"),
    "3-D U-Net": ("down1 a", "bottom a", "to2"),
}  # fmt: skip
"""About a third of them, of every kind: those of the short suite."""
