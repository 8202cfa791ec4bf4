"""The errors raised where PyTorch raises RuntimeError, TypeError and NotImplementedError."""

from __future__ import annotations

from convkit.errors import ConvError


class TorchError(ConvError, RuntimeError):
    """Sizes and options that PyTorch would refuse; it stands where a RuntimeError does."""

    family = "torch"


class TorchTypeError(ConvError, TypeError):
    """An argument of the wrong kind; it stands where a TypeError does."""

    family = "torch"


class TorchUnsupportedError(TorchError, NotImplementedError):
    """An element type that PyTorch does not convolve; it stands where a NotImplementedError does."""
