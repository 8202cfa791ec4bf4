"""What the results must be, in float64 by NumPy alone, and how far a result may be from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.errors import AccuracyError

SLACK = 64.0
"""Roundings of the largest possible sum that a correct result may be off by; a wrong index is off by far more."""


def expected(problem: Problem) -> tuple[np.ndarray, ...]:
    """The result in float64; three for training: output, gradient of the input, gradient of the weights.

    When training, the upstream gradient is the output itself, which needs no further array.
    """
    x, k = (array.astype(np.float64) for array in problem.arrays())
    if problem.kind == "filter":
        return (_filtered(x, k),)
    output = _layer(problem, x, k)
    if problem.direction == "forward":
        return (output,)
    return output, *_gradients(problem, x, k, output)


def check(problem: Problem, contender: str, results: tuple[np.ndarray, ...], truth: tuple[np.ndarray, ...]) -> float:
    """The largest error as a part of the largest possible sum; refuse results that are not the problem's.

    Raises
    ------
    AccuracyError
        ``accuracy.bench-wrong``: the contender computes something else.
    """
    worst = 0.0
    scales = _scales(problem, truth)
    for result, right, scale in zip(results, truth, scales, strict=True):
        if result.shape != right.shape or result.dtype != problem.dtype:
            raise AccuracyError(
                "bench-wrong",
                contender=contender,
                problem=problem.name,
                error="-",
                allowed="-",
                shape=result.shape,
                dtype=result.dtype,
            )
        error = float(np.abs(result.astype(np.float64) - right).max(initial=0.0))
        if problem.dtype == "uint8":
            # Rounding moves a value by up to a half; what it is off by beyond that is the error.
            error, eps = 0.0 if error <= 0.5 else error - 0.5, float(np.finfo(np.float32).eps)
        else:
            eps = float(np.finfo(problem.dtype).eps)
        allowed = SLACK * eps * scale
        if not error <= allowed:
            raise AccuracyError(
                "bench-wrong",
                contender=contender,
                problem=problem.name,
                error=f"{error:.3g}",
                allowed=f"{allowed:.3g}",
                shape=result.shape,
                dtype=result.dtype,
            )
        worst = max(worst, error / scale if scale else 0.0)
    return worst


def _scales(problem: Problem, truth: tuple[np.ndarray, ...]) -> list[float]:
    """The largest possible sum behind each result: the largest factor times the sum of the others, at most."""
    x, k = (np.abs(array.astype(np.float64)) for array in problem.arrays())
    rows = k if problem.kind == "filter" else k.reshape(k.shape[0], -1)
    scales = [float(x.max() * rows.sum(axis=None if problem.kind == "filter" else 1).max())]
    if problem.direction == "training":
        upstream = np.abs(truth[0])
        columns = k.sum(axis=(0, *range(2, k.ndim))).max()
        terms = problem.output[0] * math.prod(problem.output[2:])
        scales += [float(upstream.max() * columns), float(upstream.max() * x.max() * math.sqrt(terms))]
    return scales


def _filtered(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Correlation, same size, zeros outside, anchor ``K//2``: by one large transform in float64."""
    sizes = [n + taps - 1 for n, taps in zip(x.shape, k.shape, strict=True)]
    axes = range(x.ndim)
    product = np.fft.rfftn(x, sizes, axes) * np.fft.rfftn(np.flip(k), sizes, axes)
    full = np.fft.irfftn(product, sizes, axes)
    starts = [taps - 1 - taps // 2 for taps in k.shape]
    return full[tuple(slice(start, start + n) for start, n in zip(starts, x.shape, strict=True))]


def _windows(problem: Problem) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each kernel position, with the samples of the padded input that meet it."""
    for place in itertools.product(*map(range, problem.taps)):
        yield (
            place,
            tuple(
                slice(first, first + (count - 1) * problem.stride + 1, problem.stride)
                for first, count in zip(place, problem.output[2:], strict=True)
            ),
        )


def _padded(problem: Problem, x: np.ndarray) -> np.ndarray:
    return np.pad(x, [(0, 0), (0, 0)] + [(problem.padding, problem.padding)] * len(problem.spatial))


def _layer(problem: Problem, x: np.ndarray, k: np.ndarray) -> np.ndarray:
    padded = _padded(problem, x)
    output = np.zeros(problem.output)
    for place, window in _windows(problem):
        for channels, outputs in _groups(problem):
            samples = padded[(slice(None), channels, *window)]
            weights = k[(outputs, slice(None), *place)]
            output[:, outputs] += np.moveaxis(np.tensordot(weights, samples, (1, 1)), 0, 1)
    return output


def _gradients(problem: Problem, x: np.ndarray, k: np.ndarray, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    padded = _padded(problem, x)
    into_input, into_weights = np.zeros_like(padded), np.zeros_like(k)
    others = [0, *range(2, upstream.ndim)]
    for place, window in _windows(problem):
        for channels, outputs in _groups(problem):
            samples = (slice(None), channels, *window)
            weights = (outputs, slice(None), *place)
            part = upstream[:, outputs]
            into_input[samples] += np.moveaxis(np.tensordot(k[weights], part, (0, 1)), 0, 1)
            into_weights[weights] = np.tensordot(part, padded[samples], (others, others))
    inside = [slice(problem.padding, problem.padding + size) for size in problem.spatial]
    return into_input[(slice(None), slice(None), *inside)], into_weights


def _groups(problem: Problem) -> Iterator[tuple[slice, slice]]:
    inputs, outputs = problem.kernel[1], problem.kernel[0] // problem.groups
    for group in range(problem.groups):
        yield slice(group * inputs, (group + 1) * inputs), slice(group * outputs, (group + 1) * outputs)
