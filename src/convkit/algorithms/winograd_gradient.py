"""Winograd's filtering for the gradient of 3 x 3 weights: tiles of samples, filtered by the gradients of outputs."""

from __future__ import annotations

import ctypes
import math
from typing import Literal

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import halves, sums, winograd_gradient_blocks, winograd_gradient_tiles
from convkit.algorithms.support.gradients import readable, typed
from convkit.algorithms.support.register_tiles import cycles
from convkit.codegen import pool
from convkit.codegen.memory import address
from convkit.codegen.numbers import HALVES
from convkit.codegen.winograd_points import FILTERS, kernels_of, transforms
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, unit_roundoff
from convkit.planner.machine import DEFAULT, Machine, layer_on_two_threads, width
from convkit.planner.problem import Problem

TRANSFORM = {"samples": 4.5, "upstream": 3.6, "sums": 3.1}
"""Cycles that it takes to transform one vector of a tile, for each of its frequencies."""

MOVE = 0.4
"""Cycles that it takes to lay down or to store one number."""

ROUNDINGS = {"samples": 3, "upstream": 2, "sums": 5}
"""How often a number is rounded at most when one axis of a tile is transformed; sums meet rounded factors."""


class WinogradGradient:
    """``out = G' (sum_t (A' g_t A) * (B v_t B')) G``: what `winograd` does, turned around.

    Tiles are those of the layer's outputs; they are summed in the order in which they stand, sample by sample.
    """

    kernel_types = HALVES

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.name = f"winograd-gradient-{outputs}"

    def applies(self, problem: Problem) -> Reason | None:
        why_not = readable(problem)
        if why_not is not None:
            return why_not
        fits = len(problem.windows) == 2 and all(
            (w.count, w.stride, w.dilation) == (problem.windows[0].count, 1, 1) for w in problem.windows
        )
        if not fits or problem.windows[0].count not in FILTERS[self.outputs]:
            return Reason("not-these-kernels", kernels=kernels_of(self.outputs))
        if not halves.readable(problem.input_dtype, problem.compute_dtype):
            return Reason("no-compiled-kernel", dtype=problem.input_dtype)
        missing = codegen.why_not()
        return None if missing is None else Reason(missing)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        slow, size = width(problem.compute_dtype), np.dtype(problem.compute_dtype).itemsize
        cut = winograd_gradient_blocks.blocking(problem, self.outputs)
        lanes, samples, squares = cut.lanes, problem.in_channels * problem.groups, cut.size**2
        tiles = math.prod(cut.tiles) * samples
        inputs, outputs = -(-problem.batch // lanes), -(-problem.out_channels // lanes)
        across, along = -(-inputs * lanes // cut.inputs), -(-outputs // cut.vectors)
        # Cycles: products; each task transforms what it needs for itself, and its sums; what goes in and out.
        rows = -(-problem.batch // cut.rows) * cut.rows
        products = tiles * squares * rows / lanes * cycles(lanes, outputs, cut.rows, cut.panel)
        positions, pixels = (
            samples * math.prod(n) for n in zip(*((w.size, w.count) for w in cut.windows), strict=True)
        )
        laid = inputs * along * (TRANSFORM["samples"] * squares * tiles + MOVE * lanes * positions)
        laid += outputs * across * (TRANSFORM["upstream"] * squares * tiles + MOVE * lanes * pixels)
        kernels = cut.parts * problem.batch * problem.groups * outputs
        stored = kernels * (TRANSFORM["sums"] * squares + MOVE * lanes * cut.taps**2)
        work = 2.0 * lanes * products
        seconds = (products + laid + stored) * 2 * lanes / (1.1 * machine.fused / slow)
        tasks = across * along * cut.parts * problem.groups
        seconds = layer_on_two_threads(seconds, tasks, problem.batch_of)
        results = math.prod(problem.output_shape) * (1 + cut.parts if cut.parts > 1 else 1)
        moved = size * (math.prod(problem.input_shape) + math.prod(problem.kernel_shape) + results)
        seconds += moved / machine.bandwidth + 1e-5 + 2e-7 * tasks
        parts = size * results if cut.parts > 1 else 0
        scratch = winograd_gradient_tiles.scratch(problem, self.outputs)
        return Cost(work, moved, seconds, scratch * threads.num_threads() + parts)

    def bound(self, problem: Problem) -> ErrorBound:
        """Of the norms of all samples of one channel and all upstream gradients of another.

        What a sum is made of is rounded in the transforms, with every tile that is added, and in the end.
        """
        u = unit_roundoff(problem.compute_dtype)
        cut = winograd_gradient_blocks.blocking(problem, self.outputs)
        roundings = math.prod(cut.tiles) * problem.in_channels + 2 * sum(ROUNDINGS.values())
        growth = (roundings + 1) * u
        spread = transforms(self.outputs, cut.taps).adjoint.gathered ** 2
        factor = spread * growth / (1 - growth) if growth < 1 else math.inf
        return ErrorBound("norm", factor)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        plain = halves.readable(kernel.dtype.name, problem.compute_dtype)
        return kernel if plain else np.asarray(kernel, problem.compute_dtype)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> Literal["finite"] | None:
        problem = typed(problem, prepared)
        parts = winograd_gradient_blocks.blocking(problem, self.outputs).parts
        target, aside = out[np.newaxis], parts > 1 or not winograd_gradient_tiles.stores(problem, out.strides)
        if aside:
            target = sums.beside(out, parts)
        part, *strides = target.strides
        program = winograd_gradient_tiles.program(
            problem, self.outputs, x.strides, prepared.strides, tuple(strides), part
        )
        seconds = 2 * problem.multiply_adds * width(problem.compute_dtype) / DEFAULT.fused
        found = ctypes.c_int64(0)
        bases = address(target), address(x), address(prepared), ctypes.addressof(found)
        pool.run(program, bases, threads.num_threads(), seconds)
        if aside:
            sums.added(target, out)
        return None if found.value or parts > 1 else "finite"


registry.register(WinogradGradient(2))
registry.register(WinogradGradient(4))
