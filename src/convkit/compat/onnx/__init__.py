"""An ONNX backend: models run on NumPy arrays, their convolutions and pooling computed by convkit.

``prepare(model).run(inputs)`` is the interface of ``onnx.backend.base``. What is neither a convolution nor a pooling is
left to NumPy and to the reference implementation that comes with the package ``onnx``.
"""

from __future__ import annotations

from convkit.compat.onnx.backend import (
    ConvkitBackend,
    ConvkitRep,
    is_compatible,
    prepare,
    run_model,
    run_node,
    supports_device,
)
from convkit.compat.onnx.errors import OnnxError, OnnxUnsupportedError

__all__ = [
    "ConvkitBackend",
    "ConvkitRep",
    "OnnxError",
    "OnnxUnsupportedError",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
