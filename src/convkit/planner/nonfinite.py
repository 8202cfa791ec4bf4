"""NaN and Inf stay where they belong: in the outputs whose window holds them, whatever the algorithm.

A transform mixes all samples, so one NaN would turn a whole block into NaN. Such a block is recognised by its result;
it is then computed again from the finite samples alone, and the outputs that a non-finite sample reaches are set from
counts: how many of their terms are NaN, +Inf and -Inf. Counts are integer convolutions, and exact.
"""

from __future__ import annotations

from cmath import isfinite
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem

Planner = Callable[..., Any]
"""``convkit.planner.plan.plan_for``."""

SPREADING = frozenset({
    "fft", "overlap-save", "sliding-box", "recursive", "winograd-2", "winograd-4", "winograd-gradient-2",
    "winograd-gradient-4",
})  # fmt: skip
"""Algorithms whose results mix samples of different windows."""

SAFE = "direct"
"""The algorithm that forms the terms of the definition and nothing else."""

SAFE_BY_PHASES = "polyphase"
"""The one that makes ordinary problems of an upsampled one, and looks at the kernel of each."""


FEW = 64
"""Elements that Python adds in less time than it takes to keep NumPy from warning of their sum."""


def all_finite(values: Array) -> bool:
    """Whether no element is NaN or infinite; one pass, no temporary of the array's size unless something is found."""
    if values.dtype.kind in "iub" or values.size == 0:
        return True
    if values.size <= FEW and values.dtype.char in "efdFD" and isfinite(sum(values.ravel().tolist())):
        return True
    if values.dtype.name in _INFINITE:
        return _halves_finite(_in_memory_order(values), _INFINITE[values.dtype.name])
    with np.errstate(all="ignore"):
        values = _in_memory_order(values)
        if values.flags.c_contiguous and values.dtype.char in "fd" and _squares_finite(values.reshape(-1)):
            return True
        # A sum is finite only if every element is, save for overflow, which the second look settles.
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


_INFINITE = {"float16": 0x7C00, "bfloat16": 0x7F80}
"""The bits of infinity, from which on magnitudes are not finite."""


def _halves_finite(values: Array, infinite: int) -> bool:
    """By their bits, some at a time: arithmetic on such types is slow."""
    if not values.flags.c_contiguous:
        return all(_halves_finite(part, infinite) for part in values)
    bits = values.reshape(-1).view(np.int16)
    return all(int((part & 0x7FFF).max()) < infinite for part in _parts(bits))


AT_ONCE = 1 << 13
"""Elements whose squares are added in one call: of more, NumPy's library of linear algebra has its own threads do a
part, and these wait awake for milliseconds on the cores that ours need."""


def _squares_finite(flat: Array) -> bool:
    """Several times as fast as a sum; squares may overflow, so that False says nothing."""
    return all(isfinite(np.dot(part, part)) for part in _parts(flat))


def _parts(flat: Array) -> Iterator[Array]:
    return (flat[first : first + AT_ONCE] for first in range(0, flat.size, AT_ONCE))


def _in_memory_order(values: Array) -> Array:
    """The same elements, one after another as far as can be: other views of them are read several times slower."""
    if values.flags.c_contiguous:
        return values
    forward = values[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in values.strides)]
    return forward.transpose(sorted(range(values.ndim), key=lambda axis: -forward.strides[axis]))


TAME = 1e30
"""The largest sum of a kernel's magnitudes from which sums that are to be stored as integers cannot become NaN."""


def tame(problem: Problem, kernel: Array) -> bool:
    """Whether every algorithm can take this kernel: it is finite, and no sum to be stored as an integer overflows.

    No zero beyond an edge meets a kernel of one element that stays inside the input, so it may be anything.
    """
    if problem.exact:
        return True
    inside = all(window.inside for window in problem.windows)
    if problem.taps == 1 and inside and not problem.upsampled and not problem.result_dtype:
        return True
    if problem.result_dtype.removeprefix("u").startswith("int"):
        with np.errstate(all="ignore"):
            return bool(np.abs(kernel).sum() < TAME)
    return all_finite(kernel)


def exact_terms(problem: Problem, algorithm: str) -> bool:
    """Whether ``algorithm`` adds the products of a gradient's definition and nothing else.

    So it is where no window leaves the input: elsewhere an infinite element may meet a zero that stands for no sample.
    """
    inside = all(window.inside for window in problem.windows)
    return problem.batch_of == "channels" and inside and algorithm not in SPREADING and not problem.upsampled


def seen_later(problem: Problem) -> bool:
    """Whether a kernel is not looked at before it is used, but only if sums turn out not to be finite.

    A layer's kernel is small, and looked at in no time; that of a gradient is as large as images, its sums are few.
    """
    return problem.batch_of == "channels" and not problem.result_dtype.removeprefix("u").startswith("int")


def unsettled(problem: Problem, algorithm: str, kernel: Array, out: Array) -> bool:
    """Whether ``algorithm`` may have written something infinite or NaN where the definition has none.

    No algorithm makes finite sums of infinite terms, so that finite sums say that there were none.
    """
    spreads = algorithm in SPREADING
    safe = algorithm in (SAFE, SAFE_BY_PHASES) or exact_terms(problem, algorithm)  # phases look for themselves
    unseen = seen_later(problem) and not safe
    return (spreads or unseen) and not all_finite(out) and (spreads or not tame(problem, kernel))


def repair(problem: Problem, kernel: Array, x: Array, out: Array, plan_for: Planner) -> None:
    """Give ``out`` the values of the definition where ``x`` is not finite.

    ``plan_for`` makes the plans of the repair: of the finite samples, and of the counts.
    """
    safe = plan_for(problem, SAFE)
    inner = safe.algorithm.prepare(problem, kernel)
    bad = ~np.isfinite(x)
    if not bad.any() or problem.compute_dtype.startswith("c"):
        # Finite samples whose sums overflow, or complex infinities, whose products have rules of their own.
        safe.algorithm.run(problem, inner, x, out)
        return
    clean = problem.derive(input_dtype=x.dtype.name)
    plan = plan_for(clean)
    plan.algorithm.run(clean, plan.algorithm.prepare(clean, kernel), np.where(bad, x.dtype.type(0), x), out)
    if not all_finite(out):
        safe.algorithm.run(problem, inner, x, out)
        return
    counting = problem.derive(
        input_dtype="bool", kernel_dtype="bool", compute_dtype="int64", fill=0, accuracy="norm", structure="dense",
        rank=0, uniform=(), smooth=(),
    )  # fmt: skip
    counter = plan_for(counting)

    def count(samples: Array, elements: Array) -> Array:
        """For each output, how many of its terms pair a marked sample with a marked kernel element."""
        counts = np.zeros(problem.output_shape, np.int64)
        if samples.any() and elements.any():
            counter.algorithm.run(counting, counter.algorithm.prepare(counting, elements), samples, counts)
        return counts

    above, below, no_number = np.isposinf(x), np.isneginf(x), np.isnan(x)
    plus = count(above, kernel > 0) + count(below, kernel < 0)
    minus = count(above, kernel < 0) + count(below, kernel > 0)
    nan = count(no_number, np.ones(kernel.shape, bool)) + count(above | below, kernel == 0)
    out[plus > 0] = np.inf
    out[minus > 0] = -np.inf
    out[(nan > 0) | ((plus > 0) & (minus > 0))] = np.nan
