"""NumPy: ``correlate``, along one axis."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.ways.way import Reach, Way

LIMIT = 6e9
"""Operations up to which sliding sums take part; beyond it they need seconds, transforms milliseconds."""


def ways(problem: Problem) -> Iterator[Way]:
    """Zeros outside by mode ``same``, everything else on a padded copy."""
    if problem.kind == "layer" or len(problem.shape) > 1 or problem.dtype == "uint8" or problem.flops > LIMIT:
        return
    x, k = problem.arrays()
    if problem.plain and not problem.result and len(k) <= len(x):
        yield Way("correlate", lambda: np.correlate(x, k, "same"))
        return
    reach = Reach.of(problem, k)
    kind, step = problem.out_dtype, problem.stride
    wide = reach.kernel.astype(kind)

    def run() -> np.ndarray:
        return np.correlate(reach.padded(x.astype(kind, copy=False), problem.boundary), wide, "valid")[::step]

    yield Way("pad, correlate", run)
