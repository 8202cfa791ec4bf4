"""Programs of short passes, one along each axis, fused tile by tile: what separable kernels and boxes are done with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product
from typing import Literal

import numpy as np

from convkit.algorithms.support.blocks import Range, needed
from convkit.algorithms.support.packing import Packed, item_bytes
from convkit.codegen import boxes, row, sliding
from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.library import Kernel, this_machine
from convkit.codegen.weights import Order, order_for
from convkit.planner.algorithm import Array
from convkit.planner.machine import Machine, on_two_threads
from convkit.planner.problem import Problem

BLOCK = 1 << 16
"""Samples of a packed tile with its halo, about: it and the sums of two passes stay in the second-level cache."""

ALONG = {"taps": 64, "box": 8, "slide": 16}
"""Tiles are so many times longer along the last axis, compared with the kernel: rows are read as they lie. Running sums
are formed of the halo as well, so that tiles should be high."""

ROOM = {"taps": BLOCK, "box": 2 * BLOCK, "slide": 8 * BLOCK}
"""Samples of a tile with its halo; of sums that slide only a few rows are in use at a time."""

LINE = 64
SMALL_IMAGE = 1 << 14
"""Outputs of an image whose tiles are all packed: its border is a large part of it."""

STREAM = 2.2e10
"""Bytes a second that one thread reads and writes while it computes."""

READABLE = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64",
}  # fmt: skip
"""Types that tiles are converted from."""

UNSURE = {"float16", "bfloat16", "float32", "float64"}
"""Types that may hold a NaN."""

Way = Literal["taps", "box", "slide", "none"]
Box = tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Passes:
    """What is done along each axis.

    Attributes
    ----------
    ways : tuple of str
        ``"taps"``: a multiply-add for each element of the factor; ``"box"``: a running sum; ``"slide"``: one in float64
        that slides, along both axes of an image; ``"none"``: nothing, where the kernel has one element and leaves none
        out. The last axis is never ``"none"``.
    terms : int
        How many outer products are summed; boxes have one.
    """

    ways: tuple[Way, ...]
    terms: int = 1

    @property
    def scaled(self) -> bool:
        """Whether the sums are multiplied by a number at the end, as there are no taps that could hold it."""
        return "taps" not in self.ways

    @classmethod
    @lru_cache(maxsize=1024)
    def along(cls, problem: Problem, terms: int = 1, uniform: tuple[int, ...] = ()) -> Passes:
        """Running sums along the axes ``uniform``, taps along all others."""
        last = len(problem.windows) - 1
        ways: list[Way] = []
        for axis, window in enumerate(problem.windows):
            if window.kernel == 1:
                ways.append("none" if axis < last and window.stride == 1 else "taps")
            else:
                ways.append("box" if axis in uniform else "taps")
        return cls(tuple(ways), terms)

    @property
    def main(self) -> str:
        """What decides how tiles are cut."""
        return next((way for way in self.ways if way in ("box", "slide")), "taps")

    def weights(self, problem: Problem, factors: Sequence[Sequence[Array]]) -> Array:
        """The factors of every term in the order in which they are read, and the scale after them."""
        sizes = [window.kernel for window in problem.windows]
        packed: list[Array] = []
        scale = np.float64(1)
        for term in factors:
            vectors = [np.asarray(vector, np.float64) for vector in term]
            # What an axis without taps would multiply with goes to one that has them.
            scale = np.float64(1)
            for axis, way in enumerate(self.ways):
                if way != "taps":
                    scale *= vectors[axis][0]
            if not self.scaled:
                vectors[self.ways.index("taps")] = vectors[self.ways.index("taps")] * scale
            for axis, way in enumerate(self.ways):
                vector = vectors[axis]
                if way == "taps" and axis < len(sizes) - 1:
                    vector = order_along(problem, axis).pack(vector.reshape(1, -1, 1))[0]
                packed.append(vector)
        return np.concatenate([*packed, [scale]]).astype(problem.compute_dtype)


def stored_type(problem: Problem) -> str:
    """The result's type, unless a NaN would have to become an integer, which is not for a kernel to refuse."""
    result = problem.result_dtype
    if result not in READABLE - {"bool"}:
        return problem.compute_dtype
    if result == "bfloat16":  # made of float32 alone
        return result if problem.compute_dtype == "float32" else problem.compute_dtype
    whole = np.dtype(result).kind in "iu"
    return problem.compute_dtype if whole and problem.input_dtype in UNSURE else result


def can_be_compiled(problem: Problem) -> bool:
    """Whether there are kernels for the types of a problem, and columns follow each other without strides."""
    return (
        problem.compute_dtype in ("float32", "float64")
        and problem.input_dtype in READABLE
        and problem.windows[-1].stride == 1
        and all(window.size for window in problem.windows)
    )


