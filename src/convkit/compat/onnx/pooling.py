"""MaxPool, AveragePool, LpPool: ``ck.pool``. Global pooling is a reduction, which NumPy does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convkit import verbs
from convkit.compat.onnx.operation import Array, Operation, Results, wide
from convkit.compat.onnx.windows import Windows, windows_of
from convkit.errors import by
from convkit.spec.sizes import pooled_size, reach


class _Pool(Operation):
    def windows(self, x: Array, attributes: dict[str, Any]) -> Windows:
        """The windows over ``x``."""
        if x.ndim < 3:
            raise self.wrong("rank", input=by(x.shape), weights=by(attributes["kernel_shape"]))
        names = ("kernel_shape", "strides", "dilations", "pads", "auto_pad")
        return windows_of(self, x.shape[2:], *(attributes.get(name) for name in names))  # type: ignore[arg-type]


class MaxPool(_Pool):
    """The largest value of each window and, for a second output, its place in the whole input."""

    def _run(self, x: Array, *, ceil_mode: int = 0, storage_order: int = 0, **attributes: Any) -> Results:
        windows = self.windows(x, attributes)
        options = {"ceil": bool(ceil_mode), **windows.options}
        if len(self.onnx_node.output) < 2 or not self.onnx_node.output[1]:
            return (verbs.pool(wide(x), windows.kernel, **options).astype(x.dtype, copy=False),)
        places = verbs.pool(wide(x), windows.kernel, kind="argmax", **options)
        flat = places.reshape((*x.shape[:2], -1))
        largest = np.take_along_axis(x.reshape((*x.shape[:2], -1)), flat, axis=2).reshape(places.shape)
        if storage_order:
            space = x.shape[2:]
            places = np.ravel_multi_index(np.unravel_index(places, space), space, order="F")
        first = np.arange(x.shape[0] * x.shape[1], dtype=np.int64) * math.prod(x.shape[2:])
        return largest, places + first.reshape((*x.shape[:2], *([1] * (x.ndim - 2))))


class AveragePool(_Pool):
    """The mean of each window, over its samples or over its padding as well."""

    def _run(self, x: Array, *, ceil_mode: int = 0, count_include_pad: int = 0, **attributes: Any) -> Results:
        windows = self.windows(x, attributes)
        mean = verbs.pool(wide(x), windows.kernel, kind="mean", ceil=bool(ceil_mode), **windows.options)
        if not count_include_pad and any(map(any, windows.padding)):
            padded, inside = _counts(x.shape[2:], windows, ceil_mode)
            mean *= (padded / np.maximum(inside, 1)).astype(mean.dtype)
        return (mean.astype(x.dtype, copy=False),)


class LpPool(_Pool):
    """The p-norm of each window."""

    def _run(self, x: Array, *, ceil_mode: int = 0, p: int = 2, **attributes: Any) -> Results:
        windows = self.windows(x, attributes)
        powers = np.abs(wide(x)) ** p
        mean = verbs.pool(powers, windows.kernel, kind="mean", ceil=bool(ceil_mode), **windows.options)
        padded, _ = _counts(x.shape[2:], windows, ceil_mode)
        norm = (mean * padded.astype(mean.dtype)) ** (1 / p)
        return (norm.astype(x.dtype, copy=False),)


class GlobalAveragePool(Operation):
    """The mean of each channel."""

    def _run(self, x: Array) -> Results:
        return (wide(x).mean(axis=tuple(range(2, x.ndim)), keepdims=True).astype(x.dtype, copy=False),)


class GlobalMaxPool(Operation):
    """The largest value of each channel."""

    def _run(self, x: Array) -> Results:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


def _counts(space: Sequence[int], windows: Windows, ceil_mode: int) -> tuple[Array, Array]:
    """How many samples each window has, those of the padding counted, and how many of them are the input's."""
    padded, inside = np.ones((), np.int64), np.ones((), np.int64)
    rounding = "ceil" if ceil_mode else "floor"
    rows = zip(space, windows.kernel, windows.stride, windows.dilation, windows.padding, strict=True)
    for n, k, s, d, (before, after) in rows:
        count = pooled_size(n, reach(k, d), s, (before, after), rounding).value
        places = np.arange(count)[:, None] * s - before + np.arange(k) * d
        padded = padded[..., None] * (places < n + after).sum(axis=1)
        inside = inside[..., None] * ((places >= 0) & (places < n)).sum(axis=1)
    return padded, inside
