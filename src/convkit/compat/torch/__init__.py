"""torch.nn.functional's convolutions, computed and differentiated by convkit."""

from __future__ import annotations

from convkit.compat.torch.errors import TorchError, TorchTypeError, TorchUnsupportedError
from convkit.compat.torch.functional import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)

__all__ = [
    "TorchError",
    "TorchTypeError",
    "TorchUnsupportedError",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]
