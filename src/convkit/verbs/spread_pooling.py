"""Pooling over windows whose samples stand apart, and the places of the largest values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convkit.arrays import NUMPY, Namespace, namespace_of
from convkit.errors import DTypeError, OptionError, ShapeError
from convkit.planner.algorithm import Array
from convkit.planner.halves import HALVES
from convkit.spec import sizes
from convkit.spec.options import pad_pairs, per_axis
from convkit.spec.window import Window
from convkit.verbs import objects
from convkit.verbs.calls import widened
from convkit.verbs.network import conv
from convkit.verbs.pooling import _largest, _rank


def pool(x: Any, size: Any, kind: str, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Any:
    """``ck.pool`` with ``dilation``, or with ``kind="argmax"``."""
    xp = namespace_of(x)
    array = xp.array(x, "x")
    rank = _rank(size, array.ndim)
    taps = per_axis("size", size, rank, 1)
    steps = taps if stride is None else per_axis("stride", stride, rank, 1)
    apart = per_axis("dilation", dilation, rank, 1)
    pads = pad_pairs(padding, rank)
    windows = _windows(tuple(array.shape[array.ndim - rank :]), taps, steps, apart, pads, "ceil" if ceil else "floor")
    if kind != "mean":
        if xp.dtype(array).startswith("complex"):
            raise DTypeError("no-order", dtype=xp.dtype(array))
        _check_samples(windows)
    if xp is NUMPY and array.dtype.kind == "O":
        return objects.pool(array, taps, kind, steps, pads, ceil, apart)
    if kind == "mean":
        return _mean(xp, array, windows, pads)
    values = array if xp is NUMPY else widened(xp, array).detach().resolve_neg().numpy()
    lead, counts = tuple(array.shape[: array.ndim - rank]), tuple(window.count for window in windows)
    places = _largest(values, windows, where=True)[1].reshape((*lead, *counts))
    if kind == "argmax":
        return xp.array(places, "places")
    planes = math.prod(lead)
    flat = array.reshape((planes, math.prod(window.size for window in windows)))
    chosen = flat[np.arange(planes)[:, None], places.reshape((planes, math.prod(counts)))]
    return chosen.reshape((*lead, *counts))


def _windows(
    space: tuple[int, ...], taps: tuple[int, ...], steps: tuple[int, ...], apart: tuple[int, ...],
    pads: tuple[tuple[int, int], ...], rounding: str,
) -> tuple[Window, ...]:  # fmt: skip
    reaches = tuple(map(sizes.reach, taps, apart))
    for axis, pair in enumerate(pads):
        if max(pair) >= reaches[axis]:
            raise OptionError(
                "pool-padding", padding=max(pair), size=reaches[axis], axis=axis, largest=reaches[axis] - 1
            )
    windows = tuple(
        Window(n, k, sizes.pooled_size(n, reach, s, pad, rounding).value, -pad[0], s, d)
        for n, k, reach, s, d, pad in zip(space, taps, reaches, steps, apart, pads, strict=True)
    )
    if rounding == "floor" or any(0 in (window.size, window.count) for window in windows):
        padded = tuple(n + before + after for n, (before, after) in zip(space, pads, strict=True))
        sizes.check_fit(padded, taps, apart)
    return windows


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
