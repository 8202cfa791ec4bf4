"""Kernel gradient: sums over pixels and samples, for every pair of channels, by a compiled register tile."""

from __future__ import annotations

import math

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import gradient_tiles, sums
from convkit.algorithms.support.gradients import readable, typed, upstream
from convkit.algorithms.support.halves import readable as readable_as
from convkit.codegen import pool
from convkit.codegen.memory import address
from convkit.codegen.numbers import HALVES
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, layer_on_two_threads, width
from convkit.planner.problem import Problem


class KernelGradient:
    """``out[c, o, j] = sum_(b,i) g[o, b, i] * v[c, b, i*stride + start + j*dilation]``, ``g`` as large as images.

    Chunks of pixels are summed in a fixed order; small kernels have several such sums, added in the end.
    """

    name = "kernel-gradient"
    kernel_types = HALVES

    def applies(self, problem: Problem) -> Reason | None:
        why_not = readable(problem)
        if why_not is not None:
            return why_not
        missing = codegen.why_not()
        return None if missing is None else Reason(missing)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        slow, size = width(problem.compute_dtype), np.dtype(problem.compute_dtype).itemsize
        cut = gradient_tiles.blocking(problem)
        blocks = -(-problem.batch // cut.channels)
        work = 2.0 * problem.multiply_adds
        inputs, kernel = math.prod(problem.input_shape), math.prod(problem.kernel_shape)
        # As for `implicit-gemm`; the upstream gradient is turned around once for each block of input channels.
        seconds = work / (1.1 * machine.fused * cut.share)
        seconds += ((0.3 + 12 / problem.windows[-1].size) * inputs + 0.5 * kernel * blocks) / machine.elementwise
        tasks = blocks * cut.blocks(problem) * cut.parts * problem.groups
        seconds = layer_on_two_threads(seconds * slow, tasks, problem.batch_of)
        outputs = math.prod(problem.output_shape) * (1 + cut.parts if cut.parts > 1 else 1)
        moved = size * (inputs + kernel + outputs)
        seconds = max(seconds, moved / machine.bandwidth) + 1e-5 + 2e-7 * tasks
        parts = size * outputs if cut.parts > 1 else 0
        return Cost(work, moved, seconds, gradient_tiles.scratch(problem) * threads.num_threads() + parts)

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        side_by_side = readable_as(kernel.dtype.name, problem.compute_dtype) and kernel.strides[1] == kernel.itemsize
        return kernel if side_by_side else upstream(problem, kernel)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        problem = typed(problem, prepared)
        parts = gradient_tiles.blocking(problem).parts
        target = out
        if parts > 1 or not gradient_tiles.stores(problem, out.strides):
            target = sums.beside(out, parts)
        strides = target.strides[-out.ndim :]
        part = target.strides[0] if target is not out else 0
        program = gradient_tiles.program(problem, x.strides, prepared.strides, strides, part)
        seconds = 2 * problem.multiply_adds * width(problem.compute_dtype) / DEFAULT.fused
        bases = address(target), address(x), address(prepared)
        pool.run(program, bases, threads.num_threads(), seconds)
        if target is not out:
            sums.added(target, out)


registry.register(KernelGradient())
