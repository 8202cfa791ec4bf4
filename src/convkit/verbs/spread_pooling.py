"""Pooling over windows whose samples stand apart, and the places of the largest values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convkit.arrays import NUMPY, Namespace
from convkit.errors import ShapeError
from convkit.planner.algorithm import Array
from convkit.planner.halves import HALVES
from convkit.spec.window import Window
from convkit.verbs import objects
from convkit.verbs.calls import widened
from convkit.verbs.network import conv
from convkit.verbs.pools import largest, windows_of


def pool(
    xp: Namespace, array: Any, kind: str, taps: tuple[int, ...], steps: tuple[int, ...], apart: tuple[int, ...],
    pads: tuple[tuple[int, int], ...], rounding: str,
) -> Any:  # fmt: skip
    """``ck.pool`` with ``dilation``, or with ``kind="argmax"``."""
    rank = len(taps)
    windows = windows_of(array.shape[array.ndim - rank :], taps, steps, apart, pads, rounding)
    if kind != "mean":
        _check_samples(windows)
    if xp is NUMPY and array.dtype.kind == "O":
        return objects.pool(array, taps, kind, steps, pads, rounding == "ceil", apart)
    if kind == "mean":
        return _mean(xp, array, windows, pads)
    values = array if xp is NUMPY else widened(xp, array).detach().resolve_neg().numpy()
    lead, counts = tuple(array.shape[: array.ndim - rank]), tuple(window.count for window in windows)
    places = largest(values, windows, where=True)[1].reshape((*lead, *counts))
    if kind == "argmax":
        return xp.array(places, "places")
    planes = math.prod(lead)
    flat = array.reshape((planes, math.prod(window.size for window in windows)))
    chosen = flat[np.arange(planes)[:, None], places.reshape((planes, math.prod(counts)))]
    return chosen.reshape((*lead, *counts))


def _check_samples(windows: tuple[Window, ...]) -> None:
    """Raise where the samples of a window all lie in the padding: nothing is the largest of none."""
    for axis, window in enumerate(windows):
        places = _positions(window)
        empty = np.nonzero(~((places >= 0) & (places < window.size)).any(axis=1))[0]
        if empty.size:
            raise ShapeError(
                "pool-nothing", axis=axis, window=int(empty[0]), places=", ".join(map(str, places[empty[0]])),
                last=window.size - 1,
            )  # fmt: skip


def _positions(window: Window) -> Array:
    """(window, sample): where each sample of each window stands."""
    taps = np.arange(window.kernel) * window.dilation + window.start
    return np.arange(window.count)[:, None] * window.stride + taps


def _mean(xp: Namespace, x: Any, windows: tuple[Window, ...], pads: tuple[tuple[int, int], ...]) -> Any:
    """The convolution with a box, over the samples that are counted."""
    rank, own = len(windows), xp.dtype(x)
    space = tuple(window.size for window in windows)
    lead, counts = tuple(x.shape[: x.ndim - rank]), tuple(window.count for window in windows)
    wide = xp.cast(x, "float32") if own in HALVES else x
    box = np.ones((1, 1, *(window.kernel for window in windows)), xp.dtype(wide))
    ends = [
        max(after, window.start + (window.count - 1) * window.stride + window.reach - window.size)
        for window, (_, after) in zip(windows, pads, strict=True)
    ]
    sums = conv(
        wide.reshape((math.prod(lead), 1, *space)), xp.array(box, "box"), accuracy="elementwise",
        stride=tuple(window.stride for window in windows), dilation=tuple(window.dilation for window in windows),
        padding=tuple((before, end) for (before, _), end in zip(pads, ends, strict=True)),
    )  # fmt: skip
    counted = np.ones((), np.int64)
    for window, (_, after) in zip(windows, pads, strict=True):
        counted = counted[..., None] * (_positions(window) < window.size + after).sum(axis=1)
    divisor = counted.astype("float32" if xp.dtype(sums) == "float32" else "float64")
    mean = sums.reshape((*lead, *counts)) / xp.array(divisor, "count")
    return xp.cast(mean, own) if own in HALVES else mean
