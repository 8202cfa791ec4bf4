"""Winograd's minimal filtering: 2 x 2 or 4 x 4 outputs of small kernels by 16 or 36 products a channel."""

from __future__ import annotations

import ctypes
import math
from typing import Literal

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support import halves, winograd_blocks, winograd_tiles, winograd_weights
from convkit.algorithms.support.register_tiles import cycles
from convkit.algorithms.support.winograd_packing import neighbours
from convkit.codegen import pool
from convkit.codegen.memory import address, type_name
from convkit.codegen.winograd_points import FILTERS, kernels_of, transforms
from convkit.planner import registry
from convkit.planner.algorithm import Array, Call, Cost, ErrorBound, Reason, unit_roundoff
from convkit.planner.finishing import NOTHING, Operands, finish_apart
from convkit.planner.machine import DEFAULT, Machine, layer_on_two_threads, width
from convkit.planner.problem import Problem

LEAST_PRODUCTS = 1 << 12
"""Products of one sample below which neither loading the compiler nor its kernels would be paid back."""

STATUS_AT = 3
"""Where `convkit.codegen.step.STATUS` stands among the bases of a call."""

TRANSFORM = 4.0
"""Cycles that it takes to transform one vector of a tile, for each of its frequencies."""

STAYING = 1 << 23
"""Bytes of weights at most that the last cache has ready in time."""

MOVE = 0.4
"""Cycles that it takes to lay down or to store one number."""

PREPARED, SHARING = 5e-10, {"kept": 32, "fresh": 16}
"""Seconds that it takes to make a transformed weight ready; and how many samples share it: those of calls where weights
are kept; of one otherwise, which is a gradient's: networks learn from batches."""

ROUNDINGS = {"inputs": 3, "outputs": 3, "kernel": 1}
"""How often a number is rounded at most when one axis of a tile is transformed; a kernel's besides for each element."""


