"""A filter's definition at chosen outputs, by NumPy: every window gathered, every product summed in a wide type."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from convkit.cli.bench.problems import Problem

Places = tuple[np.ndarray, ...]

PRODUCTS = 6e6
"""Products that are formed for the check: all of a small problem, some of a large one."""

LEAST = 48
"""Places that are looked at, however long the kernel."""

BLOCK = 1 << 20
"""Products that are gathered at once."""


def places_of(problem: Problem) -> Places:
    """Every output of a small problem; of a large one its corners, and others drawn by chance, always the same."""
    count = math.prod(problem.output)
    room = max(LEAST, int(PRODUCTS // math.prod(problem.taps)))
    if count <= room:
        chosen = np.arange(count)
    else:
        ends = np.meshgrid(*[[0, size - 1] for size in problem.output], indexing="ij")
        corners = np.ravel_multi_index([end.ravel() for end in ends], problem.output)
        drawn = np.random.default_rng(7).integers(0, count, room - len(corners))
        chosen = np.unique(np.concatenate([corners, drawn]))
    return np.unravel_index(chosen, problem.output)


def filtered_at(problem: Problem, places: Places) -> np.ndarray:
    """``out[i] = sum_j v[i*stride + (j - K//2)*dilation] * conj(w[j])`` for each ``i`` of ``places``."""
    x, k = problem.arrays()
    wide = np.result_type(x.dtype, k.dtype, np.int64 if k.dtype.kind in "iu" else np.float64)
    weights = np.conj(k).astype(wide).reshape(problem.along)
    reaches = [_reached(problem, axis) for axis in range(x.ndim)]
    rank = x.ndim
    sums = np.empty(len(places[0]), wide)
    step = max(1, BLOCK // math.prod(problem.taps))
    for start in range(0, len(sums), step):
        part = slice(start, start + step)
        samples, inside = [], np.ones((), bool)
        for axis, reached in enumerate(reaches):
            along = reached(places[axis][part])
            along = along.reshape(len(along), *(-1 if a == axis else 1 for a in range(rank)))
            inside = inside & (along >= 0)
            samples.append(along)
        windows = np.where(inside, x[tuple(samples)], 0).astype(wide)
        sums[part] = (windows * weights).sum(axis=tuple(range(1, rank + 1)))
    return sums


def _reached(problem: Problem, axis: int) -> Callable[[np.ndarray], np.ndarray]:
    """For outputs along an axis the samples of their windows, by number; -1 stands outside, where zeros are."""
    size, taps = problem.shape[axis], problem.along[axis]
    stride, dilation = (problem.stride, problem.dilation) if axis in problem.filter_axes else (1, 1)
    before, after = (taps // 2) * dilation, (taps - 1 - taps // 2) * dilation
    if problem.boundary == "zero":
        numbers = np.pad(np.arange(size), (before, after), constant_values=-1)
    else:
        numbers = np.pad(np.arange(size), (before, after), mode=problem.boundary)  # type: ignore[call-overload]
    offsets = dilation * np.arange(taps)
    return lambda outputs: numbers[outputs[:, None] * stride + offsets]
