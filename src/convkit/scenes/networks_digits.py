"""A network learns to read handwritten digits, and is asked about digits that it has never seen."""

from __future__ import annotations

from functools import partial

import numpy as np

import convkit as ck
from convkit.scenes.figures import Picture, Plot, Table, caption, curve
from convkit.scenes.scene import Outcome, Progress, at_least, equal, scene

EPOCHS = 20


@scene("digits", "networks", extra="nn", module="torch", lengthy="yes")
def digits(progress: Progress | None = None) -> Outcome:
    """Train a small network on 1442 digits and let it name the 355 held out."""
    from convkit import nn

    d = ck.data.digits()
    reader = nn.read_digits(epochs=EPOCHS, progress=progress)
    result = reader.evaluation
    first = d.test_images[:1, None].astype(np.float32) / 16
    by_verb = ck.conv(first, reader.kernels, reader.bias, padding=1)[0]
    wrong = np.flatnonzero(result.said != d.test_labels)
    words = partial(caption, "digits")
    figures = [
        Table(
            words("confusion"),
            [[str(v) for v in row] for row in result.confusion],
            columns=[str(c) for c in range(10)],
            names=[str(c) for c in range(10)],
            marked=frozenset((i, i) for i in range(10)),
        ),
        Plot(words("loss"), [curve(words("loss"), reader.losses, np.arange(1, EPOCHS + 1))], across=words("epoch")),
        Picture(words("kernels"), _sheet(reader.kernels[:, 0]), "signed"),
        Picture(words("digit", label=int(d.test_labels[0])), d.test_images[0].max() - d.test_images[0]),
        Picture(words("maps"), _sheet(reader.maps), "signed"),
    ]
    if wrong.size:
        said = ", ".join(f"{d.test_labels[i]} → {result.said[i]}" for i in wrong[:8])
        figures.append(Picture(words("wrong", said=said), 16 - _sheet(d.test_images[wrong[:8]])))
    return Outcome(
        [
            at_least("accuracy", 0.985, result.accuracy),
            equal("held-out", 355, int(result.confusion.sum())),
            equal("layer", reader.maps, by_verb, 1e-5),
        ],
        figures,
    )


def _sheet(tiles: np.ndarray, columns: int = 8) -> np.ndarray:  # type: ignore[type-arg]
    """Small pictures side by side, with an empty line between them."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    columns = min(columns, count)
    sheet = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1), dtype=tiles.dtype)
    for i, tile in enumerate(tiles):
        row, column = i // columns * (height + 1), i % columns * (width + 1)
        sheet[row : row + height, column : column + width] = tile
    return sheet
