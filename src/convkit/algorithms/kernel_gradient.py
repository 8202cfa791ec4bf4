"""Kernel gradient: sums over pixels and samples, for every pair of channels, by a compiled register tile."""

from __future__ import annotations

import math

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import gradient_tiles
from convkit.codegen import pool
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, width
from convkit.planner.problem import Problem

LEAST_PRODUCTS = 1 << 12
"""Products below which neither loading the compiler nor its kernels would be paid back."""

_READABLE = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16",
    "float32", "float64",
}  # fmt: skip


class KernelGradient:
    """``out[c, o, j] = sum_(b,i) g[o, b, i] * v[c, b, i*stride + start + j*dilation]``, ``g`` as large as images.

    Chunks of pixels are summed in a fixed order; small kernels have several such sums, added in the end.
    """

    name = "kernel-gradient"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.batch_of != "channels":
            return Reason("no-gradient")
        if problem.upsampled:
            return Reason("upsampled")
        if 0 in (problem.outputs, problem.terms, problem.out_channels, problem.batch):
            return Reason("nothing-to-do")
        if not all(w.size for w in problem.windows):
            return Reason("nothing-to-do")
        if problem.compute_dtype not in ("float32", "float64") or problem.input_dtype not in _READABLE:
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        if problem.multiply_adds < LEAST_PRODUCTS:
            return Reason("too-small", products=problem.multiply_adds, limit=LEAST_PRODUCTS)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        slow, size = width(problem.compute_dtype), np.dtype(problem.compute_dtype).itemsize
        cut = gradient_tiles.blocking(problem)
        blocks = -(-problem.batch // cut.channels)
        work = 2.0 * problem.multiply_adds
        inputs, upstream = math.prod(problem.input_shape), math.prod(problem.kernel_shape)
        # As for `implicit-gemm`; the upstream gradient is turned around once for each block of input channels.
        seconds = work / (1.1 * machine.fused * cut.share)
        seconds += ((0.3 + 12 / problem.windows[-1].size) * inputs + 0.8 * upstream * blocks) / machine.elementwise
        # The model describes two threads, whatever their number is, so that it does not decide how sums are formed.
        tasks = blocks * cut.parts * problem.groups
        seconds *= slow / (1.9 if tasks > 1 else 1.0)
        outputs = math.prod(problem.output_shape) * (1 + cut.parts if cut.parts > 1 else 1)
        moved = size * (inputs + upstream + outputs)
        seconds = max(seconds, moved / machine.bandwidth) + 1e-5 + 2e-7 * tasks
        parts = size * outputs if cut.parts > 1 else 0
        return Cost(work, moved, seconds, gradient_tiles.scratch(problem) * threads.num_threads() + parts)

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        """The upstream gradient as it lies, if its pixels are neighbours and of the type that sums are formed in."""
        plain = kernel.dtype == problem.compute_dtype and kernel.strides[-1] == kernel.itemsize
        return kernel if plain else np.ascontiguousarray(kernel, problem.compute_dtype)

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        parts = gradient_tiles.parts(problem)
        plain = np.prod(out.shape[3:]) == 1 or out[0, 0, 0].flags.c_contiguous
        target = out if parts == 1 and plain else np.empty((parts, *out.shape), out.dtype)
        strides = target.strides[-out.ndim :]
        part = target.strides[0] if target is not out else 0
        program = gradient_tiles.program(problem, x.strides, prepared.strides, strides, part)
        seconds = 2 * problem.multiply_adds * width(problem.compute_dtype) / DEFAULT.fused
        bases = target.ctypes.data, x.ctypes.data, prepared.ctypes.data
        pool.run(program, bases, threads.num_threads(), seconds)
        if target is not out:
            np.add.reduce(target, axis=0, out=out)


registry.register(KernelGradient())
