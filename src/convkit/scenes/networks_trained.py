"""Two networks that are trained while one waits: how weights should start, and a label for every pixel."""

from __future__ import annotations

from functools import partial

import numpy as np

import convkit as ck
from convkit.scenes.figures import Picture, Plot, Table, caption, curve, number
from convkit.scenes.scene import Outcome, Progress, at_least, below, equal, scene

CHANCE = 0.2
"""A network that names fewer than one digit in five has not learned: guessing gives one in ten."""


@scene("initialisation", "networks", extra="nn", module="torch", lengthy="yes")
def initialisation(progress: Progress | None = None) -> Outcome:
    """The same deep network from zero, too small, too large and He's weights: only the last learns."""
    from convkit import nn

    starts = nn.compare_starts(progress=progress)
    sizes = {name: start.sizes for name, start in starts.items()}
    words = partial(caption, "initialisation")
    steps = np.arange(1, starts["he"].losses.size + 1)
    return Outcome(
        [
            at_least("he", 0.7, starts["he"].accuracy),
            *(below(name, CHANCE, starts[name].accuracy) for name in ("zero", "small", "large")),
            equal("sizes-zero", np.zeros(len(sizes["zero"])), sizes["zero"]),
            below("sizes-small", 1e-6, float(sizes["small"][-1])),
            at_least("sizes-large", 1e4, float(sizes["large"][-1])),
            at_least("sizes-he", 0.1, float(sizes["he"].min())),
            below("sizes-he-most", 10, float(sizes["he"].max())),
        ],
        [
            Table(
                words("table"),
                [
                    [*(number(float(f"{v:.2g}")) for v in start.sizes), f"{start.accuracy:.1%}"]
                    for start in starts.values()
                ],
                columns=[*(words("layer", layer=i + 1) for i in range(len(sizes["he"]))), words("accuracy")],
                names=[words(name) for name in starts],
            ),
            Plot(
                words("loss"),
                [
                    curve(words(name), np.nan_to_num(start.losses, nan=5.0, posinf=5.0).clip(0, 5), steps)
                    for name, start in starts.items()
                ],
                across=words("step"),
            ),
        ],
    )


@scene("segment", "networks", extra="nn", module="torch", lengthy="yes")
def segment(progress: Progress | None = None) -> Outcome:
    """A small fully convolutional network labels the pixels of discs, rings and crosses it has not seen."""
    from convkit import nn

    result = nn.learn_segments(progress=progress)
    overlaps = result.overlaps
    first = result.images[:1, None]
    by_verb = ck.conv(first, result.kernels, padding=1)[0]
    words = partial(caption, "segment")
    names = [words(name) for name in nn.SHAPES]
    shown = slice(0, 6)
    return Outcome(
        [
            at_least("mean", 0.9, float(overlaps.mean())),
            at_least("each", np.full(len(names), 0.8), overlaps),
            equal("held-out", result.truth.size, int(result.confusion.sum())),
            equal("layer", result.maps, by_verb, 1e-5),
        ],
        [
            Picture(words("images"), _sheet(result.images[shown])),
            Picture(words("truth"), _sheet(result.truth[shown]) * 80),
            Picture(words("said"), _sheet(result.said[shown]) * 80),
            Table(
                words("overlaps"),
                [[f"{v:.4f}" for v in overlaps]],
                columns=names,
            ),
            Table(
                words("confusion"),
                [[str(v) for v in row] for row in result.confusion],
                columns=names,
                names=names,
                marked=frozenset((i, i) for i in range(len(names))),
            ),
            Plot(
                words("loss"),
                [curve(words("loss"), result.losses, np.arange(1, len(result.losses) + 1))],
                across=words("epoch"),
            ),
        ],
    )


def _sheet(images: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Six pictures in two rows, with a line between them."""
    framed = np.pad(images, ((0, 0), (0, 1), (0, 1)))
    return np.concatenate([np.concatenate(list(framed[i : i + 3]), axis=1) for i in (0, 3)])[:-1, :-1]
