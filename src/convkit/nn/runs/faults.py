"""Where numbers stopped being numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def where_not_finite(network: nn.Module, images: Tensor) -> tuple[str, str]:
    """The first place, in the order of computing, that holds NaN or infinity.

    Parameters
    ----------
    network : Module
        As it stands after the step that went wrong.
    images : Tensor
        The batch that it saw.

    Returns
    -------
    layer : str
        The layer's name, ``input`` or ``loss``.
    what : {"input", "weights", "output", "loss"}
        What of it is not finite.
    """
    if not _finite(images):
        return "input", "input"
    found: list[tuple[str, str]] = []

    def look(name: str, layer: nn.Module):  # type: ignore[no-untyped-def]
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not found and isinstance(output, Tensor) and not _finite(output):
                own = all(_finite(weights) for weights in layer.parameters(recurse=False))
                found.append((f"{name} ({type(layer).__name__})", "output" if own else "weights"))

        return hook

    hooks = [
        layer.register_forward_hook(look(name or type(layer).__name__, layer))
        for name, layer in network.named_modules()
        if not any(True for _ in layer.children())
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ("loss", "loss")


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
