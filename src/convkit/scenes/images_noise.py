"""Smoothing: what a mean and a Gaussian do to noise."""

from __future__ import annotations

from functools import partial

import numpy as np

import convkit as ck
from convkit import kernels
from convkit.scenes.figures import Picture, Table, caption, number
from convkit.scenes.scene import Example, Outcome, equal, scene


@scene("smooth", "images")
def smooth() -> Outcome:
    """The 3x3 mean and the Gaussian take noise out of a photograph, the mean by a factor of three."""
    photo = ck.data.photograph().astype(np.float64)
    noise = np.random.default_rng(11).normal(0, 20, photo.shape)
    filters = {"mean": kernels.box(3), "gaussian": kernels.gaussian(1.0)}
    rows, pictures, falls, theory = [], [], [], []
    for name, kernel in filters.items():
        noisy = ck.correlate(photo + noise, kernel, mode="same", boundary="symmetric")
        clean = ck.correlate(photo, kernel, mode="same", boundary="symmetric")
        falls.append(float(noise.std() / (noisy - clean).std()))
        theory.append(float(1 / np.sqrt((kernel**2).sum())))
        rows.append([number(theory[-1]), number(falls[-1])])
        pictures.append((name, noisy))
    words = partial(caption, "smooth")
    flat = ck.correlate(np.full((5, 6), 7.0), kernels.box(3), mode="same", boundary="symmetric")
    return Outcome(
        [
            equal("mean", 3.0, falls[0], 0.06),
            equal("gaussian", theory[1], falls[1], 0.02 * theory[1]),
            equal("flat", np.full((5, 6), 7.0), flat, 1e-12),
        ],
        [
            Picture(words("noisy"), _shown(photo + noise)),
            *(Picture(words(name), _shown(image)) for name, image in pictures),
            Table(
                words("table"),
                rows,
                columns=[words("theory"), words("measured")],
                names=[words(name) for name in filters],
            ),
        ],
        Example(
            np.array([[9, 0, 3, 3], [0, 9, 0, 3], [3, 0, 9, 0], [3, 3, 0, 9]]),
            np.ones((3, 3), dtype=np.int64),
            {"operation": "correlation", "mode": "valid"},
        ),
    )


def _shown(image: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return image.round().clip(0, 255).astype(np.uint8)
