"""SciPy: ``ndimage`` and ``signal``, whichever can do the problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.ways.way import Reach, Way, bytes_of, thinned

NDIMAGE_LIMIT = 1.5e9
"""Operations up to which ndimage's loops take part; beyond it they need seconds, others milliseconds."""

DIRECT_LIMIT = 1e8
"""The same for signal's loops, which are slower still."""

MODES = {"zero": "constant", "edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "grid-wrap"}
"""ndimage's names of what stands outside."""


def ways(problem: Problem) -> Iterator[Way]:
    """Both rooms' ways, transforms with all threads."""
    if problem.kind == "layer":
        return
    x, k = problem.arrays()
    reach = Reach.of(problem, k)
    yield from _images(problem, x, reach)
    if np.dtype(problem.dtype).kind in "fc":
        yield from _transforms(problem, x, reach)
    elif problem.dtype != "uint8":
        yield from _whole(problem, x, reach)


def _images(problem: Problem, x: np.ndarray, reach: Reach) -> Iterator[Way]:
    from scipy import ndimage

    work = min(problem.flops, problem.factored_flops)
    if work * problem.stride ** len(problem.taps) > NDIMAGE_LIMIT:
        return
    options: dict[str, Any] = {"mode": MODES[problem.boundary]}
    origin: Any = [gone - size // 2 for gone, size in zip(reach.before, reach.kernel.shape, strict=True)]
    # ndimage has no half floats, and cuts the fractions of bytes off: both get a wider type, and are rounded after it.
    half, byte = problem.dtype == "float16", problem.dtype == problem.out_dtype == "uint8"
    between = np.float32 if half or byte else problem.out_dtype
    kernel = reach.kernel.astype(np.float32) if half else reach.kernel
    target = np.empty(x.shape, between)
    keep = thinned(problem)

    def finished(filtered: Callable[..., Any]) -> Callable[[Any], Any]:
        def run(output: Any) -> Any:
            source = x.astype(np.float32) if half else x
            sums = filtered(source, output)
            sums = (target if sums is None else sums)[keep]
            return bytes_of(sums) if byte else sums.astype(np.float16) if half else sums

        return run

    def both(name: str, filtered: Callable[..., Any]) -> Iterator[Way]:
        run = finished(filtered)
        yield Way(name, lambda: run(between))
        yield Way(f"{name} output=", lambda: run(target))

    if problem.flops * problem.stride ** len(problem.taps) <= NDIMAGE_LIMIT:
        yield from both(
            "ndimage.correlate", lambda v, output: ndimage.correlate(v, kernel, output, origin=origin, **options)
        )
    if problem.values == "gaussian":
        radius = [taps // 2 for taps in problem.taps]
        yield from both(
            "ndimage.gaussian_filter",
            lambda v, output: ndimage.gaussian_filter(v, problem.sigma, output=output, radius=radius, **options),
        )
    elif problem.values == "box":
        size: Any = problem.taps
        yield from both(
            "ndimage.uniform_filter",
            lambda v, output: ndimage.uniform_filter(v, size, output=output, **options),
        )
    elif problem.values == "derivative":
        yield from both("ndimage.sobel", lambda v, output: ndimage.sobel(v, -1, output=output, **options))
    factors = problem.factors()
    if factors is not None and problem.values == "separable" and problem.dilation == 1:

        def passes(v: np.ndarray, output: Any) -> np.ndarray:
            for axis, factor in zip(problem.filter_axes, factors, strict=True):
                v = ndimage.correlate1d(v, factor, axis, output=output, **options)
            return v

        one_pass = finished(passes)
        yield Way("ndimage.correlate1d", lambda: one_pass(between))


def _transforms(problem: Problem, x: np.ndarray, reach: Reach) -> Iterator[Way]:
    from scipy import fft, signal

    from convkit.threads import num_threads

    flipped = np.ascontiguousarray(np.flip(reach.kernel).conj())
    half = problem.dtype == "float16"
    if half:
        flipped = flipped.astype(np.float32)
    whole = problem.boundary == "zero" and reach.centred
    axes = problem.filter_axes
    keep = thinned(problem)
    count = num_threads()

    def run(call: Callable[..., np.ndarray]) -> np.ndarray:
        source = x.astype(np.float32) if half else x
        with fft.set_workers(count):
            if whole:
                sums = call(source, flipped, "same", axes=axes)
            else:
                sums = call(reach.padded(source, problem.boundary), flipped, "valid", axes=axes)
        sums = sums[keep]
        return sums.astype(np.float16) if half else sums

    pad = "" if whole else "pad, "
    yield Way(f"{pad}fftconvolve", lambda: run(signal.fftconvolve))
    yield Way(f"{pad}oaconvolve", lambda: run(signal.oaconvolve))
    if problem.plain and whole and not half and problem.flops <= DIRECT_LIMIT and x.ndim == len(problem.taps):
        yield Way("correlate direct", lambda: signal.correlate(x, reach.kernel, "same", "direct"))


def _whole(problem: Problem, x: np.ndarray, reach: Reach) -> Iterator[Way]:
    """Integers: ``signal.convolve`` takes a transform where it is exact, and loops elsewhere."""
    from scipy import signal

    kind, keep = problem.out_dtype, thinned(problem)
    if problem.axes or problem.flops > 1.5e9:
        return
    flipped = np.ascontiguousarray(np.flip(reach.kernel)).astype(kind)

    def run() -> np.ndarray:
        source = x.astype(kind, copy=False)
        if problem.boundary == "zero" and reach.centred:
            sums = signal.convolve(source, flipped, "same")
        else:
            sums = signal.convolve(reach.padded(source, problem.boundary), flipped, "valid")
        return sums[keep]

    yield Way("convolve", run)
