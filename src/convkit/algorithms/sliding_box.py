"""Large boxes over images: sums that slide, in numbers so much wider than the samples that what drifts is no matter."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import one_kernel
from convkit.algorithms.support.pass_programs import run_passes
from convkit.algorithms.support.passes import Passes, can_be_compiled, kernels_of, scratch, seconds_of, tiles
from convkit.codegen.library import Kernel
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, unit_roundoff
from convkit.planner.machine import Machine
from convkit.planner.problem import Problem
from convkit.planner.structure import factors_of

LEAST = 6
"""Elements along an axis from which a sliding sum may take less than a multiply-add for each."""


class SlidingBox:
    """``out[i, j] = w * sum v[i + a, j + b]`` over a box: what enters it is added, what leaves it subtracted.

    The sums of float32 samples are float64 and begin anew in every tile. A NaN or an infinity that has passed through
    one is still there in its last output, so that one look at each tile's last output finds it.
    """

    name = "sliding-box"

    def applies(self, problem: Problem) -> Reason | None:
        reason = one_kernel.why_not(problem)
        if reason is not None:
            return reason
        if problem.structure != "separable" or len(problem.windows) != 2 or len(problem.uniform) != 2:
            return Reason("not-uniform")
        if any(window.kernel < LEAST for window in problem.windows):
            return Reason("short-boxes", limit=LEAST)
        if any(window.stride > 1 or window.dilation > 1 for window in problem.windows):
            return Reason("strided")
        if problem.outputs * problem.taps == 0:
            return Reason("nothing-to-do")
        types = problem.input_dtype, problem.compute_dtype, problem.result_dtype or problem.compute_dtype
        if types != ("float32", "float32", "float32") or not can_be_compiled(problem):
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        work, seconds = seconds_of(problem, _PASSES, machine)
        moved = 4 * (math.prod(problem.input_shape) + math.prod(problem.output_shape))
        return Cost(work, moved, seconds, scratch(problem, _PASSES) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        """Bound by norms: two roundings of the result, and what sliding leaves behind in float64.

        A tile of ``area`` samples takes at most ``steps`` additions one after another, none of whose sums exceeds the
        sum of all magnitudes, at most ``sqrt(area)`` times their norm; the kernel's norm is ``w * sqrt(taps)``.
        """
        area, steps = _largest(problem)
        drift = 2 * steps * unit_roundoff("float64") * math.sqrt(area / problem.taps)
        return ErrorBound("norm", 3 * unit_roundoff("float32") + drift)

    def describe(self, problem: Problem) -> str:
        """The loop nests."""
        return ", ".join(kernel.name for kernel in self.kernels(problem))

    def kernels(self, problem: Problem) -> tuple[Kernel, ...]:
        """Those of its passes."""
        return kernels_of(problem, _PASSES)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        return _PASSES.weights(problem, factors_of(kernel[0, 0, 0]))

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> Literal["finite"] | None:
        run_passes(problem, _PASSES, prepared, x, out)
        rows, columns = _corners(problem)
        return "finite" if np.isfinite(out[..., rows, columns]).all() else None


_PASSES = Passes(("slide", "slide"))


@lru_cache(maxsize=256)
def _corners(problem: Problem) -> tuple[Array, Array]:
    """Row and column of the last output of every tile."""
    last = np.array([[hi - 1 for _, hi in tile] for tile, _ in tiles(problem, _PASSES)])
    return last[:, 0], last[:, 1]


@lru_cache(maxsize=256)
def _largest(problem: Problem) -> tuple[int, int]:
    """Samples of the largest tile with its halo, and additions that one of its sums goes through at most."""
    area = steps = 0
    for tile, _ in tiles(problem, _PASSES):
        spans = [hi - lo + window.kernel - 1 for (lo, hi), window in zip(tile, problem.windows, strict=True)]
        area, steps = max(area, math.prod(spans)), max(steps, 2 * sum(spans))
    return area, steps


registry.register(SlidingBox())
