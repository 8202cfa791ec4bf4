"""Edges: found by their slope, and made stronger."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit import kernels
from convkit.scenes.figures import Picture, Table, caption, cells
from convkit.scenes.scene import Check, Example, Outcome, at_least, equal, scene


def sobel_by_slices(image: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """Sobel's slope written out on slices, the edge pixels repeated outwards: the definition in whole numbers."""
    padded = np.pad(image, 1, mode="symmetric")
    padded = padded if axis == 1 else padded.T
    slope = padded[:, 2:] - padded[:, :-2]
    smooth = slope[:-2] + 2 * slope[1:-1] + slope[2:]
    return smooth if axis == 1 else smooth.T


@scene("sobel", "images")
def sobel() -> Outcome:
    """The edges of a photograph: slopes with their sign, magnitude and direction."""
    photo = ck.data.photograph().astype(np.int64)
    right = ck.correlate(photo, kernels.sobel(1, dtype=np.int64), mode="same", boundary="symmetric")
    down = ck.correlate(photo, kernels.sobel(0, dtype=np.int64), mode="same", boundary="symmetric")
    magnitude = np.hypot(right, down)
    direction = np.degrees(np.arctan2(down, right))
    ramp = np.add.outer(3 * np.arange(6), 4 * np.arange(7))
    ramp_right, ramp_down = (ck.correlate(ramp, kernels.sobel(axis, dtype=np.int64), mode="valid") for axis in (1, 0))
    words = partial(caption, "sobel")
    return Outcome(
        [
            equal("right", sobel_by_slices(photo, 1), right),
            equal("down", sobel_by_slices(photo, 0), down),
            *_against_scipy(photo, right, down),
            equal("ramp", [32, 24], [int(ramp_right[1, 1]), int(ramp_down[1, 1])]),
            equal("magnitude", 40.0, float(np.hypot(ramp_right, ramp_down)[1, 1]), 1e-12),
            equal("direction", np.degrees(np.arctan2(3, 4)), float(_angle(ramp_down, ramp_right)), 1e-12),
        ],
        [
            Picture(words("photo"), photo.astype(np.uint8)),
            Picture(words("right"), right, "signed"),
            Picture(words("down"), down, "signed"),
            Picture(words("magnitude"), magnitude),
            Picture(words("direction"), np.where(magnitude > 100, direction, 0), "signed"),
            Table(words("kernel"), cells(kernels.sobel(1, dtype=np.int64))),
        ],
        Example(ramp[:4, :5], kernels.sobel(1, dtype=np.int64), {"operation": "correlation", "mode": "valid"}),
    )


def _angle(down: NDArray[np.int64], right: NDArray[np.int64]) -> np.float64:
    return np.degrees(np.arctan2(down, right))[1, 1]


def _against_scipy(photo: NDArray[np.int64], right: NDArray[np.int64], down: NDArray[np.int64]) -> list[Check]:
    """The comparison with SciPy itself, where SciPy is installed."""
    try:
        from scipy import ndimage
    except ImportError:
        return []
    return [
        equal("scipy-right", ndimage.sobel(photo, axis=1), right),
        equal("scipy-down", ndimage.sobel(photo, axis=0), down),
    ]


@scene("sharpen", "images")
def sharpen() -> Outcome:
    """Sharpening and unsharp masking raise the contrast of edges and leave the mean where it was."""
    photo = ck.data.photograph().astype(np.int64)
    kernel, mask = kernels.sharpen(dtype=np.int64), kernels.unsharp(2.0, amount=0.8)
    crisp = ck.correlate(photo, kernel, mode="same", boundary="wrap")
    masked = ck.correlate(photo.astype(np.float64), mask, mode="same", boundary="wrap")
    blurred = ck.correlate(photo.astype(np.float64), kernels.gaussian(2.0), mode="same", boundary="wrap")
    step = np.repeat([[50, 50, 50, 50, 100, 100, 100, 100]], 5, axis=0)
    over = ck.correlate(step, kernel, mode="same", boundary="edge")
    words = partial(caption, "sharpen")
    return Outcome(
        [
            equal("edge", [50, 50, 50, 0, 150, 100, 100, 100], over[2]),
            equal("sums", [1, 1], [float(kernel.sum()), float(mask.sum())], 1e-12),
            equal("mean", int(photo.sum()), int(crisp.sum())),
            equal("mean-unsharp", float(photo.mean()), float(masked.mean()), 1e-9),
            equal("unsharp", photo + 0.8 * (photo - blurred), masked, 1e-9),
            at_least("contrast", 2 * _contrast(photo), _contrast(crisp)),
            at_least("contrast-unsharp", 1.3 * _contrast(photo), _contrast(masked)),
        ],
        [
            Picture(words("photo"), photo.astype(np.uint8)),
            Picture(words("crisp"), crisp.clip(0, 255).astype(np.uint8)),
            Picture(words("unsharp"), masked.round().clip(0, 255).astype(np.uint8)),
            Table(words("step"), cells([step[2], over[2]]), names=[words("before"), words("after")]),
        ],
        Example(step[:, 2:6], kernel, {"operation": "correlation", "mode": "same", "boundary": "edge"}),
    )


def _contrast(image: NDArray[np.generic]) -> float:
    """The mean difference of neighbouring pixels along the rows."""
    return float(np.abs(np.diff(image.astype(np.float64), axis=1)).mean())
