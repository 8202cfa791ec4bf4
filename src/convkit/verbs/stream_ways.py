"""How a stream computes: windows on a grid by one plan, or partitions of the kernel on a grid of blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from convkit.planner import machine, nonfinite, streaming
from convkit.planner.algorithm import Array
from convkit.planner.plan import Plan, Prepared, plan_for
from convkit.planner.problem import Problem
from convkit.spec.options import Latency
from convkit.spec.window import Window
from convkit.verbs.stream_signal import Signal

GRID = 4
"""Outputs of one transformed block, in kernel lengths, where latency does not matter."""

BLOCKS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Partition sizes to choose from where none is asked for."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What every way of one stream works on.

    Attributes
    ----------
    window : Window
        Start, stride, dilation, kernel size and sides.
    laid : ndarray
        The kernel as it is laid down, (1, 1, 1, taps).
    problem : Problem
        Types and accuracy, for one row and one output.
    """

    window: Window
    laid: Array
    problem: Problem

    def on(self, outputs: int, rows: int = 1, stride: int | None = None) -> Problem:
        """The problem of ``outputs`` outputs of a block that holds exactly their windows."""
        w = self.window
        step = w.stride if stride is None else stride
        window = Window((outputs - 1) * step + w.reach, w.kernel, outputs, 0, step, w.dilation)
        return self.problem.derive(windows=(window,), batch=rows)


class Windows:
    """Whole windows: those complete, term by term; or as many as one transform takes, on a grid.

    Attributes
    ----------
    grid : int
        Outputs computed together, counted from the first; 1 where each is formed by itself.
    """

    block: int | None = None

    def __init__(self, geometry: Geometry, rows: int, grid: int) -> None:
        self._geometry, self._rows, self.grid = geometry, rows, grid
        self.latency = grid * geometry.window.stride - 1 if grid > 1 else 0
        self._plans: dict[int, tuple[Plan, Prepared]] = {}
        self._finite = nonfinite.all_finite(geometry.laid)
        self._given = 0
        self.before = max(0, -geometry.window.start)

    def give(self, signal: Signal, total: int | None) -> Array:
        """The outputs whose windows are complete; with ``total``, all that remain."""
        window = self._geometry.window
        held = signal.end
        complete = max(0, (held - window.start - window.reach) // window.stride + 1)
        until = total if total is not None else complete // self.grid * self.grid
        parts: list[Array] = []
        while self._given < until:
            parts.append(self._next(signal, until - self._given))
        signal.forget(window.start + self._given * window.stride)
        if not parts:
            return np.empty((self._rows, 0), self._geometry.problem.compute_dtype)
        return np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]

    def _next(self, signal: Signal, left: int) -> Array:
        """The next block of outputs, a whole one on the grid even if fewer are left."""
        if not self._finite:
            return self._clipped(signal, left)
        computed, wanted = (left, left) if self.grid == 1 else (self.grid, min(self.grid, left))
        plan, prepared = self._plan(computed)
        size = plan.problem.windows[0].size
        at = self._geometry.window.start + self._given * self._geometry.window.stride
        samples = signal.span(at, at + size).reshape(self._rows, -1)
        if samples.shape[-1] < size:  # beyond the end nothing is used, so zeros do
            rest = np.zeros((self._rows, size - samples.shape[-1]), samples.dtype)
            samples = np.concatenate([samples, rest], axis=-1)
        out = np.empty(plan.problem.output_shape, plan.problem.compute_dtype)
        plan.run(prepared, samples.reshape(plan.problem.input_shape), out)
        self._given += wanted
        return out.reshape(self._rows, computed)[:, :wanted]

    def _clipped(self, signal: Signal, wanted: int) -> Array:
        """The next outputs without the terms beyond a boundary ``zero``: there, infinite elements meet nothing."""
        window = self._geometry.window
        begin = window.start + self._given * window.stride
        end = begin + (wanted - 1) * window.stride + window.reach
        first = max(begin, 0) if window.sides[0] == "zero" else begin
        last = max(first, min(end, signal.received) if window.sides[1] == "zero" else end)
        inside = replace(window, size=last - first, count=wanted, start=begin - first, sides=("zero", "zero"))
        plan = plan_for(self._geometry.problem.derive(windows=(inside,), batch=self._rows), "direct")
        out = np.empty(plan.problem.output_shape, plan.problem.compute_dtype)
        samples = signal.span(first, last).reshape(plan.problem.input_shape)
        plan.run(plan.prepare(self._geometry.laid), samples, out)
        self._given += wanted
        return out.reshape(self._rows, wanted)

    def _plan(self, outputs: int) -> tuple[Plan, Prepared]:
        method = "fft" if self.grid > 1 else ("exact-integer" if self._geometry.problem.exact else "direct")
        known = self._plans.get(outputs)
        if known is None:
            plan = plan_for(self._geometry.on(outputs, self._rows), method)
            known = plan, plan.prepare(self._geometry.laid)
            if outputs == self.grid:
                self._plans[outputs] = known
        return known


