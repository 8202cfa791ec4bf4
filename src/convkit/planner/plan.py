"""Plan: the algorithm chosen for one problem, with its reasons, ready to run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np

from convkit.errors import AccuracyError
from convkit.planner import machine, nonfinite, registry, wisdom
from convkit.planner.algorithm import Algorithm, Alone, Array, Call, Cost, ErrorBound, Finishing, Reason, unit_roundoff
from convkit.planner.bands import Part
from convkit.planner.finishing import NOTHING, Operands, finish_apart, finish_in_place
from convkit.planner.halves import HALVES, widened
from convkit.planner.problem import Problem
from convkit.planner.report import PlanReport, Row
from convkit.planner.structure import outer
from convkit.spec.epilogue import Epilogue

Quick = Callable[[Array, Array, Array | None], Array | None]
"""From samples, kernel and, if there is one, the array for the result, to the result."""

MEASURED_CANDIDATES = 4

_plans: dict[tuple[Problem, str], Plan] = {}
_PLANS_KEPT = 4096


@dataclass(slots=True)
class Prepared:
    """A kernel made ready by a plan: what its algorithm needs, and the kernel itself for repairs."""

    kernel: Array
    inner: Any
    plan: Plan


class Plan:
    """One problem and the way it will be done.

    Attributes
    ----------
    problem : Problem
        What is computed.
    algorithm : Algorithm
        How.
    given : Problem
        What the algorithm is given: without the epilogue, if it leaves that to the plan.
    """

    __slots__ = ("algorithm", "given", "measured", "method", "problem", "why")

    def __init__(
        self, problem: Problem, algorithm: Algorithm, why: Reason, method: str, measured: dict[str, float]
    ) -> None:
        self.problem = problem
        self.algorithm = algorithm
        self.given = _given(algorithm, problem)
        self.method = method
        self.measured = measured
        self.why = why

    def pooled(self, sizes: tuple[int, ...]) -> Plan | None:
        """The same with the largest of windows of such sizes stored alone; None where the algorithm does not do that.

        What was prepared for the one serves the other.
        """
        epilogue = replace(self.problem.epilogue or Epilogue(), pool=sizes)
        problem = self.problem.derive(epilogue=epilogue)
        pools: Callable[[Problem], bool] | None = getattr(self.algorithm, "pools", None)
        able = pools is not None and pools(problem)
        return Plan(problem, self.algorithm, self.why, self.method, {}) if able else None

    def in_rows(self, prepared: Prepared, bias: Array | None) -> Part | None:
        """The layer as one that can be done a few rows at a time; None where it cannot."""
        plan = prepared.plan
        offered = getattr(plan.algorithm, "in_rows", None)
        if offered is None or plan.algorithm is not self.algorithm or prepared.kernel.size == 0:
            return None
        return offered(self.problem, prepared.inner, bias) if self.given is self.problem else None

    @property
    def choice(self) -> str:
        """Name of the algorithm taken."""
        return self.algorithm.name

    @property
    def error_bound(self) -> ErrorBound:
        """How wrong the result can be; with an epilogue, what the activation is taken of."""
        return self._with_addends(self.algorithm.bound(self.given))

    def _with_addends(self, bound: ErrorBound) -> ErrorBound:
        """The bound where a bias or another array counts among the terms: each is added with one rounding."""
        epilogue = self.problem.epilogue
        if epilogue is None or not epilogue.addends or bound.kind == "exact":
            return bound
        grown = math.expm1(epilogue.addends * math.log1p(unit_roundoff(self.problem.compute_dtype)))
        return replace(bound, factor=bound.factor + (1 + bound.factor) * grown)

    @property
    def workspace(self) -> int:
        """Bytes allocated beyond input and output, at most."""
        return self.algorithm.cost(self.given, machine.current()).workspace

    @property
    def seconds(self) -> float:
        """Predicted time."""
        return self.algorithm.cost(self.given, machine.current()).seconds

    @property
    def stored(self) -> str:
        """The type that `run` writes: the result's, if the algorithm stores it at once, otherwise the sums'."""
        stores = getattr(self.algorithm, "stores", None)
        return self.problem.compute_dtype if stores is None else stores(self.given)

    def report(self) -> PlanReport:
        """Every algorithm with its cost and bound, or the sentence that says why it was left out."""
        return PlanReport(self.problem, self.choice, self.why, tuple(_rows(self.problem, self.measured)))

    def quick(self, order: Literal["convolution", "correlation"]) -> Quick | None:
        """The bare arithmetic of one sample so small that all else is overhead, where the algorithm offers it.

        A function of samples and kernel, both with the convolved axes alone, the kernel as it is laid down
        (``correlation``) or reversed (``convolution``). It gives None for arrays that need more care.
        """
        offered = getattr(self.algorithm, "quick", None)
        return None if offered is None else offered(self.given, order)

    def prepare(self, kernel: Array) -> Prepared:
        """Make a kernel (``problem.kernel_shape``) ready; the result may be used for many inputs."""
        plan = self
        problem = self.problem
        if kernel.dtype.name in HALVES and kernel.dtype.name not in getattr(self.algorithm, "kernel_types", ()):
            kernel = widened(kernel).astype(problem.compute_dtype, copy=False)
        if not nonfinite.seen_later(problem) and not nonfinite.tame(problem, kernel):
            # Transforms and matrix products would spread one infinite element over everything.
            safe = nonfinite.SAFE_BY_PHASES if problem.upsampled else nonfinite.SAFE
            plan = plan_for(self.problem.derive(structure="dense", rank=0, uniform=(), smooth=()), safe)
        return Prepared(kernel, plan.algorithm.prepare(plan.given, kernel), plan)

    def alone(self, prepared: Prepared) -> Alone | None:
        """`run` for one sample with the convolved axes alone, all else worked out, where the algorithm offers it.

        A function of samples and, if there is one, the array for the result, of the type `stored`. It gives None for
        arrays that need more care.
        """
        plan = prepared.plan
        offered = getattr(plan.algorithm, "alone", None)
        return None if offered is None else offered(plan.given, prepared.inner)

    def calls(self, prepared: Prepared, x: Array, out: Array, operands: Operands = NOTHING) -> Sequence[Call] | None:
        """All that `run` would do, as calls of programs on these arrays, which may be made any number of times.

        None where it would do more. What calls find out about infinite numbers is for the caller to look at: where a
        status is not zero, `run` is to be asked instead.
        """
        plan = prepared.plan
        offered = getattr(plan.algorithm, "calls", None)
        if offered is None or prepared.kernel.size == 0 or out.size == 0 or plan.given is not plan.problem:
            return None
        found: Sequence[Call] | None = offered(plan.given, prepared.inner, x, out, operands)
        told = plan.algorithm.name not in nonfinite.SPREADING or all(call.status >= 0 for call in found or ())
        return found if told else None

    def run(self, prepared: Prepared, x: Array, out: Array, operands: Operands = NOTHING) -> None:
        """Write the result for ``x`` into ``out``; NaN and Inf touch only the outputs whose window holds them.

        ``operands`` are those of the problem's epilogue.
        """
        plan, problem = prepared.plan, prepared.plan.problem
        if out.size == 0:
            return
        epilogue = problem.epilogue
        # Infinite and overflowing sums are results like others; nothing is warned of that the result does not show.
        with np.errstate(over="ignore", invalid="ignore"):
            if prepared.kernel.size == 0:  # a sum over no channels
                finish_apart(epilogue, problem.compute_dtype, out, operands, lambda sums: sums.fill(0))
            elif epilogue is not None and plan.given is problem:
                finishing = cast("Finishing", plan.algorithm)
                seen = finishing.run(problem, prepared.inner, x, out, operands)
                if plan.algorithm.name not in nonfinite.SPREADING or seen == "finite":
                    return
                # What an activation has made of infinite sums does not tell where they were.
                plan._repair(prepared, x, out, operands)
            else:
                seen = plan.algorithm.run(plan.given, prepared.inner, x, out)
                if seen != "finite" and nonfinite.unsettled(plan.given, plan.choice, prepared.kernel, out):
                    plan._repair(prepared, x, out, operands)
                elif epilogue is not None:
                    finish_in_place(epilogue, out, operands)

    def _repair(self, prepared: Prepared, x: Array, out: Array, operands: Operands) -> None:
        """Do it again for samples that are not finite."""
        problem = self.problem
        finish_apart(
            problem.epilogue, problem.compute_dtype, out, operands,
            lambda sums: nonfinite.repair(problem.sums, prepared.kernel, x, sums, plan_for),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"Plan({self.choice}: {self.problem})"


def _given(algorithm: Algorithm, problem: Problem) -> Problem:
    """The problem as the algorithm is given it: epilogues are for those that say so."""
    if problem.epilogue is None:
        return problem
    finishes: Callable[[Problem], bool] | None = getattr(algorithm, "finishes", None)
    return problem if finishes is not None and finishes(problem) else problem.plain


def _rows(problem: Problem, measured: dict[str, float]) -> list[Row]:
    rows: list[Row] = []
    model, whole = machine.current(), problem
    for algorithm in registry.algorithms():
        problem = _given(algorithm, whole)
        why_not = algorithm.applies(problem)
        if why_not is not None:
            rows.append(Row(algorithm.name, why_not))
            continue
        bound = algorithm.bound(problem)
        if not bound.meets(problem.accuracy):
            why_not = Reason("accuracy", accuracy=problem.accuracy, bound=bound)
        cost = _with_conversion(problem, algorithm, algorithm.cost(problem, model))
        if problem is not whole:
            cost = replace(cost, seconds=cost.seconds + _finishing(whole, model))
        describe: Callable[[Problem], str | None] | None = getattr(algorithm, "describe", None)
        schedule = None if describe is None else describe(problem)
        rows.append(Row(algorithm.name, why_not, cost, bound, measured.get(algorithm.name), schedule))
    return rows


CONVERSION = {"float16": 4e-9}
"""Seconds that NumPy takes to bring one sum into the result's type, where that is much."""

