"""Which operations a call needs, told from its arguments."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from convkit.arrays.namespace import NUMPY, Namespace

if TYPE_CHECKING:
    from convkit.arrays.torch_tensors import TorchNamespace


def tensors_of(*values: Any) -> TorchNamespace | None:
    """Torch's operations if any of the values is a tensor. Torch is never imported here."""
    torch = sys.modules.get("torch")
    if torch is not None:
        for value in values:
            if isinstance(value, torch.Tensor):
                from convkit.arrays.torch_tensors import TORCH

                return TORCH
    return None


def namespace_of(*values: Any) -> Namespace:
    """Torch's operations if any of the values is a tensor, NumPy's otherwise."""
    return tensors_of(*values) or NUMPY