def order_along(problem: Problem, axis: int, arithmetic: str = "") -> Order:
    """In which order the taps of an axis before the last are read."""
    window = problem.windows[axis]
    apart = window.stride // math.gcd(window.stride, window.dilation)
    return order_for((window.kernel, 1), arithmetic or problem.compute_dtype, (apart, 1))


def read_in_place(problem: Problem, passes: Passes) -> str:
    """The arithmetic by which the first pass reads samples where they lie; empty if they have to be packed."""
    if len(problem.windows) > 2:
        return ""
    if problem.input_dtype == problem.compute_dtype:
        return problem.compute_dtype
    converted = f"{problem.input_dtype}_{problem.compute_dtype}"
    if slides_down(problem, passes):
        return converted
    if converted not in ARITHMETIC or len(passes.ways) < 2 or passes.ways[0] != "taps":
        return ""
    # Converting takes registers of its own: where there are few, sums would be put on the stack.
    return converted if this_machine().registers >= 32 else ""


def slides_down(problem: Problem, passes: Passes) -> bool:
    """Whether the first pass is a running sum of integers that lie in place: exact, whatever is added when."""
    window = problem.windows[0]
    return (
        len(passes.ways) == 2
        and passes.ways[0] == "box"
        and window.dilation == 1
        and sliding.exact(problem.input_dtype, problem.compute_dtype, window.kernel)
    )


def slides_along(problem: Problem, passes: Passes) -> bool:
    """Whether the second pass is one as well, on sums that were left in 32 bits."""
    area = math.prod(window.kernel for window in problem.windows)
    return (
        slides_down(problem, passes)
        and passes.ways[1] == "box"
        and problem.windows[1].dilation == 1
        and problem.compute_dtype == "float32"
        and sliding.exact(problem.input_dtype, "float32", area)
    )


def kernels_of(problem: Problem, passes: Passes) -> tuple[Kernel, ...]:
    """The compiled kernels of the passes, in their order."""
    host, last = this_machine(), len(problem.windows) - 1
    found: list[Kernel] = []
    dtype = "float32" if problem.compute_dtype == "float32" else "float64"
    for axis, (window, way) in enumerate(zip(problem.windows, passes.ways, strict=True)):
        if way == "taps" and axis < last:
            found.append(order_along(problem, axis, read_in_place(problem, passes) if axis == 0 else "").schedule)
        elif way == "taps":
            stored = stored_type(problem) if passes.terms == 1 else ""
            found.append(row.row_schedule_for(host, dtype, window.kernel, window.dilation, stored))
        elif axis == 0 and slides_down(problem, passes):
            left = "int32" if slides_along(problem, passes) else dtype
            found.append(sliding.sliding_for(host, problem.input_dtype, left))
        elif axis == 1 and slides_along(problem, passes):
            found.append(sliding.sliding_row_for(host, "int32", dtype, stored_type(problem)))
        elif way == "slide" and axis < last:
            found.append(sliding.sliding_for(host, problem.input_dtype, "float64"))
        elif way == "slide":
            found.append(sliding.sliding_row_for(host, "float64", dtype, stored_type(problem)))
        elif way == "box":
            cut = boxes.passes_for(window.kernel)
            ends = ["sum"] * (len(cut) - 1) + ["scale" if axis == last and passes.scaled else "sum"]
            found += [boxes.doubling_for(host, dtype, each.digits, end) for each, end in zip(cut, ends, strict=True)]
    return tuple(dict.fromkeys(found))


