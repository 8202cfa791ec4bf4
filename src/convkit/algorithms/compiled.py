"""Compiled: direct convolution by loops compiled for this machine, sums held in registers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import alone, direct_tiles
from convkit.algorithms.support.direct_tiles import LINE, REAL, contiguous, order_of, samples_at_once, scratch, tiles
from convkit.algorithms.support.pixels import folded, interleaved
from convkit.codegen import pool
from convkit.codegen.memory import address, type_name
from convkit.codegen.program import Program
from convkit.planner import probes, registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, on_two_threads, width
from convkit.planner.nonfinite import all_finite
from convkit.planner.problem import Problem
from convkit.spec.window import Window

LEAST_PRODUCTS = 1 << 2
"""Products of one sample below which loading the compiler would never be paid back."""

LEAST_OF_A_ROW = 1 << 10
"""The same for signals that NumPy's own correlation does."""

LANES = 16
"""Numbers of float32 in a vector of the machine that costs are told for."""

STREAMED = 1 << 23
"""Bytes of a result from which it is written past the caches: what is not read again soon would only crowd them."""

_READABLE = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16",
    *REAL,
}  # fmt: skip

_STORABLE = {
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64",
}  # fmt: skip


class Compiled:
    """``out[i] = sum_j v[i*stride + j*dilation] * w[j]`` by a compiled loop nest; see `convkit.codegen.Schedule`.

    Every output is formed by the same sequence of fused multiply-adds wherever it stands. Windows that leave the input
    are cut off as a frame, whose tiles are packed into scratch memory with what stands outside; all others read the
    input where it lies, unless it has to be converted, taken apart into real and imaginary parts, or moved along in
    strides.
    """

    name = "compiled"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if problem.outputs * problem.taps == 0 or not all(window.size for window in problem.windows):
            return Reason("nothing-to-do")
        if problem.compute_dtype not in REAL or problem.input_dtype not in _READABLE:
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        if problem.in_channels > 1 or problem.out_channels > 1:
            return Reason("mixed-channels")
        products = problem.taps * problem.outputs * problem.groups
        least = LEAST_OF_A_ROW if _plain_row(problem) and not problem.result_dtype else LEAST_PRODUCTS
        if products < least:
            return Reason("too-small", products=products, limit=least)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size = np.dtype(problem.compute_dtype).itemsize
        work, columns = float(problem.multiply_adds), problem.windows[-1].count
        # With one kernel row, each multiply-add waits for samples of its own, half of them across a cache line.
        loads = 1.9 if len(problem.windows) == 1 or problem.windows[-2].kernel == 1 else 1.0
        # Kernels of three axes are many short blocks of rows; complex products are four, and samples are taken apart.
        loads *= (1.2 if len(problem.windows) > 2 else 1.0) * (1.5 if problem.compute_dtype.startswith("c") else 1.0)
        # Rows end within a vector; narrower than one they have too few sums at once to hide the latency of one.
        lanes = LANES * 4 // np.dtype(REAL[problem.compute_dtype]).itemsize
        loads *= 2 * lanes / columns if columns < lanes else -(-columns // lanes) * lanes / columns
        written = problem.batch * problem.groups * problem.outputs
        # What the tiles of a kernel of 9 x 9 reach, and what beginning and ending each tile takes.
        seconds = 1.75 * work * loads / machine.fused + written / machine.elementwise
        count = sum(1 for _ in tiles(problem))
        seconds = on_two_threads(seconds * width(problem.compute_dtype), count)
        moved = size * (math.prod(problem.input_shape) + math.prod(problem.output_shape))
        seconds = max(seconds, moved / machine.bandwidth / 3) + 8.5e-6 + 1e-7 * count
        return Cost(2 * work, moved, seconds, scratch(problem) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def describe(self, problem: Problem) -> str:
        """The loop nest."""
        return order_of(problem).schedule.name

    def kernels(self, problem: Problem) -> tuple[codegen.Schedule, ...]:
        """The one kernel whose loops do the work."""
        return (order_of(problem).schedule,)

    def stores(self, problem: Problem) -> str:
        """The result's type, unless a NaN would have to become an integer, which is not for a kernel to refuse."""
        result = problem.result_dtype
        if result not in _STORABLE or problem.compute_dtype.startswith("c"):
            return problem.compute_dtype
        if result == "bfloat16":  # made of float32 alone
            return result if problem.compute_dtype == "float32" else problem.compute_dtype
        whole = np.dtype(result).kind in "iu"
        return problem.compute_dtype if whole and np.dtype(problem.input_dtype).kind not in "iub" else result

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        plain = kernel[:, 0, 0]
        order, real = order_of(problem), REAL[problem.compute_dtype]
        if plain.ndim == 2:
            plain = plain[:, None]
        if not problem.compute_dtype.startswith("c"):
            return np.ascontiguousarray(order.pack(plain), real)
        # The sums of the real parts, then those of the imaginary parts; see `order_of`.
        re, im = np.real(plain).astype(real), np.imag(plain).astype(real)
        if not problem.input_dtype.startswith("c"):
            halves = [re, im]
        elif not problem.kernel_dtype.startswith("c"):
            halves = [re]
        else:
            halves = [np.stack([re, -im], 1), np.stack([im, re], 1)]
        return np.stack([order.pack(half) for half in halves])

    def quick(self, problem: Problem, order: str) -> Callable[[Array, Array, Array | None], Array | None] | None:
        """One sample and a finite kernel, all else worked out before."""
        if problem.compute_dtype not in ("float32", "float64"):
            return None
        shape, dtype = problem.output_shape[3:], np.dtype(self.stores(problem))
        if problem.outputs * dtype.itemsize >= STREAMED:
            return None
        out_strides, compute = contiguous(problem.output_shape, dtype), np.dtype(problem.compute_dtype)
        programs = alone.Programs(lambda strides: direct_tiles.program(problem, strides, out_strides, dtype.name))
        seconds = _one_thread(problem)
        elements = order_of(problem).elements
        elements = elements if order == "correlation" else problem.taps - 1 - elements

        def call(x: Array, k: Array, out: Array | None) -> Array | None:
            weights = k.ravel()[elements]
            if weights.dtype is not compute:
                weights = weights.astype(compute)
            if not all_finite(weights):
                return None
            out = alone.place(out, x, shape, dtype)
            if out is not None:
                bases = address(out), address(x), address(weights)
                pool.run(programs[x.strides], bases, threads.num_threads(), seconds)
            return out

        return call

    def alone(self, problem: Problem, prepared: Array) -> Alone | None:
        """One sample, all else worked out before."""
        dtype = self.stores(problem)
        if problem.outputs * np.dtype(dtype).itemsize >= STREAMED:
            return None

        def program(x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Program:
            return direct_tiles.program(problem, x_strides, out_strides, dtype)

        return alone.alone(problem, dtype, program, prepared, _one_thread(problem))

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        if x.dtype != problem.input_dtype:  # kernels read memory as they are told
            raise TypeError(f"samples are {x.dtype}, not {problem.input_dtype} as the problem has them")
        pixel = 1
        if problem.compute_dtype in ("float32", "float64") and interleaved(problem, x, out):
            # All channels of an image at once: its rows are rows of numbers, whose kernel elements stand a pixel apart.
            pixel, problem = problem.batch, folded(problem)
        x_strides, out_strides = ((*a.strides[:-1], a.strides[-1] // pixel) for a in (x, out))
        samples, seconds = samples_at_once(problem), _one_thread(problem)
        line = address(out) % LINE if out.nbytes >= STREAMED else None
        for first in range(0, problem.batch, samples):
            count = min(samples, problem.batch - first)
            part = problem if count == problem.batch else problem.derive(batch=count)
            program = direct_tiles.program(part, x_strides, out_strides, type_name(out.dtype), line, pixel)
            bases = (
                address(out) + first * out.strides[0], address(x) + first * x.strides[0], address(prepared),
            )  # fmt: skip
            pool.run(program, bases, threads.num_threads(), seconds * count / problem.batch)


def _plain_row(problem: Problem) -> bool:
    """Whether it is a signal without boundary, stride or dilation; of any type, as digits of integers change theirs."""
    first = problem.windows[0]
    plain = first.stride == first.dilation == 1 and first.sides == ("zero", "zero")
    return plain and len(problem.windows) == 1


def _one_thread(problem: Problem) -> float:
    """Seconds that the arithmetic takes one thread, roughly."""
    return 2 * problem.multiply_adds * width(problem.compute_dtype) / DEFAULT.fused


def _fused_rate(timer: probes.Timer) -> float | None:
    """Operations per second of a 9 x 9 kernel on samples in cache; None where nothing can be compiled."""
    if codegen.why_not() is not None:
        return None
    window = (Window(72, 9, 64), Window(1032, 9, 1024))
    problem = Problem(window, input_dtype="float32", kernel_dtype="float32", compute_dtype="float32")
    x, out = np.ones(problem.input_shape, np.float32), np.empty(problem.output_shape, np.float32)
    prepared = COMPILED.prepare(problem, np.ones(problem.kernel_shape, np.float32))
    program = direct_tiles.program(problem, x.strides, out.strides, "float32")
    bases = address(out), address(x), address(prepared)
    return 2 * problem.multiply_adds / timer(lambda: pool.run(program, bases))


COMPILED = Compiled()
probes.register("fused", _fused_rate)
registry.register(COMPILED)
