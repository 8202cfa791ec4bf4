"""Implicit GEMM: channels and kernel elements summed by a compiled register tile over tiles of packed samples."""

from __future__ import annotations

import math

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import dense_blocks, dense_tiles, dense_weights, halves
from convkit.algorithms.support.dense_rows import DenseRows
from convkit.algorithms.support.dense_samples import layout_of
from convkit.algorithms.support.dense_weights import Weights
from convkit.codegen import pool
from convkit.codegen.memory import address, type_name
from convkit.planner import registry
from convkit.planner.algorithm import Array, Call, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.bands import Part
from convkit.planner.finishing import NOTHING, Operands, finish_apart
from convkit.planner.machine import DEFAULT, Machine, width
from convkit.planner.problem import Problem

LEAST_PRODUCTS = 1 << 8
"""Products of one sample below which neither loading the compiler nor its kernels would be paid back. They are few:
NumPy's calls take several times as long as a recorded job, and networks weigh channels by layers of one pixel."""

MOST_TAPS = 1 << 12
"""Kernel elements at most: larger kernels are for transforms, and tables of their offsets would fill the cache."""

SHARING = 3
"""How many samples share weights that are put in order for one call: it is of one or of several."""

_READABLE = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16",
    "float32", "float64",
}  # fmt: skip


class ImplicitGemm:
    """``out[o, i] = sum_(c,j) w[o, c, j] * v[c, i*stride + start + j*dilation]``; see `convkit.codegen.dense.Dense`.

    Every output is formed by the same sequence of fused multiply-adds wherever it stands: some channels at a time,
    there kernel row by kernel row. Rows that meet nothing but zeros beyond the edge are left out where they can be.
    """

    name = "implicit-gemm"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if problem.outputs * problem.terms * problem.out_channels == 0 or not all(w.size for w in problem.windows):
            return Reason("nothing-to-do")
        if problem.compute_dtype not in ("float32", "float64") or problem.input_dtype not in _READABLE:
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        if problem.batch_of == "channels":
            return Reason("gradient")
        if problem.in_channels == problem.out_channels == 1:
            return Reason("one-channel")
        if problem.taps > MOST_TAPS:
            return Reason("too-many-elements", taps=problem.taps, limit=MOST_TAPS)
        products = problem.terms * problem.outputs * problem.out_channels * problem.groups
        if products < LEAST_PRODUCTS:
            return Reason("too-small", products=products, limit=LEAST_PRODUCTS)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size = np.dtype(problem.compute_dtype).itemsize
        work = 2.0 * problem.multiply_adds
        cut = dense_blocks.blocking(problem)
        tasks = len(cut.boxes) * cut.splits * problem.groups * problem.batch
        # The rate is that of direct convolution, whose register tile has to load more for each multiply-add.
        seconds = work / (1.1 * machine.fused * cut.share)
        # What is laid down and what is stored: several numbers at a time, and so many more for each row. Every task
        # lays down its own.
        inputs, outputs = math.prod(problem.input_shape), math.prod(problem.output_shape)
        rows = 12 / problem.windows[-1].size
        stored = 0.0 if cut.lines == "apart" else 0.3
        seconds += ((0.3 + rows) * inputs * cut.splits + stored * outputs) / machine.elementwise
        # The model describes two threads, whatever their number is, so that it does not decide how sums are formed.
        seconds *= width(problem.compute_dtype) / (1.9 if tasks > 1 else 1.0)
        weights = math.prod(problem.kernel_shape)
        if problem.kernel_is == "fresh":
            seconds += problem.batch * weights * dense_weights.SECONDS / SHARING
        moved = size * (inputs + outputs + weights)
        seconds = max(seconds, moved / machine.bandwidth) + 1e-5 + 2e-7 * tasks
        return Cost(work, moved, seconds, dense_tiles.scratch(problem) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def prepare(self, problem: Problem, kernel: Array) -> Weights:
        return Weights(problem, kernel)

    def finishes(self, problem: Problem) -> bool:
        """Always: the register tile or the step that stores ends the sums, or they are ended where they stand."""
        return True

    def stores(self, problem: Problem) -> str:
        """The result's type, if it is one of real numbers."""
        return halves.stored(problem)

    def run(self, problem: Problem, prepared: Weights, x: Array, out: Array, operands: Operands = NOTHING) -> None:
        calls = self.calls(problem, prepared, x, out, operands)
        if calls is None:
            finish_apart(
                problem.epilogue, problem.compute_dtype, out, operands,
                lambda sums: self.run(problem.sums, prepared, x, sums),
            )  # fmt: skip
            return
        for call in calls:
            pool.run(call.program, call.bases, threads.num_threads(), call.seconds)

    def calls(
        self, problem: Problem, prepared: Weights, x: Array, out: Array, operands: Operands = NOTHING
    ) -> list[Call] | None:
        """All of it, but where the result's strides leave the epilogue to be done afterwards."""
        add = operands.add
        if problem.epilogue is not None and not dense_tiles.ends(problem, out, add):
            return None
        samples = dense_tiles.samples_at_once(problem)
        seconds = 2 * problem.multiply_adds * width(problem.compute_dtype) / DEFAULT.fused
        layout, w_strides = layout_of(problem, x.strides, out.strides), None
        if dense_tiles.read_in_place(problem, prepared.kernel, layout):
            weights, w_strides = prepared.kernel, prepared.kernel.strides
        else:
            weights = prepared.ordered(problem, dense_blocks.blocking(problem, layout).blocks)
        bias = 0 if operands.bias is None else address(operands.bias)
        found: list[Call] = []
        results = dense_tiles.results_of(problem, address(out))
        for first in range(0, problem.batch, samples):
            count = min(samples, problem.batch - first)
            part = problem if count == problem.batch else problem.derive(batch=count)
            program = dense_tiles.program(part, x.strides, out.strides, type_name(out.dtype), results, w_strides)
            bases = (
                address(out) + first * out.strides[0], address(x) + first * x.strides[0], address(weights), 0, bias,
                0 if add is None else address(add) + first * add.strides[0],
            )  # fmt: skip
            found.append(Call(program, bases, seconds * count / problem.batch, held=(weights, operands.bias)))
        return found

    def in_rows(self, problem: Problem, prepared: Weights, bias: Array | None) -> Part | None:
        """Where results lie with their channels side by side."""
        rows = DenseRows.of(problem)
        return None if rows is None else Part(rows, prepared, bias)


registry.register(ImplicitGemm())