CONVERSION_CALLS = 15
"""Calls of NumPy that it takes beside: rounding, limits, the new array."""


def _with_conversion(problem: Problem, algorithm: Algorithm, cost: Cost) -> Cost:
    """The cost, and that of storing the result in its type where the algorithm does not do so."""
    stores = getattr(algorithm, "stores", None)
    if not problem.result_dtype or (stores is not None and stores(problem) == problem.result_dtype):
        return cost
    outputs = problem.batch * problem.groups * problem.out_channels * problem.outputs
    seconds = CONVERSION.get(problem.result_dtype, 1.5e-9) * outputs + CONVERSION_CALLS * machine.current().call
    return replace(cost, seconds=cost.seconds + seconds)


def _finishing(problem: Problem, model: machine.Machine) -> float:
    """Seconds of an epilogue that is done afterwards: sums are read and written again."""
    outputs = math.prod(problem.output_shape)
    moved = (
        np.dtype(problem.compute_dtype).itemsize
        * outputs
        * (2 + (problem.epilogue is not None and problem.epilogue.add))
    )
    return moved / model.bandwidth + model.call


def plan_for(problem: Problem, method: str = "auto") -> Plan:
    """The plan for ``problem``: remembered if it was asked for before, otherwise chosen now.

    Parameters
    ----------
    problem : Problem
        What is computed.
    method : str
        ``"auto"``: the cheapest prediction among the algorithms accurate enough, or the winner that wisdom recalls.
        ``"measure"``: time the best few and remember. Or the name of an algorithm.

    Raises
    ------
    AccuracyError
        ``accuracy.none-accurate-enough``, ``accuracy.method-does-not-apply``.
    """
    known = _plans.get((problem, method))
    if known is not None:
        return known
    plan = _choose(problem, method)
    if len(_plans) >= _PLANS_KEPT:
        _plans.clear()
    _plans[problem, method] = plan
    return plan


