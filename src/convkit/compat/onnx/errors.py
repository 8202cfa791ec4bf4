"""The errors of the ONNX backend: models, nodes and inputs that it cannot take."""

from __future__ import annotations

from convkit.errors import ConvError


class OnnxError(ConvError, RuntimeError):
    """A model, a node or an input that does not go together with the others."""

    family = "onnx"


class OnnxUnsupportedError(OnnxError, NotImplementedError):
    """An operator or a device that this backend does not have."""
