"""The perceptron: every class weighs every pixel."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convkit.nn.zoo.registry import model


@model(
    "perceptron",
    standard=(1, 10, 28),
    parameters=7_850,
    source="F. Rosenblatt, Psychological Review 65 (1958)",
    initialisation="xavier",
)
def perceptron(channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """``score[c] = sum_i weight[c, i] pixel[i] + bias[c]``."""
    rows, columns = size
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            output=nn.Linear(channels * rows * columns, classes),
        )
    )