def forget_plans() -> None:
    """Drop every remembered plan, so that later calls choose afresh."""
    _plans.clear()


def _choose(problem: Problem, method: str) -> Plan:
    if problem.batch != 1 and problem.batch_of == "samples":
        # A batch is done as its samples are, so that it does not change their bits.
        one = plan_for(problem.derive(batch=1), method)
        return Plan(problem, one.algorithm, one.why, method, {})
    if method not in ("auto", "measure"):
        algorithm = registry.algorithm(method)
        given = _given(algorithm, problem)
        why_not = algorithm.applies(given)
        if why_not is None and not algorithm.bound(given).meets(problem.accuracy):
            why_not = Reason("accuracy", accuracy=problem.accuracy, bound=algorithm.bound(given))
        if why_not is not None:
            raise AccuracyError("method-does-not-apply", method=method, why=why_not, others=_usable(problem))
        return Plan(problem, algorithm, Reason("asked"), method, {})
    candidates = [row for row in _rows(problem, {}) if row.why_not is None and row.cost is not None]
    if not candidates:
        raise _not_accurate_enough(problem)
    candidates.sort(key=lambda row: row.cost.seconds if row.cost else 0.0)
    sums = problem.plain  # an epilogue takes every algorithm about as long
    timings = wisdom.recall(sums)
    names = {row.algorithm for row in candidates}
    if method == "measure" and not timings:
        timings = _measure(sums, [row.algorithm for row in candidates[:MEASURED_CANDIDATES]])
        wisdom.remember(sums, timings)
    timings = {name: seconds for name, seconds in timings.items() if name in names}
    if timings:
        best = min(timings, key=lambda name: timings[name])
        return Plan(problem, registry.algorithm(best), Reason("measured"), method, timings)
    return Plan(problem, registry.algorithm(candidates[0].algorithm), Reason("cheapest"), method, {})


