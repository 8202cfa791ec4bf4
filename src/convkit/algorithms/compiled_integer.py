"""Compiled, exact: direct convolution of integers by loops compiled for this machine, in the fastest exact form."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import exact_tiles, inner_products
from convkit.algorithms.support.alone import Programs, place
from convkit.algorithms.support.direct_tiles import contiguous
from convkit.algorithms.support.exact_tiles import order_of, samples_at_once, scratch
from convkit.algorithms.support.forms import DOTS, FLOATS, Form, form_for
from convkit.algorithms.support.pixels import folded, interleaved
from convkit.algorithms.support.ranges import KernelRange, extent
from convkit.codegen import pool
from convkit.codegen.interleave import Fit, Interleave
from convkit.codegen.library import this_machine
from convkit.codegen.memory import address, type_name
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason
from convkit.planner.machine import DEFAULT, Machine, on_two_threads
from convkit.planner.narrowing import narrowed
from convkit.planner.plan import Plan, Prepared, plan_for
from convkit.planner.problem import Problem

LEAST_PRODUCTS, LEAST_OF_A_ROW = 1 << 4, 1 << 12
"""Products of one sample, and of a signal that NumPy's own loop does, below which neither loading the compiler nor its
kernels would be paid back."""

LOOKED_AT = 4
"""Bytes of a sample from which samples are looked at: few of them are as large as their type allows."""

WAYS_KEPT = 64
"""Problems that one kernel is remembered for."""

USUAL = 127
"""The largest weight of a kernel whose values are not known yet."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Way:
    """How one problem is done with one kernel: the form and its weights, and what becomes of sums that do not fit."""

    form: Form
    weights: Array
    fit: Fit
    least: int


@dataclass(frozen=True, slots=True)
class IntegerKernel:
    """Kernels as they were given, their range, and what they were made into so far."""

    values: Array
    range: KernelRange
    ways: dict[Any, Way | None] = field(default_factory=dict)
    others: dict[Problem, tuple[Plan, Prepared]] = field(default_factory=dict)