class Blocks:
    """Partitions of the kernel: every sum over a window that ends at a position p; every ``stride``-th kept."""

    def __init__(self, geometry: Geometry, rows: int, way: streaming.Streaming, block: int, latency: Latency) -> None:
        window = geometry.window
        problem = geometry.on(block, rows, stride=1)
        self._running = way.begin(problem, latency, geometry.laid)
        self._window, self._rows, self._compute = window, rows, problem.compute_dtype
        self._block = block
        self.block = block if window.reach > block or latency == "block" else None
        self.latency = 0 if latency == "zero" else block - 1
        # Zeros before the first sample need not be computed with: a stream begins with them.
        self.before = 0 if window.sides[0] == "zero" else max(0, -window.start)
        self._fed = self._known = -self.before  # the next position to take, and the next sum to come
        self._next = window.start + window.reach - 1  # position of the next output
        self._given = 0

    def give(self, signal: Signal, total: int | None) -> Array:
        """The outputs whose windows are complete, or whose blocks are; with ``total``, all that remain."""
        parts = [self._sums(signal.span(self._fed, signal.end))]
        self._fed = signal.end
        if total is not None:
            missing = self._next + (total - self._given - 1) * self._window.stride + 1 - self._known
            if missing > 0:
                whole = -(-missing // self._block) * self._block
                parts.append(self._sums(np.zeros((self._rows, whole), self._compute)))
        signal.forget(self._fed)
        found = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
        return found if total is None else found[:, : found.shape[1] - max(0, self._given - total)]

    def _sums(self, samples: Array) -> Array:
        """Feed samples and keep the sums that are outputs."""
        rows = samples.reshape(self._rows, samples.shape[-1]).astype(self._compute, copy=False)
        sums = self._running.push(rows)
        stride, skipped = self._window.stride, self._next - self._known
        self._known += sums.shape[1]
        kept = sums[:, max(0, skipped) :: stride] if skipped < sums.shape[1] else sums[:, :0]
        self._next += kept.shape[1] * stride
        self._given += kept.shape[1]
        return kept


def way_for(geometry: Geometry, rows: int, latency: Latency, block: int | None) -> Windows | Blocks:
    """The cheapest way of streaming that keeps the latency asked for.

    The choice is made for one row, by predicted time of a push of one block, so that rows do not change its bits.
    """
    problem = geometry.problem
    if problem.exact or geometry.laid.size == 0 or not nonfinite.all_finite(geometry.laid):
        return Windows(geometry, rows, 1)
    if latency == "block" and block is None:
        return Windows(geometry, rows, _grid(geometry))
    model = machine.current()
    best: tuple[float, streaming.Streaming, int] | None = None
    sizes = BLOCKS if block is None else (block,)
    if block is not None and latency == "zero" and block < geometry.window.reach:
        sizes = block, 1 << (geometry.window.reach - 1).bit_length()  # the second is all head, no partitions
    for size in sizes:
        one = geometry.on(size, stride=1)
        for way in streaming.ways():
            if way.applies(one, latency) is None:
                price = way.cost(one, latency, model).seconds / (block or size)
                if best is None or price < best[0]:
                    best = price, way, size
    if best is None:
        return Windows(geometry, rows, 1)
    price, way, size = best
    pushed = block or size
    terms = plan_for(geometry.on(max(1, pushed // geometry.window.stride)), "direct")
    if terms.seconds / pushed <= price:
        return Windows(geometry, rows, 1)
    return Blocks(geometry, rows, way, size, latency)


def _grid(geometry: Geometry) -> int:
    """Outputs of one transform, or 1 where summing terms is cheaper."""
    outputs = max(1, GRID * geometry.window.reach // geometry.window.stride)
    if geometry.problem.accuracy == "elementwise":
        return 1
    rows = {row.algorithm: row for row in plan_for(geometry.on(outputs)).report().rows}
    terms, transform = rows["direct"].cost, rows["fft"].cost
    if terms is None or transform is None or rows["fft"].why_not is not None:
        return 1
    return outputs if transform.seconds < terms.seconds else 1
