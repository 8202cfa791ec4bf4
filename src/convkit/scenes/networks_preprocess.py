"""Making data easy to learn from: no mean, one size, no correlation."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit.scenes.figures import Picture, Table, caption, number
from convkit.scenes.scene import Outcome, at_least, below, equal, scene

SIDE = 5


@scene("preprocess", "networks")
def preprocess() -> Outcome:
    """Mean subtraction, normalisation, PCA and whitening of a photograph's 5x5 patches, each of them a convolution."""
    photo = ck.data.photograph().astype(np.float64)
    seen, unseen = photo[:192], photo[192:]  # statistics come from the upper part alone
    count = SIDE * SIDE
    pixels = np.eye(count).reshape(count, 1, SIDE, SIDE)  # as kernels: each takes one pixel of the window
    patches = _patches(seen, pixels)
    mean = patches.mean(axis=0)
    deviation = patches.std(axis=0)
    covariance = np.cov(patches.T, bias=True)
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1], directions[:, ::-1]
    turn = directions.T  # PCA: one row, one kernel a direction
    whiten = turn / np.sqrt(variances)[:, None]
    zca = directions @ whiten  # and turned back: as close to the pixels as whitened numbers can be

    def through(image: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return _patches(image, rows.reshape(count, 1, SIDE, SIDE), -rows @ mean)

    centred = through(seen, np.eye(count))
    normal = through(seen, np.eye(count) / deviation[:, None])
    turned, white, close = through(seen, turn), through(seen, whiten), through(seen, zca)
    other = through(unseen, whiten)
    own = _patches(unseen, pixels)
    dull = through(unseen, np.eye(count))
    after = np.cov(other.T, bias=True)
    share = float(variances[:5].sum() / variances.sum())
    words = partial(caption, "preprocess")
    zeros = np.zeros(count)
    rows = {
        "raw": patches, "centred": centred, "normalised": normal, "turned": turned, "white": white, "zca": close,
        "held-out": other,
    }  # fmt: skip
    return Outcome(
        [
            equal("identity", np.eye(count), np.cov(white.T, bias=True), 1e-6),
            equal("zca", np.eye(count), np.cov(close.T, bias=True), 1e-6),
            equal("centred", zeros, centred.mean(axis=0), 1e-9),
            equal("normalised", np.ones(count), normal.std(axis=0), 1e-9),
            equal("no-mean", np.zeros((3, count)), np.stack([v.mean(axis=0) for v in (normal, turned, white)]), 1e-6),
            equal("turned", np.diag(variances), np.cov(turned.T, bias=True), 1e-6 * float(variances[0])),
            at_least("five", 0.9, share),
            equal("training-only", own - mean, dull, 1e-9),
            at_least("held-out", 0.05, float(abs(after - np.eye(count)).max())),
            below("nearest", _apart(white, centred), _apart(close, centred)),
        ],
        [
            Table(
                words("table"),
                [
                    [
                        number(round(float(abs(v.mean(axis=0)).max()), 9)),
                        number(round(float(v.std(axis=0).min()), 6)),
                        number(round(float(v.std(axis=0).max()), 6)),
                        number(round(float(_off(v)), 9)),
                    ]
                    for v in rows.values()
                ],
                columns=[words("mean"), words("least"), words("most"), words("together")],
                names=[words(f"is-{name}") for name in rows],
            ),
            Picture(words("photo"), photo),
            Picture(words("directions"), _sheet(turn), "signed"),
            Picture(words("kernels"), _sheet(zca), "signed"),
        ],
    )


def _patches(
    image: NDArray[np.float64], kernels: NDArray[np.float64], bias: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """What each kernel makes of every window, shape (windows, kernels)."""
    return ck.conv(image[None, None], kernels, bias)[0].reshape(len(kernels), -1).T


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The mean squared distance between two versions of the patches."""
    return float(((one - other) ** 2).mean())


def _off(values: NDArray[np.float64]) -> float:
    """The largest correlation between two different numbers of a patch."""
    return float(abs(np.corrcoef(values.T) - np.eye(values.shape[1])).max())


def _sheet(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kernels in rows of five, each as strong as the others, with a line between them."""
    tiles = (rows / abs(rows).max(axis=1, keepdims=True)).reshape(SIDE, SIDE, SIDE, SIDE)
    framed = np.pad(tiles, ((0, 0), (0, 0), (0, 1), (0, 1)))
    return framed.swapaxes(1, 2).reshape(SIDE * (SIDE + 1), SIDE * (SIDE + 1))[:-1, :-1]
