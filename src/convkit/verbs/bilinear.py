"""The bilinear operator behind every verb, and its two adjoints.

With ``T(x, k, g) = sum g * F(x, k)``, the operator ``F``, the gradient of the input ``X(g, k)`` and the gradient of
the kernel ``K(g, x)`` are the derivatives of ``T`` by its three arguments. Each is linear in both of its own, and
differentiating one gives the other two again: nothing else is needed for gradients of any order.

Arrays have the shapes of `convkit.planner.Problem`: x (batch, groups, in, *size), k (groups, out, in, *kernel) in the
order in which it is laid down, g (batch, groups, out, *count).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from convkit import memory
from convkit.planner.algorithm import Array
from convkit.planner.exponentials import TYPICAL, smoothness_of
from convkit.planner.finishing import NOTHING, Operands
from convkit.planner.halves import HALVES, widened
from convkit.planner.plan import Plan, Prepared, plan_for
from convkit.planner.problem import Problem
from convkit.planner.structure import structure_of, uniform_axes
from convkit.spec.boundary import OUTSIDE, index_map
from convkit.spec.window import Window

Role = Literal["forward", "input_gradient", "kernel_gradient"]

FACTORED = ("separable", "low-rank", "box", "byte-box", "byte-separable", "sliding-box", "recursive")
"""Methods that depend on the kernel's values."""

WORTH_A_LOOK = 20e-6
"""Seconds that a factored kernel must promise to save before the kernel's values are examined."""


@dataclass(frozen=True)
class Bilinear:
    """One geometry and what it is computed with.

    Attributes
    ----------
    problem : Problem
        The forward problem.
    method : str
        As in ``ck.convolve``.
    """

    problem: Problem
    method: str = "auto"

    @property
    def linear(self) -> Bilinear:
        """The part that is linear in the input: without what ``fill`` adds."""
        return replace(self, problem=self.problem.derive(fill=0)) if self.problem.fill else self

    def plan(self, kernel: Array | None = None) -> Plan:
        """The forward plan; with the kernel at hand, its values may allow a cheaper one."""
        problem = self.problem
        if kernel is not None and self.worth_a_look:
            structure, rank = structure_of(kernel[0, 0, 0], low_rank=self.method == "low-rank")
            problem = problem.derive(structure=structure, rank=rank, uniform=uniform_axes(kernel[0, 0, 0]))
            if isinstance(problem.accuracy, float) and self.worth_a_fit:
                problem = problem.derive(smooth=smoothness_of(kernel[0, 0, 0], problem.accuracy))
        return plan_for(problem, self.method)

    @cached_property
    def worth_a_look(self) -> bool:
        """Whether one outer product would be enough cheaper to make up for finding out."""
        problem = self.problem
        if not problem.single or problem.exact:
            return False
        if self.method in FACTORED:
            return True
        if self.method not in ("auto", "measure") or problem.upsampled:
            return False
        axes = tuple(range(len(problem.windows)))
        factored = plan_for(problem.derive(structure="separable", rank=1, uniform=axes))
        seconds = factored.seconds
        if isinstance(problem.accuracy, float):
            seconds = min(seconds, self._smooth.seconds)
        return seconds + WORTH_A_LOOK < plan_for(problem).seconds

    @cached_property
    def worth_a_fit(self) -> bool:
        """Whether a sum of few oscillations, if the kernel is one, would be the cheapest way."""
        if self.method not in ("auto", "measure"):
            return self.method == "recursive"
        return self.worth_a_look and self._smooth.choice == "recursive"

    @cached_property
    def _smooth(self) -> Plan:
        """The plan of a kernel like a Gaussian."""
        rank = len(self.problem.windows)
        known = self.problem.derive(structure="separable" if rank > 1 else "dense", rank=int(rank > 1))
        return plan_for(known.derive(smooth=(TYPICAL,) * rank))

    def forward(
        self, x: Array, k: Array, out: Array | None = None, bias: Array | None = None, add: Array | None = None
    ) -> Array:
        """``F(x, k)``, and what the problem's epilogue makes of it: ``bias`` (groups, out), ``add`` as the result."""
        if x.dtype.name != self.problem.input_dtype:  # bfloat16 that was widened on the way
            problem = self.problem.derive(input_dtype=x.dtype.name)
            return replace(self, problem=problem).forward(x, k, out, bias, add)
        plan = self.plan(k)
        operands = Operands(None if bias is None else np.ascontiguousarray(bias), add)
        return placed(run(plan, plan.prepare(k), x, out, operands), out)

    def input_gradient(self, g: Array, k: Array, out: Array | None = None) -> Array:
        """``X(g, k)[p] = sum of g[i] * k[j]`` over the pairs whose product the forward operator took with ``x[p]``.

        ``out``, here and below, may be of the type of the sums or of the result.
        """
        problem, k = self.problem, widened(k) if k.dtype.name in HALVES else k
        flipped = k[(...,) + (slice(None, None, -1),) * len(problem.windows)].swapaxes(1, 2)
        plan = plan_for(self._adjoint("input_gradient", g.dtype, k.dtype, out), self._method_of_adjoint())
        ready = plan.prepare(flipped)
        if all(side in ("zero", "constant") for window in problem.windows for side in window.sides):
            return placed(run(plan, ready, g, out), out)
        with np.errstate(over="ignore", invalid="ignore"):  # as in a plan's run
            return placed(fold(run(plan, ready, g), problem.windows), out)

    def kernel_gradient(self, g: Array, x: Array, out: Array | None = None) -> Array:
        """``K(g, x)[j] = sum of g[i] * v[i*stride + start + j*dilation]``: the batch takes the part of the channels."""
        problem = self.problem
        plan = plan_for(self._adjoint("kernel_gradient", x.dtype, g.dtype, None), self._method_of_adjoint())
        space = range(3, g.ndim)
        kernel = g.transpose(1, 2, 0, *space)  # (batch, groups, out, ...) -> (groups, out, batch, ...)
        ready = plan.prepare(kernel)
        stored = ready.plan.stored
        gradient = out if out is not None and out.dtype == stored else memory.empty(problem.kernel_shape, stored)
        # (groups, out, in, ...) -> (in, groups, out, ...)
        run(plan, ready, x.swapaxes(0, 2), gradient.transpose(2, 0, 1, *space))
        return placed(gradient, out)

    def _adjoint(self, role: Role, x: np.dtype[Any], k: np.dtype[Any], out: Array | None) -> Problem:
        """The problem that an adjoint is, for arrays of these types in the places of samples, kernel and result."""
        half = out is not None and out.dtype != self.problem.compute_dtype
        known = self._adjoints.get((role, x, k, half))
        if known is not None:
            return known
        result = self.problem.result_dtype if half else ""
        problem, types = self.problem, {"input_dtype": x.name, "kernel_dtype": k.name, "result_dtype": result}
        if role == "input_gradient":
            found = problem.derive(
                windows=tuple(window.input_adjoint() for window in problem.windows),
                in_channels=problem.out_channels, out_channels=problem.in_channels, fill=0, epilogue=None,
                kernel_is="fresh", **types,
            )  # fmt: skip
        else:
            found = problem.derive(
                windows=tuple(window.kernel_adjoint() for window in problem.windows),
                batch=problem.in_channels, batch_of="channels", in_channels=problem.batch, epilogue=None, **types,
            )  # fmt: skip
        self._adjoints[role, x, k, half] = found
        return found

    @cached_property
    def _adjoints(self) -> dict[tuple[Role, np.dtype[Any], np.dtype[Any], bool], Problem]:
        return {}

    def _method_of_adjoint(self) -> str:
        return "measure" if self.method == "measure" else "auto"


