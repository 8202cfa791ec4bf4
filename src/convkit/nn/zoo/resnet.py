"""ResNet-18 and ResNet-50: layers that learn what to add to what they are given."""

from __future__ import annotations

from torch import Tensor, nn

from convkit.nn.layers import Conv2d
from convkit.nn.zoo.registry import model

SOURCE = "K. He, X. Zhang, S. Ren, J. Sun, CVPR 2016, arXiv:1512.03385"
SMALL = 64
"""Pictures smaller than this keep their size in the first layer, as the paper's networks for 32x32 pictures do."""


@model("resnet18", standard=(3, 1000, 224), parameters=11_689_512, source=SOURCE)
def resnet18(channels: int, classes: int, size: tuple[int, int]) -> ResNet:
    """Four stages of two basic blocks."""
    return ResNet(BasicBlock, (2, 2, 2, 2), channels, classes, size)


@model("resnet50", standard=(3, 1000, 224), parameters=25_557_032, source=SOURCE)
def resnet50(channels: int, classes: int, size: tuple[int, int]) -> ResNet:
    """Four stages of 3, 4, 6 and 3 bottlenecks."""
    return ResNet(Bottleneck, (3, 4, 6, 3), channels, classes, size)


class BasicBlock(nn.Module):
    """``relu(x + norm(conv3x3(relu(norm(conv3x3(x))))))``."""

    expansion = 1

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(inside, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inside, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inside, rows, columns) to (batch, width, rows/stride, columns/stride)."""
        known = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + known)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones that narrow and widen by four; the 3x3 takes the stride."""

    expansion = 4

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inside, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inside, rows, columns) to (batch, 4 width, rows/stride, columns/stride)."""
        known = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + known)


def _shortcut(inside: int, outside: int, stride: int) -> nn.Sequential | None:
    """What brings the input to the output's shape, where the shapes differ."""
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(Conv2d(inside, outside, 1, stride=stride, bias=False), nn.BatchNorm2d(outside))


class ResNet(nn.Module):
    """A stem, four stages of blocks, the mean over all places, one dense layer; parameters named as in torchvision."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        channels: int,
        classes: int,
        size: tuple[int, int],
    ) -> None:
        super().__init__()
        if max(size) < SMALL:
            self.conv1 = Conv2d(channels, 64, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        else:
            self.conv1 = Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(block, blocks[0], 64, 64, 1)
        self.layer2 = _stage(block, blocks[1], 64 * block.expansion, 128, 2)
        self.layer3 = _stage(block, blocks[2], 128 * block.expansion, 256, 2)
        self.layer4 = _stage(block, blocks[3], 256 * block.expansion, 512, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (batch, classes) of pictures (batch, channels, rows, columns)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], count: int, inside: int, width: int, stride: int
) -> nn.Sequential:
    """Blocks of one width; the first takes the stride."""
    first = block(inside, width, stride)
    return nn.Sequential(first, *(block(width * block.expansion, width, 1) for _ in range(count - 1)))
