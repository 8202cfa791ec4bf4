"""The phases of an upsampled axis: outputs whose windows meet the same phase of samples are an ordinary problem."""

from __future__ import annotations

import math

from convkit.spec.window import Window


def phases(window: Window) -> list[tuple[slice, slice, Window | None]]:
    """Split one axis: (its outputs, its kernel elements, the ordinary window between them) for each phase.

    Output ``i`` meets a sample with element ``j`` where ``i*stride + start + j*dilation`` is a multiple of ``up``.
    The window is None for outputs that meet only zeros.
    """
    common, step = math.gcd(window.stride, window.up), math.gcd(window.dilation, window.up)
    outputs, elements = window.up // common, window.up // step
    split: list[tuple[slice, slice, Window | None]] = []
    for r in range(min(outputs, window.count)):
        at = r * window.stride + window.start
        first = next(
            (j for j in range(min(elements, window.kernel)) if (at + j * window.dilation) % window.up == 0),
            None,
        )
        target = slice(r, None, outputs)
        if first is None:
            split.append((target, slice(0, 0), None))
            continue
        part = Window(
            size=window.size,
            kernel=len(range(first, window.kernel, elements)),
            count=len(range(r, window.count, outputs)),
            start=(at + first * window.dilation) // window.up,
            stride=window.stride // common,
            dilation=window.dilation // step,
            sides=window.sides,
        )
        split.append((target, slice(first, None, elements), part))
    return split
