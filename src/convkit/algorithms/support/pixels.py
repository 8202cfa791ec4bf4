"""Images whose channels lie side by side in every pixel: all of them filtered at once, as rows of numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem


def interleaved(problem: Problem, x: Array, out: Array) -> bool:
    """Whether the samples of the batch are the channels of an image, side by side in every pixel."""
    channels = problem.batch
    return (
        channels > 1
        and problem.groups == problem.windows[-1].stride == 1
        and all((a.strides[0], a.strides[-1]) == (a.itemsize, channels * a.itemsize) for a in (x, out))
    )


@lru_cache(maxsize=256)
def folded(problem: Problem) -> Problem:
    """The batch as part of the last axis, along which the kernel's elements stand a pixel apart."""
    *windows, last = problem.windows
    channels = problem.batch
    wide = replace(
        last, size=last.size * channels, count=last.count * channels, start=last.start * channels,
        dilation=last.dilation * channels,
    )  # fmt: skip
    return problem.derive(batch=1, windows=(*windows, wide))
