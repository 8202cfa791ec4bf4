"""Looking into a trained network: its first kernels, its feature maps, and the pixels that decide."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convkit.nn.runs.preprocessing import pixels

_SPATIAL = (nn.Conv2d, nn.ConvTranspose2d)


def first_kernels(network: nn.Module) -> NDArray[np.float32] | None:
    """Kernels of the first convolution, shape (out, in, rows, columns); None where there is none."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.weight.detach().numpy().copy()
    return None


def feature_maps(network: nn.Module, preprocess: nn.Module, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """What every convolution makes of one picture.

    Parameters
    ----------
    network, preprocess : Module
        In evaluation mode.
    image : ndarray of uint8, shape (rows, columns, channels)
        The picture.

    Returns
    -------
    dict of str to ndarray, shape (channels, rows, columns)
        By layer, in the order in which they are computed.
    """
    maps: dict[str, NDArray[np.float32]] = {}

    def look(name: str):  # type: ignore[no-untyped-def]
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            maps[name] = output[0].detach().numpy().copy()

        return hook

    hooks = [
        layer.register_forward_hook(look(name))
        for name, layer in network.named_modules()
        if isinstance(layer, _SPATIAL)
    ]
    try:
        with torch.no_grad():
            network(preprocess(pixels(image[None])))
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def saliency(network: nn.Module, preprocess: nn.Module, image: NDArray[np.uint8], label: int) -> NDArray[np.float32]:
    """``max_c |d score[label] / d pixel[r, c]|``: the pixels that the score of a class hangs on (Simonyan et al. 2014).

    Returns
    -------
    ndarray, shape (rows, columns)
        Not negative.
    """
    seen = pixels(image[None]).requires_grad_()
    score = network(preprocess(seen))[0, label]
    (slope,) = torch.autograd.grad(score, seen)
    return slope[0].abs().amax(dim=0).numpy()
