"""Many small pictures on one sheet, and one picture large enough to see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sheet(tiles: NDArray[Any], columns: int = 8) -> NDArray[Any]:
    """Pictures (count, rows, columns) side by side, each divided by its own largest magnitude, with lines between."""
    count, height, width = tiles.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    whole = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1), np.float64)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        whole[top : top + height, left : left + width] = tile / (np.abs(tile).max() or 1)
    return whole


def heat(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values that are not negative, from black through red and yellow to white."""
    share = values.astype(np.float64) / (values.max() or 1)
    bands = [np.clip(3 * share - band, 0, 1) for band in range(3)]
    return np.rint(255 * np.stack(bands, axis=-1)).astype(np.uint8)


def enlarged(pixels: NDArray[np.uint8], least: int = 256) -> NDArray[np.uint8]:
    """Whole multiples, so that every pixel is a square."""
    factor = max(1, least // max(pixels.shape[:2]))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
