"""Networks small enough to read."""

from __future__ import annotations

from torch import nn

from convkit.nn.layers import Conv2d


def digit_network(classes: int = 10, channels: tuple[int, int] = (16, 32)) -> nn.Sequential:
    """Tell 8x8 pictures apart: two convolutions, the strongest answer in each 2x2 block, then a vote.

    ==========  =====================  ==============
    layer       computes               shape out
    ==========  =====================  ==============
    conv 3x3    16 strokes             16 x 8 x 8
    conv 3x3    32 combinations        32 x 8 x 8
    pool 2x2    strongest in a block   32 x 4 x 4
    dense       hidden votes           128
    dense       one score a class      10
    ==========  =====================  ==============

    Examples
    --------
    >>> import torch
    >>> digit_network()(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    first, second = channels
    return nn.Sequential(
        Conv2d(1, first, 3, padding=1),
        nn.ReLU(),
        Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(second * 4 * 4, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )
