"""Partitioned: a long kernel over a signal that arrives in blocks, at no latency or at that of one block.

The kernel is cut into a head, summed term by term, and partitions of B samples, convolved by overlap-save with their
spectra kept (uniform partitions: Stockham 1966; frequency-domain delay line: Wefers 2015, chapter 5). Farther from the
head larger partitions are cheaper (Gardner 1995), and begin two of their blocks late, so that their products can be
spread evenly over the blocks that arrive meanwhile (Wefers 2015, chapter 6).
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations

import numpy as np

from convkit.algorithms.support import spectra
from convkit.algorithms.support.delay_line import DelayLine, Partitions
from convkit.algorithms.support.terms import Terms
from convkit.planner import nonfinite, streaming
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound, unit_roundoff
from convkit.planner.machine import DEFAULT, Machine, width
from convkit.planner.problem import Problem
from convkit.spec.options import Latency

LARGER = (4, 8, 16, 32, 64, 128, 256, 512)
"""Sizes of larger partitions, in blocks."""

KINDS = 3
"""Sizes of partitions, at most."""

STEP_CALLS, LINE_CALLS = 240, 60
"""NumPy calls of one block, and of each size of partitions in it, beside transforms and products."""


def head_taps(problem: Problem, latency: Latency) -> int:
    """Kernel elements that meet the newest samples, ``h[m]`` with m below the block: they cannot wait for it."""
    window = problem.windows[0]
    return 0 if latency == "block" else min(window.kernel, -(-window.count // window.dilation))


@lru_cache(maxsize=1024)
def cut(reach: int, block: int, latency: Latency, dtype: str) -> tuple[Partitions, ...]:
    """The partitions of a kernel of ``reach`` taps, their sizes chosen by predicted time."""
    start = 0 if latency == "block" else block
    if reach <= start:
        return ()
    best: tuple[float, tuple[Partitions, ...]] | None = None
    for kinds in range(KINDS):
        for factors in combinations(LARGER, kinds):
            if any(2 * factor * block >= reach for factor in factors):
                continue
            made: list[Partitions] = []
            first = start
            for size, end in zip((1, *factors), (*(2 * factor * block for factor in factors), reach), strict=True):
                made.append(Partitions(size * block, first, -(-(end - first) // (size * block))))
                first = end
            price = sum(_seconds(part, dtype, block, DEFAULT) for part in made)
            if best is None or price < best[0]:
                best = price, tuple(made)
    assert best is not None
    return best[1]


def _seconds(part: Partitions, dtype: str, block: int, machine: Machine) -> float:
    """Predicted time that partitions take for ``block`` samples."""
    # A product of spectra and its sum: as much as two and a half passes over real numbers.
    products = 2.5 * part.count * part.points(dtype) * width(_real(dtype)) / machine.elementwise
    transforms = 2 * part.transform(dtype).seconds(machine, dtype)
    return (products + transforms) * block / part.size + LINE_CALLS * machine.call


def _real(dtype: str) -> str:
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


class Partitioned:
    """``y[n] = sum_{m<B} h[m] u[n-m] + sum_p (h_p * u)[n]``, the second sum by spectra; see the module.

    Outputs stand on a grid of blocks counted from the first sample, and each is formed by operations that its place
    alone decides: its bits do not depend on how the samples were cut on their way here.
    """

    name = "partitioned"

    def applies(self, problem: Problem, latency: Latency) -> Reason | None:
        if problem.compute_dtype not in spectra.FLOATS:
            return Reason("no-transform", dtype=problem.compute_dtype)
        bound = self.bound(problem, latency)
        if not bound.meets(problem.accuracy):
            return Reason("accuracy", accuracy=problem.accuracy, bound=bound)
        return None

    def _cut(self, problem: Problem, latency: Latency) -> tuple[Partitions, ...]:
        window = problem.windows[0]
        return cut(window.reach, window.count, latency, problem.compute_dtype)

    def cost(self, problem: Problem, latency: Latency, machine: Machine) -> Cost:
        window, dtype = problem.windows[0], problem.compute_dtype
        parts = self._cut(problem, latency)
        taps = head_taps(problem, latency)
        seconds = STEP_CALLS * machine.call
        flops = 2.0 * taps * window.count * problem.batch
        if taps:
            head = Terms(np.ones(taps, dtype), window.dilation)
            plan = head.plan(problem.batch, window.count)
            seconds += plan.algorithm.cost(plan.problem, machine).seconds * (2 if dtype.startswith("c") else 1)
        for part in parts:
            seconds += problem.batch * _seconds(part, dtype, window.count, machine)
            length = part.transform(dtype).points
            work = 8 * part.count * part.points(dtype) + 5 * length * math.log2(length)
            flops += problem.batch * work * window.count / part.size
        held = self._held(problem, parts)
        return Cost(flops, float(held), seconds, held)

    def _held(self, problem: Problem, parts: tuple[Partitions, ...]) -> int:
        """Bytes of a stream: spectra of the kernel, and of each row's last samples; those samples; blocks."""
        window, dtype, rows = problem.windows[0], problem.compute_dtype, problem.batch
        size = np.dtype(dtype).itemsize
        complex_size = np.result_type(dtype, np.complex64).itemsize
        held = 2 * window.reach * size + rows * (window.reach + 6 * window.count) * size
        for part in parts:
            points = part.points(dtype)
            held += complex_size * (points * (part.count * (1 + rows) + rows + 1) + max(points, 1 << 14))
            held += rows * size * (part.transform(dtype).points + 2 * part.size)
        return held

    def bound(self, problem: Problem, latency: Latency) -> ErrorBound:
        """By norms: the transforms of each partition, the sum over partitions, and the head's.

        A kernel that is all head keeps the bound of its terms, output by output.
        A sample takes part in two neighbouring transforms, so norms over all partitions grow by sqrt(2).
        """
        u = unit_roundoff(problem.compute_dtype)
        parts = self._cut(problem, latency)
        terms = summation_bound(problem, head_taps(problem, latency))
        if not parts:
            return terms
        factor = terms.factor + (len(parts) + 1) * u
        for part in parts:
            points = part.transform(problem.compute_dtype).points
            factor += math.sqrt(2) * (20.1 * math.log2(max(2, points)) + 7 + part.count) * u
        return ErrorBound("norm", factor)

    def begin(self, problem: Problem, latency: Latency, kernel: Array) -> _Running:
        weights = np.ascontiguousarray(kernel[0, 0, 0], problem.compute_dtype)
        return _Running(problem, weights, head_taps(problem, latency), self._cut(problem, latency))


