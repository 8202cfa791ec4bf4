"""The multilayer perceptron with 300 and 100 hidden units."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convkit.nn.zoo.registry import model


@model(
    "mlp",
    standard=(1, 10, 28),
    parameters=266_610,
    source="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86 (1998): LeNet-300-100",
)
def mlp(channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Two hidden layers of 300 and 100 units (here with ReLU), then one score a class."""
    rows, columns = size
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            hidden1=nn.Linear(channels * rows * columns, 300),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(300, 100),
            relu2=nn.ReLU(),
            output=nn.Linear(100, classes),
        )
    )
