"""How weights start: as large as keeps the signal's variance from layer to layer."""

from __future__ import annotations

from math import prod, sqrt
from typing import Literal

from torch import Tensor, nn

from convkit.errors import choose

Initialisation = Literal["he", "xavier", "torch"]

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


def initialise(network: nn.Module, kind: Initialisation) -> nn.Module:
    """Draw the weights of every dense and convolution layer; biases become zero.

    ==========  =================================================  ====================================
    kind        weights                                            source
    ==========  =================================================  ====================================
    he          normal, variance ``2 / fan_in``: for ReLU          He et al. 2015, arXiv:1502.01852
    xavier      uniform, variance ``2 / (fan_in + fan_out)``:      Glorot and Bengio 2010
                for tanh and sigmoid
    torch       what torch's layers start with                     `torch.nn.Linear.reset_parameters`
    ==========  =================================================  ====================================

    ``fan_in`` is the number of products in one output, ``fan_out`` the number of outputs that one input reaches; with
    groups and in transposed convolutions as well. A layer that says ``keeps_its_start = "yes"`` (one that starts as an
    interpolation) is left alone.

    Raises
    ------
    OptionError
        ``option.unknown-value``.
    """
    choose("initialisation", kind, ("he", "xavier", "torch"))
    if kind == "torch":
        return network
    for layer in network.modules():
        if not isinstance(layer, _LAYERS) or getattr(layer, "keeps_its_start", "no") == "yes":
            continue
        fan_in, fan_out = fans(layer)
        if kind == "he":
            nn.init.normal_(layer.weight, std=sqrt(2 / fan_in))
        else:
            bound = sqrt(6 / (fan_in + fan_out))
            nn.init.uniform_(layer.weight, -bound, bound)
        if isinstance(layer.bias, Tensor):
            nn.init.zeros_(layer.bias)
    return network


def fans(layer: nn.Module) -> tuple[float, float]:
    """Products in one output, and outputs that one input reaches, away from the border.

    `torch.nn.init` reads both off the shape of the weights, where a transposed convolution keeps its two channel axes
    the other way round, and where groups and strides do not show.

    Examples
    --------
    >>> fans(nn.Conv2d(8, 12, 3, groups=4))
    (18.0, 27.0)
    >>> fans(nn.ConvTranspose2d(8, 12, 4, stride=2))
    (32.0, 192.0)
    """
    if isinstance(layer, nn.Linear):
        return float(layer.in_features), float(layer.out_features)
    assert isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED))
    taps, steps = prod(layer.kernel_size), prod(layer.stride)
    inside, outside = layer.in_channels / layer.groups * taps, layer.out_channels / layer.groups * taps
    return (inside / steps, outside) if layer.transposed else (inside, outside / steps)
