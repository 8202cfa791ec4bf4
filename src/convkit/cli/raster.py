"""Pixels as something a page can hold: a data URI."""

from __future__ import annotations

import base64
import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The two ends of the diverging scale: blue below zero, orange above, white at zero.
_BELOW, _ABOVE = np.array([33, 102, 172]), np.array([217, 95, 2])


def coloured(pixels: NDArray[Any], scale: str) -> NDArray[np.uint8]:
    """Values as uint8 grey or colour.

    ``brightness`` leaves uint8 alone and stretches anything else over black to white; ``signed`` runs from blue over
    white at zero to orange.
    """
    if scale == "brightness":
        if pixels.dtype == np.uint8 and (pixels.max(initial=0) > 32 or pixels.size == 0):
            return pixels
        values = pixels.astype(np.float64)
        low, high = float(values.min()), float(values.max())
        return ((values - low) * (255 / ((high - low) or 1))).round().astype(np.uint8)
    values = pixels.astype(np.float64)
    share = values / (np.abs(values).max() or 1)
    ends = np.where(share[..., None] < 0, _BELOW, _ABOVE)
    return (255 + np.abs(share)[..., None] * (ends - 255)).round().astype(np.uint8)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """A picture that needs no file: PNG where pillow is installed, otherwise an uncompressed bitmap."""
    try:
        from PIL import Image
    except ImportError:
        return "data:image/bmp;base64," + base64.b64encode(bitmap(pixels)).decode()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def bitmap(pixels: NDArray[np.uint8]) -> bytes:
    """A Windows bitmap: two headers and the rows from below, each padded to four bytes."""
    colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
    height, width = colour.shape[:2]
    rows = np.zeros((height, -(-3 * width // 4) * 4), dtype=np.uint8)
    rows[:, : 3 * width] = colour[::-1, :, ::-1].reshape(height, -1)
    header = struct.pack("<2sIHHI", b"BM", 54 + rows.size, 0, 0, 54)
    return (
        header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, rows.size, 2835, 2835, 0, 0) + rows.tobytes()
    )
