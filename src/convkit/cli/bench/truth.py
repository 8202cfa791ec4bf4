"""What the results must be, in float64 by NumPy alone, and how far a result may be from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from convkit.cli.bench.layer_samples import sampled
from convkit.cli.bench.problems import Problem
from convkit.cli.bench.samples import Places, filtered_at, places_of
from convkit.errors import AccuracyError

SLACK = 64.0
"""Roundings of the largest possible sum that a correct result may be off by; a wrong index is off by far more."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The right numbers, and where in the result they stand.

    Attributes
    ----------
    values : ndarray
        The whole result, or some of its numbers.
    places : tuple of ndarray, or None
        Where they stand, one array of indices an axis; None: they are the whole result.
    """

    values: np.ndarray
    places: Places | None = None


def expected(problem: Problem) -> Truth:
    """The result in float64, of a large problem at its corners and at places drawn by chance.

    Integers are summed in int64.
    """
    if problem.kind == "filter":
        places = places_of(problem)
        values = filtered_at(problem, places)
    else:
        values, places = sampled(problem)
    whole = values.size == math.prod(problem.computed)
    return Truth(values.reshape(problem.computed)) if whole else Truth(values, places)


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
    (result,) = results
    right, at, scale = truth.values, truth.places, _scale(problem)
    if result.shape != problem.computed or result.dtype != problem.out_dtype:
        raise _wrong(problem, contender, "-", "-", result)
    error, allowed = _error(problem, result if at is None else result[at], right, scale, allowance)
    if not error <= allowed:
        raise _wrong(problem, contender, f"{error:.3g}", f"{allowed:.3g}", result)
    return error / scale if scale else 0.0


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


def _scale(problem: Problem) -> float:
    """The largest possible sum: the largest factor times the sum of the others, at most."""
    x, k = problem.arrays()
    largest = float(np.abs(x).max(initial=0).astype(np.float64))
    k = np.abs(k).astype(np.float64)
    if problem.kind == "filter":
        return largest * float(k.sum())
    over = {"conv": (1, 0), "transposed": (0, 1)}[problem.form]
    space = tuple(range(2, k.ndim))
    if problem.direction == "forward":
        return largest * float(k.sum(axis=(over[0], *space)).max())
    upstream = float(np.abs(problem.upstream()).max(initial=0))
    if problem.direction == "input-gradient":
        return upstream * float(k.sum(axis=(over[1], *space)).max())
    terms = problem.output[0] * math.prod((problem.output if problem.form == "conv" else problem.shape)[2:])
    return upstream * largest * math.sqrt(terms)
