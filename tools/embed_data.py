"""Make the small data files inside ``convkit.data`` from scikit-learn's bundled sets.

Run ``python tools/embed_data.py`` with scikit-learn and pillow installed. The result is committed, so users need
neither; ``tests/data`` checks that the committed files equal what this script makes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_sample_image

TARGET = Path(__file__).resolve().parents[1] / "src" / "convkit" / "data"

# Corners chosen by eye: the temple's roof against the sky, and the heart of the flower.
GREY_ROWS, GREY_COLUMNS = slice(60, 316), slice(120, 376)
COLOUR_ROWS, COLOUR_COLUMNS = slice(130, 226), slice(190, 318)


def luma(colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey from colour by the ITU-R BT.601 weights in whole numbers, rounded half up."""
    red, green, blue = np.moveaxis(colour.astype(np.int64), -1, 0)
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.uint8)


def arrays() -> dict[str, dict[str, NDArray[np.uint8]]]:
    """Everything that is embedded, by file name and array name."""
    digits = load_digits()
    return {
        "digits.npz": {"images": digits.images.astype(np.uint8), "labels": digits.target.astype(np.uint8)},
        "photographs.npz": {
            "grey": luma(load_sample_image("china.jpg")[GREY_ROWS, GREY_COLUMNS]),
            "colour": load_sample_image("flower.jpg")[COLOUR_ROWS, COLOUR_COLUMNS],
        },
    }


def main() -> None:
    """Write the files and say how large they became."""
    for name, content in arrays().items():
        np.savez_compressed(TARGET / name, **content)
        print(f"{name}: {(TARGET / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
