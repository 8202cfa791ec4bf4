"""Weights start with the variance that their initialisation promises, and signals keep theirs."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import nn

from convkit.nn import zoo
from convkit.nn.zoo.initialisation import fans

LAYERS = [
    (nn.Linear(300, 200), 300, 200),
    (nn.Conv1d(30, 40, 5), 150, 200),
    (nn.Conv2d(12, 30, (3, 5), stride=(1, 2)), 180, 225),
    (nn.Conv2d(24, 48, 3, groups=4), 54, 108),
    (nn.Conv3d(6, 10, 3), 162, 270),
    (nn.ConvTranspose2d(20, 30, 4, stride=2), 80, 480),
    (nn.ConvTranspose2d(20, 30, 2, stride=2, groups=2), 10, 60),
]

OPTIONS = ("in_features", "out_features", "in_channels", "out_channels", "kernel_size", "stride", "groups")


@pytest.mark.parametrize(("layer", "fan_in", "fan_out"), LAYERS)
def test_variances(layer, fan_in, fan_out):
    assert fans(layer) == (fan_in, fan_out)
    torch.manual_seed(0)
    for kind, variance in (("he", 2 / fan_in), ("xavier", 2 / (fan_in + fan_out))):
        zoo.initialise(layer, kind)
        assert float(layer.weight.detach().var()) == pytest.approx(variance, rel=0.1)
        assert not layer.bias.any()
    assert layer.weight.abs().max() <= sqrt(6 / (fan_in + fan_out))


@pytest.mark.parametrize(("layer", "fan_in", "fan_out"), LAYERS)
def test_one_output_is_a_sum_of_fan_in_products(layer, fan_in, fan_out):
    """Counted with ones: what a place inside sums over, and how many places one input reaches, on average."""
    rank = layer.weight.ndim - 2
    counting = type(layer)(**{name: getattr(layer, name) for name in OPTIONS if hasattr(layer, name)})
    nn.init.ones_(counting.weight)
    nn.init.zeros_(counting.bias)
    x = torch.ones(1, *_inputs(layer), *(24,) * rank)
    with torch.no_grad():
        out = counting(x)
        if not rank:
            assert float(out[0, 0]) == fan_in
            return
        middle = (0, 0, *(slice(8, 16),) * rank)
        assert float(out[middle].mean()) == pytest.approx(fan_in)
        # Every product lands in some output: those of one input are those of all inputs, shared out.
        one = torch.zeros_like(x)
        one[(0, 0, *(slice(8, 16),) * rank)] = 1
        assert float(counting(one).sum()) / 8**rank == pytest.approx(fan_out)


def _inputs(layer):
    return (layer.in_features,) if isinstance(layer, nn.Linear) else (layer.in_channels,)


def test_torchs_own_start_can_be_kept():
    torch.manual_seed(3)
    expected = nn.Linear(1 * 4 * 4, 3).weight
    network = zoo.build("perceptron", classes=3, size=4, initialisation="torch", seed=3)
    assert torch.equal(network.output.weight, expected)


def test_signals_keep_their_size_through_relu_layers():
    torch.manual_seed(0)
    for kind, kept in (("he", "yes"), ("xavier", "no")):
        layers = [m for _ in range(20) for m in (nn.Linear(256, 256), nn.ReLU())]
        network = zoo.initialise(nn.Sequential(*layers), kind)
        with torch.no_grad():
            size = float(network(torch.randn(64, 256)).pow(2).mean())
        assert (0.2 < size < 5) == (kept == "yes"), (kind, size)
