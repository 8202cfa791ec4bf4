"""OpenCV: ``filter2D`` and its special filters, with and without ``dst``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.ways.way import Reach, Results, Way, thinned

DEPTHS = {"uint8", "float16", "float32", "float64"}


def ways(problem: Problem) -> Iterator[Way]:
    """Rows, images, and images with interleaved channels."""
    if problem.kind == "layer" or problem.dtype not in DEPTHS:
        return
    if len(problem.taps) > 2 or problem.axes not in ((), (0, 1)) or problem.out_dtype == "int64":
        return
    import cv2

    x, k = problem.arrays()
    reach = Reach.of(problem, k)
    half = problem.dtype == "float16"
    depth = cv2.CV_16S if problem.out_dtype == "int16" else -1
    kernel_kind = np.float64 if problem.dtype == "float64" else np.float32
    kernel = np.atleast_2d(reach.kernel.reshape(list(reach.kernel.shape[:2])).astype(kernel_kind))
    before, after = (sides if len(sides) > 1 else (0, *sides) for sides in (reach.before, reach.after))
    wrap = problem.boundary == "wrap"
    border = {
        "zero": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT_101,
        "symmetric": cv2.BORDER_REFLECT, "wrap": cv2.BORDER_CONSTANT,
    }[problem.boundary]  # fmt: skip
    kept = thinned(problem)
    ready = np.atleast_2d(x) if problem.layout == "contiguous" and not half else None
    rows, columns = (1, *problem.shape)[-2:] if len(problem.shape) < 3 else problem.shape[:2]

    def source() -> np.ndarray:
        if ready is not None and not wrap:
            return ready
        v = np.atleast_2d(np.ascontiguousarray(x, np.float32 if half else None))
        if wrap:  # which no filter of OpenCV has
            v = cv2.copyMakeBorder(v, before[0], after[0], before[1], after[1], cv2.BORDER_WRAP)
        return v

    def finished(filtered: np.ndarray) -> np.ndarray:
        if wrap:
            filtered = filtered[before[0] : before[0] + rows, before[1] : before[1] + columns]
        result = np.asarray(filtered).reshape(problem.shape)[kept]
        return result.astype(np.float16) if half else result

    def read(value: Any) -> Results:
        return (np.asarray(value),)

    def both(name: str, call: Callable[..., Any], allowance: float = 0.0) -> Iterator[Way]:
        yield Way(name, lambda: finished(call(source())), read, allowance)
        if not half and not wrap:
            first = np.asarray(source())
            target = np.empty(first.shape, problem.out_dtype)
            yield Way(f"{name} dst", lambda: finished(call(source(), dst=target)), read, allowance)

    anchor = (before[1], before[0])
    yield from both(
        "filter2D", lambda v, **dst: cv2.filter2D(v, depth, kernel, anchor=anchor, borderType=border, **dst)
    )
    yield from _special(problem, both, depth, border, kernel_kind)


def _special(
    problem: Problem, both: Callable[..., Iterator[Way]], depth: int, border: int, kernel_kind: Any
) -> Iterator[Way]:
    import cv2

    factors = problem.factors()
    if factors is None or problem.dilation > 1 or len(problem.taps) != 2:
        return
    down, along = (factor.astype(kernel_kind) for factor in factors)
    size = (problem.taps[1], problem.taps[0])
    # Bytes are smoothed by OpenCV with weights of eight bits; with long kernels that gives up to two levels.
    coarse = 2.0 if problem.dtype == "uint8" else 0.0
    yield from both(
        "sepFilter2D",
        lambda v, **dst: cv2.sepFilter2D(v, depth, along, down, borderType=border, **dst),
        0.0 if problem.out_dtype == "int16" else coarse,
    )
    if problem.values == "gaussian":
        yield from both(
            "GaussianBlur",
            lambda v, **dst: cv2.GaussianBlur(v, size, problem.sigma, borderType=border, **dst),
            coarse,
        )
    elif problem.values == "box":
        yield from both("blur", lambda v, **dst: cv2.blur(v, size, borderType=border, **dst))
    elif problem.values == "derivative":
        yield from both("Sobel", lambda v, **dst: cv2.Sobel(v, depth, 1, 0, ksize=3, borderType=border, **dst))