class _Running:
    """The state of one stream, in rows of samples; positions count samples since its beginning."""

    def __init__(self, problem: Problem, weights: Array, head: int, parts: tuple[Partitions, ...]) -> None:
        window, rows = problem.windows[0], problem.batch
        self._block, self._reach, self._dilation = window.count, window.reach, window.dilation
        self._offset = head * window.dilation  # first tap that the partitions hold
        self._at_once = head > 0
        self._head = Terms(weights[window.kernel - head :], window.dilation)
        self._tail = Terms(weights[: window.kernel - head], window.dilation)
        taps = np.zeros(window.reach, weights.dtype)
        taps[:: window.dilation] = weights[::-1]
        self._lines = [DelayLine(part, window.count, taps, rows) for part in parts]
        self._ahead = [(line, part) for line, part in zip(self._lines, parts, strict=True) if part.ahead]
        self._recent = np.zeros((rows, 2 * self._block + max(0, self._head.columns(self._block))), weights.dtype)
        self._past = np.zeros((rows, -(-(window.reach - 1) // self._block) + 1, self._block), weights.dtype)
        self._blocks = 0  # complete ones
        self._filled = 0  # samples of the next
        self._sums = np.zeros((rows, self._block), weights.dtype)
        self._nan = [np.empty(0, np.int64) for _ in range(rows)]
        self._infinite: list[int | None] = [None] * rows  # the last position of each row

    def push(self, samples: Array) -> Array:
        count, block = samples.shape[1], self._block
        given = count if self._at_once else (self._filled + count) // block * block
        out = np.empty((samples.shape[0], given), samples.dtype)
        taken = done = 0
        while taken < count:
            n = min(block - self._filled, count - taken)
            at = block + self._filled
            self._recent[:, at : at + n] = samples[:, taken : taken + n]
            if self._at_once:
                sums = self._head.run(self._recent[:, at - self._head.reach + 1 :], n)
                with np.errstate(over="ignore", invalid="ignore"):
                    np.add(sums, self._sums[:, self._filled : self._filled + n], out=out[:, taken : taken + n])
            taken += n
            self._filled += n
            if self._filled == block:
                self._complete()
                if not self._at_once:
                    out[:, done : done + block] = self._sums
                    done += block
        return out

    def _complete(self) -> None:
        """A block is complete: find what partitions add to the next, or to itself if nothing is given at once."""
        block = self._block
        samples = self._recent[:, block : 2 * block]
        self._past[:, self._blocks % self._past.shape[1]] = samples
        samples = self._without_nonfinite(samples)
        target = self._blocks + 1 if self._at_once else self._blocks
        sums = np.zeros_like(self._sums)
        with np.errstate(over="ignore", invalid="ignore"):
            if not self._at_once:
                self._add_ahead(sums, target)
            for line in self._lines:
                line.take(samples)
            if self._at_once:
                self._add_ahead(sums, target)
            elif self._lines:
                sums += self._lines[0].ready
        self._blocks += 1
        self._filled = 0
        self._recent[:, :block] = self._recent[:, block : 2 * block]
        if self._offset < self._reach:
            self._repair(sums, target)
        self._sums = sums

    def _add_ahead(self, sums: Array, target: int) -> None:
        for line, part in self._ahead:
            at = target * self._block % part.size
            sums += line.ready[:, at : at + self._block]

    def _without_nonfinite(self, samples: Array) -> Array:
        """The samples with zeros for those that are not finite, whose places are noted."""
        if nonfinite.all_finite(samples):
            return samples
        begin = self._blocks * self._block
        for row, values in enumerate(samples):
            nan = np.isnan(values)
            self._nan[row] = np.concatenate([self._nan[row], begin + np.flatnonzero(nan)])
            infinite = np.flatnonzero(np.isinf(values) & ~nan)
            if infinite.size:
                self._infinite[row] = begin + int(infinite[-1])
        return np.where(np.isfinite(samples), samples, samples.dtype.type(0))

    def _repair(self, sums: Array, target: int) -> None:
        """Give the sums of block ``target`` the values of the definition where samples are not finite.

        A window that holds a NaN sums to NaN. A block near an infinite sample, or whose spectra overflow, is summed
        term by term.
        """
        begin = target * self._block
        oldest = begin - self._reach + 1
        for row, values in enumerate(sums):
            nan = self._nan[row]
            if nan.size and nan[0] < oldest:
                nan = self._nan[row] = nan[nan >= oldest]
            infinite = self._infinite[row]
            special = (infinite is not None and infinite >= oldest) or (self._dilation > 1 and nan.size > 0)
            if special or not nonfinite.all_finite(values):
                values[...] = self._tail.run(self._history(row, oldest), self._block)[0]
            elif nan.size:
                last = begin + np.arange(self._block) - self._offset
                first = begin + np.arange(self._block) - self._reach + 1
                held = np.searchsorted(nan, last, "right") > np.searchsorted(nan, first, "left")
                values[held] = np.nan if values.dtype.kind != "c" else complex(np.nan, np.nan)

    def _history(self, row: int, oldest: int) -> Array:
        """The samples from position ``oldest`` to the end of the last complete block, those before the first zero."""
        slots = self._past.shape[1]
        turn = self._blocks % slots
        ring = self._past[row]
        held = np.concatenate([ring[turn:], ring[:turn]]).reshape(1, -1)
        return held[:, oldest - (self._blocks - slots) * self._block :]


streaming.register(Partitioned())
