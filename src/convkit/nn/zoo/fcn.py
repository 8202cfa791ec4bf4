"""FCN-8s: VGG-16 without its last grid, and transposed convolutions that bring scores back to every pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convkit.nn.layers import Conv2d, ConvTranspose2d
from convkit.nn.zoo.registry import model
from convkit.nn.zoo.vgg16 import BLOCKS


@model(
    "fcn",
    task="segmentation",
    standard=(3, 21, 224),
    parameters=134_489_759,
    source="J. Long, E. Shelhamer, T. Darrell, CVPR 2015, arXiv:1411.4038: FCN-8s",
)
class FCN(nn.Module):
    """The dense layers of VGG-16 become convolutions; scores at 1/32, 1/16 and 1/8 of the size are joined.

    The paper pads pictures by 100 and cuts the result; here poolings round up and what hangs over is cut, so that any
    size goes through and places stay where they are.
    """

    def __init__(self, channels: int, classes: int, size: tuple[int, int], hidden: int = 4096) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for block in BLOCKS:
            layers: list[nn.Module] = []
            for outside in block:
                layers += [Conv2d(channels, outside, 3, padding=1), nn.ReLU(inplace=True)]
                channels = outside
            blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(
            Conv2d(channels, hidden, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.5),
            Conv2d(hidden, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.5),
            Conv2d(hidden, classes, 1),
        )
        self.score4 = Conv2d(512, classes, 1)
        self.score3 = Conv2d(256, classes, 1)
        self.twice = Upsampling(classes, 2)
        self.twice_again = Upsampling(classes, 2)
        self.eightfold = Upsampling(classes, 8)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (batch, classes, rows, columns) of pictures (batch, channels, rows, columns)."""
        at8 = self.features[:3](pictures)
        at16 = self.features[3](at8)
        scores = self.classifier(self.features[4](at16))
        scores = _cut(self.twice(scores), at16) + self.score4(at16)
        scores = _cut(self.twice_again(scores), at8) + self.score3(at8)
        return _cut(self.eightfold(scores), pictures)


class Upsampling(ConvTranspose2d):
    """A transposed convolution that starts as bilinear interpolation by a whole factor, class by class."""

    keeps_its_start = "yes"

    def __init__(self, classes: int, factor: int) -> None:
        super().__init__(classes, classes, 2 * factor, stride=factor, padding=factor // 2, bias=False)

    def reset_parameters(self) -> None:
        """A tent, as wide as two steps; each class keeps to itself."""
        factor = self.stride[0]
        tent = 1 - ((torch.arange(2 * factor) + 0.5) / factor - 1).abs()
        with torch.no_grad():
            self.weight.zero_()
            for c in range(self.in_channels):
                self.weight[c, c] = torch.outer(tent, tent)


def _cut(scores: Tensor, like: Tensor) -> Tensor:
    """Leave out what rounding up added below and to the right."""
    return scores[..., : like.shape[-2], : like.shape[-1]]