def placed(found: Array, out: Array | None) -> Array:
    """What was found, in ``out`` if there is one: rounded into it where it was not written there."""
    if out is None or found is out:
        return found
    with np.errstate(over="ignore"):
        out[...] = found
    return out


def run(plan: Plan, prepared: Prepared, x: Array, out: Array | None = None, operands: Operands = NOTHING) -> Array:
    """Run a plan into ``out`` if it can be written directly, otherwise into a new array."""
    problem = plan.problem
    shape, stored = (x.shape[0], *problem.output_shape[1:]), prepared.plan.stored
    if out is None or out.dtype != stored:
        out = memory.empty(shape, stored)
    if x.shape[0] != problem.batch:
        plan, prepared = for_batch(plan, prepared, x.shape[0])
    plan.run(prepared, x, out, operands)
    return out


def for_batch(plan: Plan, prepared: Prepared, batch: int) -> tuple[Plan, Prepared]:
    """The same algorithm for another number of samples; what was prepared depends on the kernel alone."""
    same = plan_for(plan.problem.derive(batch=batch), plan.method)
    inner = plan_for(prepared.plan.problem.derive(batch=batch), prepared.plan.method)
    return same, Prepared(prepared.kernel, prepared.inner, inner)


def fold(extended: Array, windows: tuple[Window, ...]) -> Array:
    """Bring a gradient of the extended input back to the samples that each position was taken from.

    The adjoint of the boundary's extension, last axis first.
    """
    for axis in range(len(windows) - 1, -1, -1):
        extended = _fold_axis(extended, 3 + axis, windows[axis])
    return extended


def _fold_axis(extended: Array, axis: int, window: Window) -> Array:
    first, count = window.extension
    if first == 0 and count == window.size:
        return extended
    moved = np.moveaxis(extended, axis, 0)
    result = np.zeros((window.size, *moved.shape[1:]), extended.dtype)
    lo, hi = max(first, 0), max(max(first, 0), min(first + count, window.size))
    result[lo:hi] = moved[lo - first : hi - first]
    for start, stop in ((first, min(first + count, 0)), (max(first, window.size), first + count)):
        if stop > start:
            sources = np.asarray(index_map(start, stop - start, window.size, window.sides))
            kept = sources != OUTSIDE
            np.add.at(result, sources[kept], moved[start - first : stop - first][kept])
    return np.moveaxis(result, 0, axis)
