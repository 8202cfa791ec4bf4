"""What the results must be, in float64 by NumPy alone, and how far a result may be from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.samples import Places, filtered_at, places_of
from convkit.errors import AccuracyError

SLACK = 64.0
"""Roundings of the largest possible sum that a correct result may be off by; a wrong index is off by far more."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The right numbers, and where in the results they stand.

    Attributes
    ----------
    values : tuple of ndarray
        One for each result; three for training: output, gradient of the input, gradient of the weights.
    places : tuple of ndarray, or None
        Where a filter's values stand, one array of indices an axis; None: the values are the whole result.
    """

    values: tuple[np.ndarray, ...]
    places: Places | None = None


def expected(problem: Problem) -> Truth:
    """The result in float64, of a large filter at its corners and at places drawn by chance.

    Integers are summed in int64. When training, the upstream gradient is the output itself, which needs no further
    array.
    """
    if problem.kind == "filter":
        places = places_of(problem)
        values = filtered_at(problem, places)
        whole = values.size == math.prod(problem.output)
        return Truth((values.reshape(problem.output),)) if whole else Truth((values,), places)
    x, k = (array.astype(np.float64) for array in problem.arrays())
    output = _layer(problem, x, k)
    if problem.direction == "forward":
        return Truth((output,))
    return Truth((output, *_gradients(problem, x, k, output)))


def check(
    problem: Problem, contender: str, results: tuple[np.ndarray, ...], truth: Truth, allowance: float = 0.0
) -> float:
    """The largest error as a part of the largest possible sum; refuse results that are not the problem's.

    Integers must be right. Whole results of sums that are not whole may be rounded either way, and by ``allowance``
    more.

    Raises
    ------
    AccuracyError
        ``accuracy.bench-wrong``: the contender computes something else.
    """
    worst = 0.0
    scales = _scales(problem, truth.values)
    for result, right, scale in zip(results, truth.values, scales, strict=True):
        shape = right.shape if truth.places is None else problem.output
        if result.shape != shape or result.dtype != problem.out_dtype:
            raise _wrong(problem, contender, "-", "-", result)
        found = result if truth.places is None else result[truth.places]
        error, allowed = _error(problem, found, right, scale, allowance)
        if not error <= allowed:
            raise _wrong(problem, contender, f"{error:.3g}", f"{allowed:.3g}", result)
        worst = max(worst, error / scale if scale else 0.0)
    return worst


def _error(
    problem: Problem, found: np.ndarray, right: np.ndarray, scale: float, allowance: float
) -> tuple[float, float]:
    if right.dtype.kind == "i":
        return float(np.count_nonzero(found != right)), 0.0
    if found.dtype.kind in "iu":
        # Rounding moves a value by up to a half; what it is off by beyond that is the error.
        low, high = np.iinfo(found.dtype).min, np.iinfo(found.dtype).max
        error = float(np.abs(found.astype(np.float64) - np.clip(right, low, high)).max(initial=0.0))
        eps = float(np.finfo(np.float32).eps)
        return max(0.0, error - 0.5), SLACK * eps * scale + allowance
    error = float(np.abs(found.astype(right.dtype) - right).max(initial=0.0))
    return error, SLACK * float(np.finfo(problem.dtype).eps) * scale


def _wrong(problem: Problem, contender: str, error: str, allowed: str, result: np.ndarray) -> AccuracyError:
    return AccuracyError(
        "bench-wrong",
        contender=contender,
        problem=problem.name,
        error=error,
        allowed=allowed,
        shape=result.shape,
        dtype=result.dtype,
    )


def _scales(problem: Problem, truth: tuple[np.ndarray, ...]) -> list[float]:
    """The largest possible sum behind each result: the largest factor times the sum of the others, at most."""
    arrays = problem.arrays()
    wide = np.float64
    largest = float(np.abs(arrays[0]).max(initial=0).astype(wide))
    k = np.abs(arrays[1]).astype(wide)
    if problem.kind == "filter":
        return [largest * float(k.sum())]
    scales = [largest * float(k.reshape(k.shape[0], -1).sum(axis=1).max())]
    if problem.direction == "training":
        upstream = np.abs(truth[0])
        columns = k.sum(axis=(0, *range(2, k.ndim))).max()
        terms = problem.output[0] * math.prod(problem.output[2:])
        scales += [float(upstream.max() * columns), float(upstream.max() * largest * math.sqrt(terms))]
    return scales


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
