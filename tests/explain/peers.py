"""Running a call that was emitted as text, in the library it was written for."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import astropy.convolution
    import cv2
    import onnx
    import onnx.reference
    import torch

# TensorFlow is half a gigabyte and not in the pinned environment; where it is installed, it is asked as well.
TENSORFLOW = ["tensorflow"] if find_spec("tensorflow") else []
RUNNABLE = ["numpy", "scipy.signal", "scipy.ndimage", "opencv", "torch", "onnx", "astropy", *TENSORFLOW]


def _names(library: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    import scipy

    import convkit as ck

    names: dict[str, Any] = {
        "np": np, "numpy": np, "scipy": scipy, "cv2": cv2, "torch": torch, "onnx": onnx, "astropy": astropy, "ck": ck,
    }  # fmt: skip
    if library == "tensorflow":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow as tf
        names["tf"] = tf
    given: dict[str, Any] = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    if library == "torch":
        given = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    return {**names, **given}


def run(library: str, code: str, **arrays: np.ndarray) -> np.ndarray:
    """The value of a call, or of its ``y`` where it has several lines."""
    names = _names(library, arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "\n" in code or code.startswith("y = "):
            exec(code, names)
            return np.asarray(names["y"])
        return np.asarray(eval(code, names))


def asymmetric(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Small integers, all different where there is room, so that every shift and flip shows."""
    count = int(np.prod(shape))
    values = np.random.default_rng(seed).permutation(max(2 * count, 20))[:count] - count // 2
    return values.reshape(shape).astype(np.float64)
