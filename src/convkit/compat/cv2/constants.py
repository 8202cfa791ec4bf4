"""OpenCV's integer constants, so that its name is not needed to call these functions.

A depth is the element type of an image; a border says what stands outside it. The values are OpenCV's own, so
``cv2.CV_32F`` and ``convkit.compat.cv2.CV_32F`` may be used for each other.
"""

from __future__ import annotations

import numpy as np

CV_8U = 0
CV_8S = 1
CV_16U = 2
CV_16S = 3
CV_32S = 4
CV_32F = 5
CV_64F = 6

BORDER_CONSTANT = 0
BORDER_REPLICATE = 1
BORDER_REFLECT = 2
BORDER_WRAP = 3
BORDER_REFLECT_101 = 4
BORDER_REFLECT101 = BORDER_REFLECT_101
BORDER_DEFAULT = BORDER_REFLECT_101
BORDER_TRANSPARENT = 5
BORDER_ISOLATED = 16

FILTER_SCHARR = -1

DTYPES = {
    CV_8U: np.dtype(np.uint8),
    CV_8S: np.dtype(np.int8),
    CV_16U: np.dtype(np.uint16),
    CV_16S: np.dtype(np.int16),
    CV_32S: np.dtype(np.int32),
    CV_32F: np.dtype(np.float32),
    CV_64F: np.dtype(np.float64),
}
"""The element type of each depth."""

DEPTHS = {dtype: depth for depth, dtype in DTYPES.items()}
"""The depth of each element type."""

DEPTH_NAMES = {
    CV_8U: "CV_8U",
    CV_8S: "CV_8S",
    CV_16U: "CV_16U",
    CV_16S: "CV_16S",
    CV_32S: "CV_32S",
    CV_32F: "CV_32F",
    CV_64F: "CV_64F",
}
"""The depths as OpenCV writes them."""

BOUNDARIES = {
    BORDER_CONSTANT: "zero",
    BORDER_REPLICATE: "edge",
    BORDER_REFLECT: "symmetric",
    BORDER_WRAP: "wrap",
    BORDER_REFLECT_101: "reflect",
}
"""The boundary that each border is, in the names of ``numpy.pad``. OpenCV's filters know no border value but
0."""

BORDER_NAMES = {
    BORDER_CONSTANT: "BORDER_CONSTANT",
    BORDER_REPLICATE: "BORDER_REPLICATE",
    BORDER_REFLECT: "BORDER_REFLECT",
    BORDER_WRAP: "BORDER_WRAP",
    BORDER_REFLECT_101: "BORDER_REFLECT_101",
}
"""The borders as OpenCV writes them."""
