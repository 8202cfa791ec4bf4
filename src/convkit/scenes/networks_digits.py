"""A network learns to read handwritten digits, and is asked about digits that it has never seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

import convkit as ck
from convkit.scenes.figures import Picture, Plot, Table, caption, curve
from convkit.scenes.scene import Outcome, Progress, at_least, equal, scene

EPOCHS, BATCH, RATE, SHIFT, SEED = 20, 128, 8e-3, 1, 0


@scene("digits", "networks", extra="nn", module="torch", lengthy="yes")
def digits(progress: Progress | None = None) -> Outcome:
    """Train a small network on 1442 digits and let it name the 355 held out."""
    import torch

    from convkit import nn

    d = ck.data.digits()
    seen, labels = _tensor(d.train_images), torch.from_numpy(d.train_labels).long()
    unseen, truth = _tensor(d.test_images), torch.from_numpy(d.test_labels).long()
    with _one_torch_thread(), torch.random.fork_rng():  # the caller's random numbers go on as if nothing had happened
        torch.manual_seed(SEED)
        network = nn.digit_network()
        options = {"epochs": EPOCHS, "batch": BATCH, "rate": RATE, "shift": SHIFT, "seed": SEED}
        losses = nn.train(network, seen, labels, progress=progress, **options)
    result = nn.evaluate(network, unseen, truth)
    with torch.no_grad():
        layer = network[0]
        learned = layer.weight.numpy()[:, 0]
        maps = layer(unseen[:1])[0].numpy()
    by_verb = ck.conv(unseen[:1].numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy(), padding=1)[0]
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
        Plot(words("loss"), [curve(words("loss"), losses, np.arange(1, EPOCHS + 1))], across=words("epoch")),
        Picture(words("kernels"), _sheet(learned), "signed"),
        Picture(words("digit", label=int(d.test_labels[0])), d.test_images[0].max() - d.test_images[0]),
        Picture(words("maps"), _sheet(maps), "signed"),
    ]
    if wrong.size:
        said = ", ".join(f"{d.test_labels[i]} → {result.said[i]}" for i in wrong[:8])
        figures.append(Picture(words("wrong", said=said), 16 - _sheet(d.test_images[wrong[:8]])))
    return Outcome(
        [
            at_least("accuracy", 0.985, result.accuracy),
            equal("held-out", 355, int(result.confusion.sum())),
            equal("layer", np.zeros(maps.shape), maps - by_verb, 1e-5),
        ],
        figures,
    )


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Torch's own share of the work is tiny here, and its idle threads would spin against those of `ck.conv`."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tensor(images):  # type: ignore[no-untyped-def]
    """Ink from 0 to 1, with a channel axis."""
    import torch

    return torch.from_numpy(images).float().unsqueeze(1) / 16


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
