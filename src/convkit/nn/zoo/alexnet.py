"""AlexNet with its two groups, which stood on two graphics cards."""

from __future__ import annotations

from torch import Tensor, nn

from convkit.nn.layers import Conv2d
from convkit.nn.zoo.registry import model


@model(
    "alexnet",
    standard=(3, 1000, 224),
    parameters=60_965_224,
    source="A. Krizhevsky, I. Sutskever, G. Hinton, NIPS 2012",
    least=63,
)
class AlexNet(nn.Module):
    """Five convolutions, the second, fourth and fifth in two groups; responses normalised across channels; three dense.

    The paper's 224x224 pictures give its 55x55 maps with a padding of 2. Pooling windows overlap (3 wide, 2 apart).
    Larger pictures are averaged to the 6x6 grid that the dense layers expect, smaller ones give a smaller grid.
    """

    def __init__(self, channels: int, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        grid = [min(6, _places(side)) for side in size]
        self.features = nn.Sequential(
            Conv2d(channels, 96, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2),
            nn.MaxPool2d(3, stride=2),
            Conv2d(96, 256, 5, padding=2, groups=2),
            nn.ReLU(inplace=True),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2),
            nn.MaxPool2d(3, stride=2),
            Conv2d(256, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            Conv2d(384, 384, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            Conv2d(384, 256, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((grid[0], grid[1]))
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(256 * grid[0] * grid[1], 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, classes),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (batch, classes) of pictures (batch, channels, rows, columns)."""
        return self.classifier(self.avgpool(self.features(pictures)).flatten(1))


def _places(side: int) -> int:
    """How many places of a side are left after the strided convolution and the three poolings."""
    for kernel, stride, padding in ((11, 4, 2), (3, 2, 0), (3, 2, 0), (3, 2, 0)):
        side = (side + 2 * padding - kernel) // stride + 1
    return side
