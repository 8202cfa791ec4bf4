"""Named kernels as NumPy arrays, each with its formula, its sum and its source."""

from __future__ import annotations

from convkit.kernels.derivative import laplacian, laplacian_of_gaussian, prewitt, scharr, sobel
from convkit.kernels.effect import emboss, outline, sharpen, unsharp
from convkit.kernels.smoothing import binomial, box, disk, gaussian, identity, motion_blur

__all__ = [
    "binomial",
    "box",
    "disk",
    "emboss",
    "gaussian",
    "identity",
    "laplacian",
    "laplacian_of_gaussian",
    "motion_blur",
    "outline",
    "prewitt",
    "scharr",
    "sharpen",
    "sobel",
    "unsharp",
]
