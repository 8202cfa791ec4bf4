"""The bound: how fast a machine with these rates could possibly do a problem."""

from __future__ import annotations

from dataclasses import asdict

from convkit.cli.bench.problems import Problem
from convkit.planner import machine as model
from convkit.planner.machine import Machine

TRANSFORM_SHARE = 0.4
"""The part of the peak that the best Fourier transforms in cache reach."""

MEASUREMENTS = 5
"""How often the machine's rates are measured: whatever else it does makes them worse, never better."""


def steady_rates() -> Machine:
    """The best of several measurements of each rate."""
    found = [model.measure() for _ in range(MEASUREMENTS)]
    best = {name: max(getattr(one, name) for one in found) for name in asdict(found[0])}
    return Machine(**{**best, "call": min(one.call for one in found)})


def bound(problem: Problem, machine: Machine) -> float:
    """The least seconds that the machine's rates allow.

    ``max(bytes / bandwidth, min(flops / peak, transform flops / (0.4 * peak)))``, where a kernel with known factors is
    counted by its factors. float64 and complex128 have half of float32's peak, int64 a quarter; bytes and half floats
    are multiplied as float32. The rates are measured on NumPy's matrix product and copy, so a method that does better
    than these shows a fraction above 1.

    Examples
    --------
    >>> machine = Machine(matrix=1e11, bandwidth=1e10)
    >>> bound(Problem("filters", "filter", (1000, 1000), (3, 3)), machine)
    0.0008000036
    """
    peak = machine.matrix / {"float64": 2.0, "complex128": 2.0, "int64": 4.0}.get(problem.dtype, 1.0)
    work = min(problem.flops, problem.factored_flops, problem.transform_flops / TRANSFORM_SHARE) / peak
    return max(problem.bytes / machine.bandwidth, work)
