"""Small boxes over images of bytes, in one pass: exact sums of 16 bits, scaled and rounded as they are stored."""

from __future__ import annotations

import math

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import alone, byte_tiles
from convkit.algorithms.support.pass_programs import program, run_passes
from convkit.algorithms.support.passes import Passes
from convkit.algorithms.support.pixels import folded, interleaved
from convkit.codegen import pool
from convkit.codegen.byte_boxes import rounding
from convkit.codegen.library import Kernel
from convkit.codegen.program import Program
from convkit.errors import AccuracyError, by
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, on_two_threads
from convkit.planner.problem import Problem
from convkit.planner.structure import cross_factors


class ByteBox:
    """``out[i, j] = round(w * sum v[i + a, j + b])`` over a box of at most 257 bytes.

    Rows of sums slide down the image; along a row neighbouring windows share the sums of their common columns. Nothing
    is packed: boundaries are tables of rows, and columns of sums that are copied.
    """

    name = "byte-box"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if problem.exact:
            return Reason("not-exact")
        if not problem.single:
            return Reason("several-kernels")
        if problem.structure != "separable" or not problem.uniform:
            return Reason("not-uniform")
        if problem.outputs * problem.taps == 0:
            return Reason("nothing-to-do")
        if not byte_tiles.fits(problem):
            return Reason("not-byte-sums")
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        moved = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        seconds = _one_thread(problem, machine)
        seconds = on_two_threads(seconds, problem.batch * problem.windows[0].count / byte_tiles.ROWS)
        workspace = byte_tiles.scratch(problem) * threads.num_threads()
        return Cost(byte_tiles.work_of(problem), moved, seconds + 1.25e-5, workspace)

    def bound(self, problem: Problem) -> ErrorBound:
        """Sums are exact; the factor, a product of two, and what is multiplied by it are rounded."""
        return summation_bound(problem, 4)

    def describe(self, problem: Problem) -> str:
        """The loop nest."""
        return byte_tiles.kernel_of(problem).name

    def kernels(self, problem: Problem) -> tuple[Kernel, ...]:
        """It alone."""
        return (byte_tiles.kernel_of(problem),)

    def stores(self, problem: Problem) -> str:
        """Bytes."""
        return "uint8"

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        """The scale as the passes have it, and how it is applied to sums of 16 bits."""
        plain = kernel[0, 0, 0]
        found = cross_factors(plain)
        if found is None:
            raise AccuracyError("not-separable", kernel=by(plain.shape))
        scale = np.float32(math.prod(float(vector[0]) for vector in found[0]))
        applied = np.frombuffer(rounding(float(scale), byte_tiles.largest(problem)), np.float32)
        return np.concatenate([_passes(problem).weights(problem, found), applied])

    def alone(self, problem: Problem, prepared: Array) -> Alone | None:
        """One sample, all else worked out before."""

        def made(x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Program:
            if byte_tiles.reads(x_strides, out_strides):
                return byte_tiles.program(problem, x_strides, out_strides, _rounding_at(problem))
            return program(problem, _passes(problem), x_strides, out_strides, "uint8")

        return alone.alone(problem, "uint8", made, prepared, _one_thread(problem, DEFAULT))

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        if x.dtype != problem.input_dtype:  # kernels read memory as they are told
            raise TypeError(f"samples are {x.dtype}, not {problem.input_dtype} as the problem has them")
        pixel, part = 1, problem
        if interleaved(problem, x, out):
            # All channels of an image at once: its rows are rows of numbers, whose columns stand a pixel apart.
            pixel, part = problem.batch, folded(problem)
        x_strides, out_strides = ((*a.strides[:-1], a.strides[-1] // pixel) for a in (x, out))
        if not byte_tiles.reads(x_strides, out_strides) or out.dtype != "uint8":
            run_passes(problem, _passes(problem), prepared, x, out)  # the same numbers, from tiles that are packed
            return
        work = byte_tiles.program(part, x_strides, out_strides, _rounding_at(problem), pixel)
        bases = out.ctypes.data, x.ctypes.data, prepared.ctypes.data
        pool.run(work, bases, threads.num_threads(), _one_thread(problem, DEFAULT))


def _passes(problem: Problem) -> Passes:
    """Passes that give the same sums."""
    return Passes.along(problem, 1, problem.uniform)


def _rounding_at(problem: Problem) -> int:
    """Where the rounding lies in the prepared kernel, after the factors and the scale of the passes."""
    return 4 * (sum(window.kernel for window in problem.windows) + 1)


def _one_thread(problem: Problem, machine: Machine) -> float:
    """Seconds that one thread takes, roughly."""
    work = problem.batch * problem.outputs * byte_tiles.vectors_of(problem)
    halo = 1 + 0.5 * problem.windows[0].kernel / byte_tiles.ROWS
    moved = math.prod(problem.input_shape) + problem.batch * problem.outputs
    return max(work * halo * 2 / machine.fused, moved / machine.bandwidth)


registry.register(ByteBox())
