"""Sums of weight gradients that are formed in parts or beside the result: memory for them, and how they get there."""

from __future__ import annotations

import numpy as np

from convkit import threads
from convkit.codegen import parts, pool, recording
from convkit.codegen.memory import address, type_name
from convkit.planner.algorithm import Array


def beside(out: Array, count: int) -> Array:
    """Memory for ``count`` parts of sums (channels, groups, outputs, *kernel), each in the order of plain weights."""
    channels, groups, outputs, *kernel = out.shape
    held = recording.working((count, groups, outputs, channels, *kernel), out.dtype)
    return np.moveaxis(held, 3, 1)


def added(held: Array, out: Array) -> None:
    """The parts added in order."""
    if held.strides[1:] != out.strides:
        np.add.reduce(held, axis=0, out=out)
        return
    program = parts.program(type_name(out.dtype), len(held), out.size)
    seconds = held.size * parts.SECONDS
    pool.run(program, (address(out), address(held), 0), threads.num_threads(), seconds)
