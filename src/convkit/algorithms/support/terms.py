"""Sums formed term by term, each with the same operations however many are asked for at once."""

from __future__ import annotations

import numpy as np

from convkit.planner import nonfinite, registry
from convkit.planner.algorithm import Array
from convkit.planner.plan import Plan, Prepared, plan_for
from convkit.planner.problem import Problem
from convkit.spec.window import Window

COMPILED = "compiled"

MOST = 1 << 15
"""Sums asked for at once, at most, to make compiled loops worth their call."""


class Terms:
    """``out[r, i] = sum_j x[r, i + j*dilation] * w[j]``, its bits independent of i, r, and of how many are summed.

    Compiled loops do it where they can; they are given at least so many outputs as they ask for, and more than wanted
    so that few shapes occur. Complex sums are formed from real and imaginary parts.
    """

    def __init__(self, weights: Array, dilation: int) -> None:
        self._weights, self._dilation = weights, dilation
        self.reach = (weights.size - 1) * dilation + 1 if weights.size else 0
        real = np.real(weights).dtype
        self._least = self._least_compiled(real.name)
        split = weights.dtype.kind == "c" and self._least > 0
        self._parts = [
            np.ascontiguousarray(part) for part in ((np.real(weights), np.imag(weights)) if split else (weights,))
        ]
        self._plans: dict[tuple[int, int], tuple[Plan, list[Prepared]]] = {}

    def _least_compiled(self, dtype: str) -> int:
        """How few outputs a compiled loop takes; 0 if it takes none at all."""
        if not self._weights.size or not nonfinite.all_finite(self._weights):
            return 0
        compiled = registry.algorithm(COMPILED)
        count = 16
        while count <= MOST:
            if compiled.applies(self._problem(1, count, dtype)) is None:
                return count
            count *= 2
        return 0

    def _problem(self, rows: int, count: int, dtype: str) -> Problem:
        window = Window(count - 1 + self.reach, self._weights.size, count, 0, 1, self._dilation)
        return Problem((window,), batch=rows, input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype)

    def plan(self, rows: int, count: int) -> Plan:
        """How ``count`` outputs of ``rows`` rows are summed."""
        return self._ready(rows * len(self._parts), self._asked(count))[0]

    def _asked(self, count: int) -> int:
        """As many as are summed for ``count``."""
        return max(self._least, 1 << (count - 1).bit_length()) if self._least else count

    def columns(self, count: int) -> int:
        """Samples of a row that are read, at most, for ``count`` outputs or fewer."""
        return self._asked(count) - 1 + self.reach

    def _ready(self, rows: int, count: int) -> tuple[Plan, list[Prepared]]:
        made = self._plans.get((rows, count))
        if made is None:
            problem = self._problem(rows, count, self._parts[0].dtype.name)
            plan = plan_for(problem, COMPILED if self._least else nonfinite.SAFE)
            prepared = [plan.prepare(part[None, None, None]) for part in self._parts]
            made = self._plans[rows, count] = plan, prepared
        return made

    def run(self, samples: Array, count: int) -> Array:
        """The first ``count`` sums of each row of ``samples``; what lies beyond their windows does not matter."""
        rows = samples.shape[0]
        if not self._weights.size:
            return np.zeros((rows, count), self._weights.dtype)
        asked = self._asked(count)
        wide = asked - 1 + self.reach
        if samples.shape[1] < wide:
            samples = np.concatenate([samples, np.zeros((rows, wide - samples.shape[1]), samples.dtype)], axis=1)
        samples = samples[:, :wide]
        if len(self._parts) == 2:
            samples = np.concatenate([np.real(samples), np.imag(samples)])
        plan, prepared = self._ready(samples.shape[0], asked)
        x = samples[:, None, None]
        sums = []
        for kernel in prepared:
            out = np.empty(plan.problem.output_shape, plan.problem.compute_dtype)
            plan.run(kernel, x, out)
            sums.append(out[:, 0, 0, :count])
        if len(sums) == 1:
            return sums[0]
        by_real, by_imag = sums
        result = np.empty((rows, count), self._weights.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(by_real[:rows], by_imag[rows:], out=np.real(result))
            np.add(by_imag[:rows], by_real[rows:], out=np.imag(result))
        return result