class CompiledExact:
    """``out[i] = sum_j v[i*stride + j*dilation] * w[j]`` of integers by a compiled loop nest.

    The values of the kernel, and those of the samples where their type alone does not tell enough, decide the form:
    dot products of bytes or of words in 32 bits, or float32 or float64 while no sum can leave the integers that they
    hold. What is too large for all of them goes to exact-integer. Sums are stored in the result's type at once.
    """

    name = "compiled-exact"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if not problem.exact:
            return Reason("not-integer", dtype=problem.compute_dtype)
        if problem.outputs * problem.taps == 0 or not all(window.size for window in problem.windows):
            return Reason("nothing-to-do")
        if problem.in_channels > 1 or problem.out_channels > 1:
            return Reason("mixed-channels")
        products = problem.taps * problem.outputs * problem.groups
        least = LEAST_PRODUCTS if inner_products.why_not(problem) else LEAST_OF_A_ROW
        if products < least:
            return Reason("too-small", products=products, limit=least)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        form = _usual_form(problem)
        work = float(problem.multiply_adds)
        # With one kernel row, each multiply-add waits for samples of its own, half of them across a cache line.
        loads = 1.5 if len(problem.windows) == 1 or problem.windows[-2].kernel == 1 else 1.0
        last = problem.windows[-1]
        done = (-(-last.reach // form.group) * form.group if form in DOTS else last.kernel) / last.kernel
        written = problem.batch * problem.groups * problem.outputs
        item, samples = np.dtype(problem.input_dtype).itemsize, math.prod(problem.input_shape)
        looked_at = item >= LOOKED_AT
        # Of wide types the samples in use are mostly small, and take a form that is faster than the usual one.
        rate = machine.fused * form.speed * (2.3 if looked_at else 1.0)
        seconds = 1.3 * work * done * loads / rate + written / machine.elementwise
        seconds = on_two_threads(seconds, problem.outputs / exact_tiles.TILE_OUTPUTS)
        moved = samples * item + written * np.dtype(self.stores(problem)).itemsize
        if looked_at:  # by one thread, before the sums begin
            seconds += 1.7 * item * samples / machine.bandwidth + moved / machine.bandwidth + 2e-5
        seconds = max(seconds, moved / machine.bandwidth) + 1.6e-5
        return Cost(2 * work, moved, seconds, scratch(problem, form) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return ErrorBound("exact", 0.0)

    def describe(self, problem: Problem) -> str:
        """The loop nest for kernels of small numbers."""
        return order_of(problem, _usual_form(problem)).schedule.name

    def stores(self, problem: Problem) -> str:
        """The result's type."""
        return problem.result_dtype or problem.compute_dtype

    def prepare(self, problem: Problem, kernel: Array) -> IntegerKernel:
        return IntegerKernel(kernel, KernelRange.of(kernel[:, 0, 0]))

    def alone(self, problem: Problem, prepared: IntegerKernel) -> Alone:
        """One sample, all else worked out before; nothing for samples that no form is exact for, or no sum fits."""
        shape, dtype = problem.output_shape[3:], np.dtype(self.stores(problem))
        looked_at = np.dtype(problem.input_dtype).itemsize >= LOOKED_AT
        known = _Known(problem, prepared, dtype)
        usual = None if looked_at else known.work(*_type_range(np.dtype(problem.input_dtype)))

        def call(x: Array, out: Array | None) -> Array | None:
            work = known.work(*extent(x)) if looked_at else usual
            out = None if work is None else place(out, x, shape, dtype)
            if work is None or out is None:
                return None
            status = ctypes.c_int64(0)
            bases = address(out), address(x), work.weights, ctypes.addressof(status)
            pool.run(work.programs[x.strides], bases, threads.num_threads(), work.seconds)
            return None if status.value else out

        return call

    def run(self, problem: Problem, prepared: IntegerKernel, x: Array, out: Array) -> None:
        asked, pixel = problem, 1
        if interleaved(problem, x, out):
            pixel, problem = problem.batch, folded(problem)
        elif out.strides[-1] != out.itemsize and out.shape[-1] > 1:
            whole = np.empty(out.shape, out.dtype)
            self.run(problem, prepared, x, whole)
            out[...] = whole
            return
        way = _way(problem, prepared, x, out.dtype)
        if way is None:
            _otherwise(asked, prepared, x, out)
            return
        x_strides, out_strides = ((*a.strides[:-1], a.strides[-1] // pixel) for a in (x, out))
        status = np.zeros(1, np.int64)
        samples = samples_at_once(problem, way.form)
        seconds = _one_thread(problem, way.form)
        for first in range(0, problem.batch, samples):
            count = min(samples, problem.batch - first)
            part = problem if count == problem.batch else problem.derive(batch=count)
            program = exact_tiles.program(part, way.form, x_strides, out_strides, type_name(out.dtype), way.fit, pixel)
            bases = (
                address(out) + first * out.strides[0], address(x) + first * x.strides[0], address(way.weights),
                address(status),
            )  # fmt: skip
            pool.run(program, bases, threads.num_threads(), seconds * count / problem.batch)
        if status[0]:  # all of them again, in a type that holds them, to say what does not fit
            sums = np.empty(out.shape, "int64" if way.least < 0 else problem.compute_dtype)
            self.run(asked, prepared, x, sums)
            narrowed(sums, out.dtype, "raise")


def _one_thread(problem: Problem, form: Form) -> float:
    """Seconds that the arithmetic takes one thread, roughly."""
    return 2 * problem.multiply_adds / form.speed / DEFAULT.fused


@dataclass(frozen=True, slots=True)
class _Work:
    """What is done to a lone array in one form: the programs, where its weights begin, and how long it takes."""

    way: Way
    programs: Programs
    weights: int
    seconds: float


class _Known:
    """One problem and one kernel: what is done to samples, by their extent."""

    def __init__(self, problem: Problem, prepared: IntegerKernel, dtype: np.dtype[Any]) -> None:
        self.problem, self.prepared, self.dtype = problem, prepared, dtype
        self.fill = int(problem.fill.real)
        self.spans = [(*form.span(prepared.range), form) for form in _forms(problem)]
        self.limits = _type_range(dtype)
        self._works: dict[tuple[Form, bool], _Work] = {}

    def work(self, least: int, most: int) -> _Work | None:
        """For samples from ``least`` to ``most``; None if no form is exact."""
        least, most = min(least, self.fill, 0), max(most, self.fill, 0)
        form = next((form for low, high, form in self.spans if low <= least and most <= high), None)
        if form is None:
            return None
        low, high = self.prepared.range.sums(least, most)
        key = form, self.limits[0] <= low and high <= self.limits[1]
        found = self._works.get(key)
        if found is None:
            found = self._works[key] = self._new(_way_in(form, self.problem, self.prepared, (least, most), self.dtype))
        return found

    def _new(self, way: Way) -> _Work:
        problem, dtype, form = self.problem, self.dtype, way.form
        strides = contiguous(problem.output_shape, dtype)
        programs = Programs(lambda x: exact_tiles.program(problem, form, x, strides, dtype.name, way.fit))
        return _Work(way, programs, address(way.weights), _one_thread(problem, form))


def _way(problem: Problem, prepared: IntegerKernel, x: Array, target: np.dtype[Any]) -> Way | None:
    """How it is done; None if no form is exact. Remembered where the samples' values make no difference."""
    if x.itemsize >= LOOKED_AT:
        return _new_way(problem, prepared, extent(x), target)
    key = problem, target
    way = prepared.ways.get(key)
    if way is None:
        if len(prepared.ways) >= WAYS_KEPT:
            prepared.ways.clear()
        way = prepared.ways[key] = _new_way(problem, prepared, _type_range(x.dtype), target)
    return way


def _new_way(problem: Problem, prepared: IntegerKernel, samples: Range, target: np.dtype[Any]) -> Way | None:
    fill = int(problem.fill.real)
    least, most = min(samples[0], fill, 0), max(samples[1], fill, 0)
    form = form_for(least, most, prepared.range, _forms(problem))
    return None if form is None else _way_in(form, problem, prepared, (least, most), target)


def _way_in(form: Form, problem: Problem, prepared: IntegerKernel, samples: Range, target: np.dtype[Any]) -> Way:
    """How it is done in a form that is exact for samples of this extent."""
    low, high = prepared.range.sums(*samples)
    limits = _type_range(target)
    fit: Fit = problem.overflow if problem.overflow != "raise" else "check"
    if limits[0] <= low and high <= limits[1]:
        fit = "saturate" if Interleave(form.sums, target.name, form.group, "saturate").packs else "wrap"
    plain = prepared.values[:, 0, 0]
    weights = form.pack(plain, problem.windows[-1].dilation, order_of(problem, form).elements)
    return Way(form, weights, fit, low)


def _otherwise(problem: Problem, prepared: IntegerKernel, x: Array, out: Array) -> None:
    """By exact-integer, into the type of the sums, and from there into the result's."""
    plain = problem.derive(result_dtype="")
    if plain not in prepared.others:
        plan = plan_for(plain, "exact-integer")
        prepared.others[plain] = plan, plan.prepare(prepared.values)
    plan, ready = prepared.others[plain]
    sums = out if out.dtype == problem.compute_dtype else np.empty(out.shape, problem.compute_dtype)
    plan.run(ready, x, sums)
    if sums is not out:
        out[...] = narrowed(sums, out.dtype, problem.overflow)


@lru_cache(maxsize=16)
def _type_range(dtype: np.dtype[Any]) -> Range:
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


@lru_cache(maxsize=512)
def _forms(problem: Problem) -> tuple[Form, ...]:
    """The forms that this machine and the way the windows move allow."""
    last = problem.windows[-1]
    if last.stride > 1 or not this_machine().dots:
        return FLOATS
    # With zeros between the elements of a kernel, a group does as much as so many fewer products.
    return (*(form for form in DOTS if form.group >= last.dilation), *FLOATS)


def _usual_form(problem: Problem) -> Form:
    """The form for kernels of small numbers, and for samples as their type tells."""
    dtype, largest = np.dtype(problem.input_dtype), USUAL * problem.taps
    if dtype.itemsize >= LOOKED_AT:
        return FLOATS[-1]
    usual = KernelRange(-USUAL, USUAL, -largest, largest, largest)
    return form_for(*_type_range(dtype), usual, _forms(problem)) or FLOATS[-1]


registry.register(CompiledExact())
