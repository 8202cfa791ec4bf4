"""OpenCV's linear filters under their own names and signatures, computed by convkit.

OpenCV need not be installed. Write ``from convkit.compat import cv2`` in place of ``import cv2``.
"""

from __future__ import annotations

from convkit.compat.cv2.box import blur, boxFilter
from convkit.compat.cv2.constants import (
    BORDER_CONSTANT,
    BORDER_DEFAULT,
    BORDER_ISOLATED,
    BORDER_REFLECT,
    BORDER_REFLECT101,
    BORDER_REFLECT_101,
    BORDER_REPLICATE,
    BORDER_TRANSPARENT,
    BORDER_WRAP,
    CV_8S,
    CV_8U,
    CV_16S,
    CV_16U,
    CV_32F,
    CV_32S,
    CV_64F,
    FILTER_SCHARR,
)
from convkit.compat.cv2.derivative import Laplacian, Sobel, getDerivKernels
from convkit.compat.cv2.errors import error
from convkit.compat.cv2.gaussian import ALGO_HINT_DEFAULT, GaussianBlur, getGaussianKernel
from convkit.compat.cv2.linear import filter2D, sepFilter2D

__all__ = [
    "ALGO_HINT_DEFAULT",
    "BORDER_CONSTANT",
    "BORDER_DEFAULT",
    "BORDER_ISOLATED",
    "BORDER_REFLECT",
    "BORDER_REFLECT101",
    "BORDER_REFLECT_101",
    "BORDER_REPLICATE",
    "BORDER_TRANSPARENT",
    "BORDER_WRAP",
    "CV_8S",
    "CV_8U",
    "CV_16S",
    "CV_16U",
    "CV_32F",
    "CV_32S",
    "CV_64F",
    "FILTER_SCHARR",
    "GaussianBlur",
    "Laplacian",
    "Sobel",
    "blur",
    "boxFilter",
    "error",
    "filter2D",
    "getDerivKernels",
    "getGaussianKernel",
    "sepFilter2D",
]