_WIDER = {
    "float32": "float64",
    "float64": "longdouble",
    "complex64": "complex128",
    "complex128": "clongdouble",
}


def _not_accurate_enough(problem: Problem) -> AccuracyError:
    best = min(row.bound.factor for row in _rows(problem, {}) if row.bound is not None)
    return AccuracyError(
        "none-accurate-enough", accuracy=problem.accuracy, dtype=problem.compute_dtype, best=f"{1.01 * best:.2e}",
        wider=_WIDER.get(problem.compute_dtype, problem.compute_dtype),
    )  # fmt: skip


def _usable(problem: Problem) -> str:
    rows = _rows(problem, {})
    return ", ".join(row.algorithm for row in rows if row.why_not is None) or "-"


def _measure(problem: Problem, names: list[str]) -> dict[str, float]:
    """Best of a few interleaved runs of each algorithm on random data of the problem's shape."""
    source = np.random.default_rng(0)
    x = _random(source, problem.input_shape, problem.input_dtype)
    kernel = _random(source, problem.kernel_shape, problem.kernel_dtype)
    if problem.structure != "dense" or problem.uniform:  # a sum of as many outer products as the problem says
        kernel = np.zeros(problem.kernel_shape, problem.kernel_dtype)
        for _ in range(max(1, problem.rank)):
            vectors = [_random(source, (window.kernel,), problem.kernel_dtype) for window in problem.windows]
            kernel += outer([np.full_like(v, v[0]) if i in problem.uniform else v for i, v in enumerate(vectors)])
    plans = {name: Plan(problem, registry.algorithm(name), Reason("asked"), name, {}) for name in names}
    ready = {name: plan.prepare(kernel) for name, plan in plans.items()}
    outs = {stored: np.empty(problem.output_shape, stored) for stored in {one.plan.stored for one in ready.values()}}
    best = dict.fromkeys(names, float("inf"))
    for _ in range(3):
        for name, plan in plans.items():
            start = time.perf_counter()
            plan.run(ready[name], x, outs[ready[name].plan.stored])
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _random(source: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    kind = np.dtype(dtype)
    if kind.kind in "iub":
        return source.integers(0, 2, shape).astype(kind)
    values = source.standard_normal(shape)
    return (values + 1j * source.standard_normal(shape) if kind.kind == "c" else values).astype(kind)