class Winograd:
    """``out = A ((G w G') * (B v B')) A'`` tile by tile, summed over channels between the transforms.

    The matrices are those of `convkit.codegen.winograd_points`. Every output is formed by the same sequence of
    operations wherever its tile stands: tiles are counted from the first output.
    """

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.name = f"winograd-{outputs}"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.outputs * problem.terms * problem.out_channels == 0 or not all(w.size for w in problem.windows):
            return Reason("nothing-to-do")
        fits = len(problem.windows) == 2 and all(
            (w.kernel, w.stride, w.dilation, w.up) == (problem.windows[0].kernel, 1, 1, 1) for w in problem.windows
        )
        if not fits or problem.windows[0].kernel not in FILTERS[self.outputs]:
            return Reason("not-these-kernels", kernels=kernels_of(self.outputs))
        if problem.batch_of == "channels":
            return Reason("gradient")
        if not halves.readable(problem.input_dtype, problem.compute_dtype):
            return Reason("no-compiled-kernel", dtype=problem.input_dtype)
        if problem.in_channels == problem.out_channels == 1:
            return Reason("one-channel")
        products = problem.terms * problem.outputs * problem.out_channels * problem.groups
        if products < LEAST_PRODUCTS:
            return Reason("too-small", products=products, limit=LEAST_PRODUCTS)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        slow, size = width(problem.compute_dtype), np.dtype(problem.compute_dtype).itemsize
        cut = winograd_blocks.blocking(problem.derive(batch=1), self.outputs)
        tiles, lanes = math.prod(cut.tiles), cut.lanes
        inputs, outputs = (-(-n // lanes) for n in (problem.in_channels, problem.out_channels))
        # Cycles of one sample: products; each task transforms its samples for itself; what goes in and out.
        products = cut.size**2 * problem.in_channels * cycles(tiles, outputs, cut.rows, cut.vectors)
        transformed = TRANSFORM * cut.size**2 * tiles * (inputs * len(cut.blocks) + outputs)
        positions = math.prod(w.size for w in problem.windows)
        moved = MOVE * lanes * (positions * inputs * len(cut.blocks) + problem.outputs * outputs)
        samples = problem.batch * problem.groups
        work = 2.0 * lanes * products * samples
        seconds = samples * (products + transformed + moved) * 2 * lanes / (1.1 * machine.fused / slow)
        # Weights are more than they were. Where they do not stay in the caches, every box of tiles waits for them.
        weights = size * problem.in_channels * problem.out_channels * cut.size**2
        seconds += samples * len(cut.boxes) * max(0, weights - STAYING) / machine.bandwidth
        tasks = len(cut.boxes) * len(cut.blocks) * samples
        # What is stored in tiles is read before it is written, which nothing hides.
        seconds += size * math.prod(problem.output_shape) / machine.bandwidth
        seconds = layer_on_two_threads(seconds, tasks, problem.batch_of)
        arrays = (problem.input_shape, problem.output_shape)
        moved = size * sum(map(math.prod, arrays)) + max(0, problem.groups * weights - STAYING)
        seconds = max(seconds, moved / machine.bandwidth) + 1e-5 + 2e-7 * tasks
        seconds += problem.batch * problem.groups * weights / size * PREPARED / SHARING[problem.kernel_is]
        return Cost(work, moved, seconds, winograd_tiles.scratch(problem, self.outputs) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        """What an output is summed from is rounded with every term of the sum over channels, and in the transforms.

        What is rounded is larger than the output by the matrices' ``spread`` along each axis.
        """
        u, taps = unit_roundoff(problem.compute_dtype), problem.windows[0].kernel
        roundings = problem.in_channels + 2 * (ROUNDINGS["inputs"] + ROUNDINGS["outputs"])
        roundings += 1 if problem.compute_dtype == "float32" else 2 * (ROUNDINGS["kernel"] + taps)
        growth = (roundings + 1) * u
        factor = transforms(self.outputs, taps).spread ** 2 * growth / (1 - growth) if growth < 1 else math.inf
        return ErrorBound("norm", factor)

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        return winograd_weights.transform_weights(problem, kernel, self.outputs)

    def finishes(self, problem: Problem) -> bool:
        """Whether it does the epilogue as it stores: always."""
        return problem.epilogue is not None

    def pools(self, problem: Problem) -> bool:
        """Where a tile holds whole windows."""
        epilogue = problem.epilogue
        if epilogue is None or epilogue.add or len(set(epilogue.pool)) != 1:
            return False
        return epilogue.pool[0] > 1 and self.outputs % epilogue.pool[0] == 0

    def stores(self, problem: Problem) -> str:
        """The result's type."""
        return halves.stored(problem)

    def run(
        self, problem: Problem, prepared: Array, x: Array, out: Array, operands: Operands = NOTHING
    ) -> Literal["finite"] | None:
        calls = self.calls(problem, prepared, x, out, operands)
        if calls is None:
            return finish_apart(
                problem.epilogue, problem.compute_dtype, out, operands,
                lambda sums: self.run(problem.sums, prepared, x, sums),
            )  # fmt: skip
        found = ctypes.c_int64(0)
        for call in calls:
            bases = (*call.bases[:STATUS_AT], ctypes.addressof(found), *call.bases[STATUS_AT + 1 :])
            pool.run(call.program, bases, threads.num_threads(), call.seconds)
        return None if found.value else "finite"

    def calls(
        self, problem: Problem, prepared: Array, x: Array, out: Array, operands: Operands = NOTHING
    ) -> list[Call] | None:
        """All of it, but where the result's strides leave the epilogue to be done afterwards."""
        add = operands.add
        beside = {neighbours(array.strides, array.itemsize) for array in (out, add) if array is not None}
        if problem.epilogue is not None and (len(beside) > 1 or "none" in beside):
            return None
        samples = winograd_tiles.samples_at_once(problem, self.outputs)
        seconds = 2 * problem.multiply_adds * width(problem.compute_dtype) / DEFAULT.fused
        made: list[Call] = []
        bias = np.ascontiguousarray(prepared[:1] if operands.bias is None else operands.bias)
        other = out if add is None else add
        for first in range(0, problem.batch, samples):
            count = min(samples, problem.batch - first)
            part = problem if count == problem.batch else problem.derive(batch=count)
            program = winograd_tiles.program(
                part, self.outputs, x.strides, out.strides, other.strides, type_name(out.dtype)
            )
            bases = (
                address(out) + first * out.strides[0], address(x) + first * x.strides[0], address(prepared),
                0, address(bias), address(other) + first * other.strides[0],
            )  # fmt: skip
            made.append(Call(program, bases, seconds * count / problem.batch, STATUS_AT, (prepared, bias)))
        return made


registry.register(Winograd(2))
registry.register(Winograd(4))
