"""FFT: the whole extended input as one block, one product of spectra."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convkit.algorithms.support import spectra
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason
from convkit.planner.machine import Machine
from convkit.planner.problem import Problem

WORKSPACE = 1 << 30
"""Bytes a single transform may take; larger problems are for overlap-save."""


def transform_of(problem: Problem) -> spectra.Transform:
    """One block long enough that no used output wraps around."""
    real = not problem.compute_dtype.startswith("c")
    lengths = [spectra.good_size(max(window.span, window.reach), real) for window in problem.windows]
    return spectra.make_transform(lengths, problem.compute_dtype)


class WholeFft:
    """``out = ifft(fft(v) * conj(fft(w)))``, the outputs that do not wrap around, every ``stride``-th kept."""

    name = "fft"

    def applies(self, problem: Problem) -> Reason | None:
        reason = spectra.why_not(problem)
        if reason is not None:
            return reason
        needed = self._workspace(problem)
        return Reason("too-large", bytes=needed, limit=WORKSPACE) if needed > WORKSPACE else None

    def _workspace(self, problem: Problem) -> int:
        one = transform_of(problem).bytes(problem.compute_dtype)
        kernels = problem.groups * problem.in_channels * problem.out_channels
        return one * (2 * problem.in_channels + 3 + 2 * kernels)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        transform = transform_of(problem)
        cost = spectra.transform_cost(problem, machine, transform, 1, self._workspace(problem))
        # Its threads work on one transform together, on the lines along an axis.
        return replace(cost, seconds=cost.seconds / (2.0 if len(problem.windows) > 1 else 1.3))

    def bound(self, problem: Problem) -> ErrorBound:
        return spectra.transform_bound(problem, transform_of(problem))

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        return spectra.kernel_spectrum(problem, transform_of(problem), kernel)

    def run(self, problem: Problem, prepared: Any, x: Array, out: Array) -> None:
        box = tuple((0, window.count) for window in problem.windows)
        spectra.correlate_block(problem, transform_of(problem), prepared, x, out, box)


registry.register(WholeFft())
