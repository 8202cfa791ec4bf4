"""Overlap-save: blocks a few kernels long, transformed, multiplied and transformed back while they are in the cache."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from itertools import product
from typing import Any, Literal

import numpy as np

from convkit import threads
from convkit.algorithms.support import (
    fourier_blocks,
    fourier_layer_program,
    fourier_layer_weights,
    fourier_layers,
    fourier_program,
    spectra,
)
from convkit.codegen.fourier_lanes import Lanes
from convkit.codegen.fourier_passes import Pass
from convkit.codegen.fourier_products import Products
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason
from convkit.planner.machine import DEFAULT, Machine
from convkit.planner.problem import Problem

LONGEST = 1 << 17
"""Samples of one block that a cache holds; only a longer kernel makes a longer block."""


@lru_cache(maxsize=2048)
def block_of(problem: Problem) -> tuple[spectra.Transform, tuple[int, ...]]:
    """The transform of one block, and how many outputs it yields along each axis.

    Minimises the predicted time of an output over lengths from one kernel to many, blocks kept short enough for the
    cache.
    """
    real = not problem.compute_dtype.startswith("c")
    best: tuple[float, tuple[int, ...], tuple[int, ...]] | None = None
    for factor in (1.25, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128):
        lengths: list[int] = []
        counts: list[int] = []
        for window in problem.windows:
            wish = min(int(window.reach * factor), max(window.span, window.reach))
            length = spectra.good_size(max(wish, window.reach), real)
            counts.append(max(1, min((length - window.reach) // window.stride + 1, window.count)))
            lengths.append(length)
        transform = spectra.make_transform(lengths, problem.compute_dtype)
        whole = all(count >= window.count for count, window in zip(counts, problem.windows, strict=True))
        if best is not None and (whole or transform.points > LONGEST):
            break  # one block for everything is the algorithm fft
        price = 2 * transform.seconds(DEFAULT, problem.compute_dtype) + spectra.BLOCK_CALLS * DEFAULT.call
        price /= math.prod(counts)
        if best is None or price < best[0]:
            best = price, tuple(lengths), tuple(counts)
    assert best is not None
    return spectra.make_transform(best[1], problem.compute_dtype), best[2]


class OverlapSave:
    """As ``fft``, in blocks that overlap by the kernel's reach less one; the wrapped part of each block is dropped.

    Blocks are transformed by compiled kernels, two real ones at a time (`support.fourier_program`); the tiles of layers
    that sum over channels each for itself (`support.fourier_layer_program`). Where there is no kernel for a problem, or
    only a block larger than a few megabytes would do, ducc0 transforms them.
    """

    name = "overlap-save"

    def applies(self, problem: Problem) -> Reason | None:
        reason = spectra.why_not(problem)
        if reason is not None or fourier_blocks.blocks_of(problem) or fourier_layers.tiling_of(problem):
            return reason
        reason = fourier_layers.too_large(problem)
        if reason is not None:
            return reason
        _, counts = block_of(problem)
        if all(count >= window.count for count, window in zip(counts, problem.windows, strict=True)):
            return Reason("one-block")
        return None

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        compiled = fourier_blocks.blocks_of(problem)
        if compiled is not None:
            return fourier_blocks.cost_of(problem, compiled, machine)
        tiling = fourier_layers.tiling_of(problem)
        if tiling is not None:
            return fourier_layers.cost_of(problem, tiling, machine)
        transform, counts = block_of(problem)
        blocks = math.prod(-(-window.count // count) for window, count in zip(problem.windows, counts, strict=True))
        one = transform.bytes(problem.compute_dtype)
        kernels = problem.groups * problem.in_channels * problem.out_channels
        workspace = one * ((2 * problem.in_channels + 5) * threads.num_threads() + 2 * kernels)
        cost = spectra.transform_cost(problem, machine, transform, blocks, workspace)
        # The model describes two threads, whatever their number is, so that it does not decide how sums are formed.
        return Cost(cost.flops, cost.bytes, cost.seconds / (1.5 if blocks > 1 else 1.0), workspace)

    def bound(self, problem: Problem) -> ErrorBound:
        compiled = fourier_blocks.blocks_of(problem)
        if compiled is not None:
            return fourier_blocks.bound_of(problem, compiled)
        tiling = fourier_layers.tiling_of(problem)
        if tiling is not None:
            return fourier_layers.bound_of(problem, tiling)
        return spectra.transform_bound(problem, block_of(problem)[0])

    def describe(self, problem: Problem) -> str | None:
        """The innermost kernel, and the lengths of a block; None where nothing is compiled."""
        compiled = fourier_blocks.blocks_of(problem) or fourier_layers.tiling_of(problem)
        if compiled is None:
            return None
        return f"{self.kernels(problem)[0].name} {'x'.join(map(str, compiled.lengths))}"

    def kernels(self, problem: Problem) -> tuple[Pass | Lanes | Products, ...]:
        """The compiled kernels that convolve a block, the innermost first."""
        compiled = fourier_blocks.blocks_of(problem)
        if compiled is not None:
            return fourier_blocks.fourier_of(problem, compiled).kernels()
        tiling = fourier_layers.tiling_of(problem)
        return () if tiling is None else tiling.kernels(problem)

    def stores(self, problem: Problem) -> str:
        """The result's type where kernels can store it: integers, if no sample can make a sum that is none."""
        result = problem.result_dtype
        whole = result in fourier_blocks.WHOLE and np.dtype(problem.input_dtype).kind in "iub"
        return result if whole and fourier_blocks.blocks_of(problem) is not None else problem.compute_dtype

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        compiled = fourier_blocks.blocks_of(problem)
        if compiled is not None:
            return fourier_program.kernel_spectra(problem, compiled, kernel)
        tiling = fourier_layers.tiling_of(problem)
        if tiling is not None:
            return fourier_layer_weights.kernel_spectra(problem, tiling, kernel)
        return spectra.kernel_spectrum(problem, block_of(problem)[0], kernel)

    def alone(self, problem: Problem, prepared: Any) -> Alone | None:
        """One sample, all else worked out before; nothing where some output is not finite."""
        compiled = fourier_blocks.blocks_of(problem)
        if compiled is None:
            return None
        return fourier_program.alone_in_blocks(problem, compiled, prepared, self.stores(problem))

    def run(self, problem: Problem, prepared: Any, x: Array, out: Array) -> Literal["finite"] | None:
        compiled = fourier_blocks.blocks_of(problem)
        if compiled is not None:
            return fourier_program.run(problem, compiled, prepared, x, out)
        tiling = fourier_layers.tiling_of(problem)
        if tiling is not None:
            return fourier_layer_program.run(problem, tiling, prepared, x, out)
        transform, counts = block_of(problem)
        boxes = grid(problem, counts)
        threads.run_all([partial(spectra.correlate_block, problem, transform, prepared, x, out, box) for box in boxes])
        return None


def grid(problem: Problem, counts: tuple[int, ...]) -> list[tuple[tuple[int, int], ...]]:
    """Boxes of ``counts`` outputs from the first on; the last along an axis may be smaller."""
    return list(
        product(
            *(
                [(lo, min(lo + count, window.count)) for lo in range(0, window.count, count)]
                for window, count in zip(problem.windows, counts, strict=True)
            )
        )
    )


registry.register(OverlapSave())
