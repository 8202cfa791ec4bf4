"""Drop-in modules: other libraries' signatures and conventions, on convkit's verbs.

``from convkit.compat import scipy_ndimage as ndimage`` is the only line that a program has to change.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convkit.compat import cv2, numpy, onnx, scipy_ndimage, scipy_signal, torch

__all__ = ["cv2", "numpy", "onnx", "scipy_ndimage", "scipy_signal", "torch"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
