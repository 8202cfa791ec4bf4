"""``tf.nn.conv2d`` and ``tf.nn.convolution`` as TensorFlow documents them, in plain loops: channels last, not flipped.

``out[b, i, o] = sum_j sum_c x[b, i*stride + j*dilation - before, c] * w[j, c, o]``; ``SAME`` gives ``ceil(n/stride)``
outputs and pads ``max((outputs-1)*stride + dilation*(k-1)+1 - n, 0)`` zeros, the odd one at the end.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np


def convolution(
    x: np.ndarray, w: np.ndarray, strides: Any = None, padding: Any = "VALID", dilations: Any = None
) -> np.ndarray:
    """``tf.nn.convolution(input, filters, strides, padding, dilations)``."""
    rank = x.ndim - 2
    strides, dilations = (_each(value, rank) for value in (strides, dilations))
    reaches = [d * (k - 1) + 1 for d, k in zip(dilations, w.shape[:rank], strict=True)]
    if padding == "SAME":
        totals = [
            max((-(-n // s) - 1) * s + reach - n, 0)
            for n, s, reach in zip(x.shape[1:-1], strides, reaches, strict=True)
        ]
        pads = [(total // 2, total - total // 2) for total in totals]
    else:
        pads = [(0, 0)] * rank if padding == "VALID" else [tuple(pair) for pair in padding[1:-1]]
    padded = np.pad(x, [(0, 0), *pads, (0, 0)])
    counts = [(n - reach) // s + 1 for n, reach, s in zip(padded.shape[1:-1], reaches, strides, strict=True)]
    out = np.zeros((len(x), *counts, w.shape[-1]))
    for i in product(*map(range, counts)):
        for j in product(*map(range, w.shape[:rank])):
            at = tuple(a * s + b * d for a, s, b, d in zip(i, strides, j, dilations, strict=True))
            out[(slice(None), *i)] += padded[(slice(None), *at)] @ w[j]
    return out


conv2d = convolution


def _each(value: Any, rank: int) -> list[int]:
    if value is None or isinstance(value, int):
        return [value or 1] * rank
    return list(value)[-rank - 1 : -1] if len(value) == rank + 2 else list(value)
