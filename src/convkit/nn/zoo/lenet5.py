"""LeNet-5, in the variant with 61,706 parameters."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convkit.nn.layers import Conv2d
from convkit.nn.zoo.registry import model


@model(
    "lenet5",
    standard=(1, 10, 28),
    parameters=61_706,
    source="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86 (1998)",
    least=12,
    initialisation="xavier",
)
def lenet5(channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Two convolutions with tanh and mean pooling, then three dense layers; the paper's names C1 to F6.

    The paper pads 28x28 digits to 32x32 beforehand, here C1 does. This is the variant in use today: C3 sees all six
    maps of S2 (the paper leaves some out), S2 and S4 have no weights, and the output is dense (the paper's has radial
    basis functions).
    """
    rows, columns = ((side // 2 - 4) // 2 for side in size)
    return nn.Sequential(
        OrderedDict(
            c1=Conv2d(channels, 6, 5, padding=2),
            tanh1=nn.Tanh(),
            s2=nn.AvgPool2d(2),
            c3=Conv2d(6, 16, 5),
            tanh3=nn.Tanh(),
            s4=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            c5=nn.Linear(16 * rows * columns, 120),
            tanh5=nn.Tanh(),
            f6=nn.Linear(120, 84),
            tanh6=nn.Tanh(),
            output=nn.Linear(84, classes),
        )
    )