class Plane(Packed):
    """A tile in scratch memory, its rows an odd number of cache lines apart: they fall into different sets."""

    __slots__ = ()

    @property
    def row(self) -> int:
        """Bytes from one row to the next."""
        return (-(-self.shape[-1] * self.item // LINE) | 1) * LINE


# ------------------------------------------------------------------------------------------------------------- tiles


def lengths(problem: Problem, passes: Passes, sizes: Sequence[int], packed: bool) -> list[int]:
    """Outputs of one tile along each axis: cut where the halo costs least, until the tile fits the cache."""
    windows, found = problem.windows, list(sizes)
    room = ROOM[passes.main] * (1 if packed or passes.main != "taps" else 2)
    room = room * 4 // np.dtype(problem.compute_dtype).itemsize
    favour = [1] * (len(windows) - 1) + [ALONG[passes.main]]

    def span(axis: int) -> int:
        return (found[axis] - 1) * windows[axis].stride + windows[axis].reach

    while math.prod(map(span, range(len(windows)))) > room:
        gain = [n * window.stride / window.reach / f for n, window, f in zip(found, windows, favour, strict=True)]
        axis = max((axis for axis, n in enumerate(found) if n > 1), key=gain.__getitem__, default=None)
        # A halo larger than the tile would be computed again and again: then rather leave the cache.
        if axis is None or (
            found[axis] < 2 * windows[axis].reach and math.prod(map(span, range(len(windows)))) < 1 << 20
        ):
            break
        found[axis] = -(-found[axis] // 2)
    return found


def _frame(problem: Problem, passes: Passes) -> list[tuple[Box, bool]]:
    """The outputs as boxes, and whether they are packed: those whose windows leave the input, and all others."""
    windows = problem.windows
    whole = tuple((0, window.count) for window in windows)
    if not read_in_place(problem, passes) or problem.outputs <= SMALL_IMAGE:
        return [(whole, True)]
    found: list[tuple[Box, bool]] = []
    inner: Box = ()
    for axis, window in enumerate(windows):
        enter = min(max(0, -(window.start // window.stride)), window.count)
        leave = min(max(0, (window.size - window.reach - window.start) // window.stride + 1), window.count)
        if leave <= enter:
            return [*found, ((*inner, *whole[axis:]), True)]
        outside = [(lo, hi) for lo, hi in ((0, enter), (leave, window.count)) if lo < hi]
        found += [((*inner, side, *whole[axis + 1 :]), True) for side in outside]
        inner = (*inner, (enter, leave))
    return [*found, (inner, False)]


def tiles(problem: Problem, passes: Passes) -> Iterator[tuple[Box, bool]]:
    """The outputs of every tile, and whether it is packed; cut by the problem alone."""
    for box, packed in _frame(problem, passes):
        sizes = lengths(problem, passes, [hi - lo for lo, hi in box], packed)
        cuts = []
        for (lo, hi), length in zip(box, sizes, strict=True):
            pieces = -(-(hi - lo) // length)
            edges = [lo + (hi - lo) * piece // pieces for piece in range(pieces + 1)]
            cuts.append(list(pairwise(edges)))
        for tile in product(*cuts):
            yield tile, packed


def scratch(problem: Problem, passes: Passes) -> int:
    """Bytes of scratch memory that one thread needs at most."""
    planes = 6 if passes.terms > 1 else 5 if passes.main == "slide" else 3
    return planes * max(plane_of(problem, tile).bytes for tile, _ in tiles(problem, passes))


def plane_of(problem: Problem, tile: Box, number: int = 0) -> Plane:
    """One of several planes in scratch memory, each as large as a tile with its halo."""
    spans = [needed(window, outputs) for window, outputs in zip(problem.windows, tile, strict=True)]
    plane = Plane(0, tuple(hi - lo for lo, hi in spans), 1, np.dtype(problem.compute_dtype).itemsize)
    return replace(plane, place=number * plane.bytes)


def seconds_of(problem: Problem, passes: Passes, machine: Machine) -> tuple[float, float]:
    """Operations of all passes, and the seconds that they are predicted to take."""
    size = np.dtype(problem.compute_dtype).itemsize
    outputs = float(problem.batch * problem.outputs)
    slid = slides_down(problem, passes), slides_along(problem, passes)
    work = vectors = 0.0  # what passes take, in multiply-adds of a vector in the cache
    for axis, (window, way) in enumerate(zip(problem.windows, passes.ways, strict=True)):
        if way == "taps":
            work += 2 * window.kernel
            vectors += max(window.kernel, 3) + 1.5
        elif way == "box":
            work += boxes.additions(window.kernel)
            vectors += (6, 11)[axis] if axis < 2 and slid[axis] else 7.5 * (window.kernel.bit_length() - 1)
        elif way == "slide":
            work += 4
            vectors += (28, 44)[axis]
    if problem.input_dtype != problem.compute_dtype and not read_in_place(problem, passes):
        vectors += 5
    seconds = passes.terms * outputs * vectors * 2 / machine.fused * size / 4
    typical = lengths(problem, passes, [window.count for window in problem.windows], packed=True)
    halo = number = 1.0
    for window, length, way in zip(problem.windows, typical, passes.ways, strict=True):
        halo *= 1 + (window.reach - 1) / (max(1, length) * window.stride) * (1 if way == "box" else 0.3)
        number *= -(-window.count // max(1, length))
    stored = np.dtype(stored_type(problem)).itemsize if stored_type(problem) != "bfloat16" else 2
    moved = item_bytes(problem.input_dtype) * math.prod(problem.input_shape) + stored * outputs
    # Passes over volumes read short rows, far from each other.
    slow = 0.75 if len(problem.windows) < 3 else 1.2
    seconds = on_two_threads(slow * (seconds * halo + moved / STREAM), number * problem.batch)
    return passes.terms * work * outputs, max(seconds, moved / machine.bandwidth / 3) + 8e-6 + 2e-7 * number
