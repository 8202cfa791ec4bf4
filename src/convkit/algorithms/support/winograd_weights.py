"""Kernels made ready for Winograd's filtering: transformed, and in the order in which the products read them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit import threads
from convkit.algorithms.support.packing import LINE
from convkit.algorithms.support.planes import Strides
from convkit.algorithms.support.winograd_blocks import Blocking, blocking
from convkit.codegen import pool, recording, winograd_kernel
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.memory import address
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import OUT, Steps, X
from convkit.codegen.winograd_kernel import WinogradKernel
from convkit.planner.problem import Problem

SECONDS = 5e-9
"""What it takes to transform the kernel of a pair of channels."""


def vector_bytes(problem: Problem, cut: Blocking) -> int:
    """Bytes of the weights of a vector of output channels for one frequency."""
    return problem.in_channels * cut.lanes * cut.item


def frequency_bytes(problem: Problem, cut: Blocking) -> int:
    """Bytes from one frequency to the next; a power of two would have all of them meet in the caches."""
    return cut.blocks[-1][1] * vector_bytes(problem, cut) + LINE


def group_bytes(problem: Problem, cut: Blocking) -> int:
    """Bytes from one group to the next."""
    return cut.size**2 * frequency_bytes(problem, cut)


def transform_weights(problem: Problem, kernel: NDArray[Any], outputs: int) -> NDArray[Any]:
    """Weights (groups, out, in, r, r), a view with any strides, transformed and in order; one row for each group."""
    cut = blocking(problem.derive(batch=1), outputs)
    kernel = np.asarray(kernel, problem.compute_dtype)
    ready = recording.working((problem.groups * group_bytes(problem, cut) // cut.item,), problem.compute_dtype)
    program = _program(problem.derive(batch=1), outputs, kernel.strides)
    seconds = problem.images * SECONDS
    pool.run(program, (address(ready), address(kernel), 0), threads.num_threads(), seconds)
    return ready


@lru_cache(maxsize=128)
def _program(problem: Problem, outputs: int, strides: Strides) -> Program:
    """One task for each vector of output channels and group; a vector of weights is done in parts of wide vectors."""
    cut = blocking(problem, outputs)
    groups = np.arange(problem.groups, dtype=np.int64)
    lanes = this_machine().vector_bytes // 8
    tasks: list[list[Steps]] = []
    for (first, _), panels in zip(cut.blocks, cut.panels, strict=True):
        begin = first
        for size, count in panels:
            for vector in range(size * count):
                panel, within = divmod(vector, size)
                to = (begin + panel * size) * vector_bytes(problem, cut) + within * cut.lanes * cut.item
                channel = (begin + vector) * cut.lanes
                tasks.append([
                    winograd_kernel.ARGUMENTS.steps(
                        address_of(WinogradKernel(problem.compute_dtype, outputs, cut.taps)), len(groups),
                        to=(OUT, groups * group_bytes(problem, cut) + to + part * cut.item),
                        x=(X, groups * strides[0] + (channel + part) * strides[1]),
                        outputs=max(0, min(lanes, problem.out_channels - channel - part)), x_output=strides[1],
                        depth=problem.in_channels, to_channel=size * cut.lanes * cut.item, x_channel=strides[2],
                        x_row=strides[3], x_column=strides[4], to_frequency=frequency_bytes(problem, cut),
                    )
                    for part in range(0, cut.lanes, lanes)
                ])  # fmt: skip
            begin += size * count
    return join(tasks, Tables().array(), 64)
