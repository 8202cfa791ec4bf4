"""Programs of short passes, one along each axis, fused tile by tile: what separable kernels and boxes are done with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np

from convkit import threads
from convkit.algorithms.support.blocks import Range, needed
from convkit.algorithms.support.packing import Offsets, Packed, Source, item_bytes, packing, unpacking
from convkit.codegen import boxes, pool, row, sliding
from convkit.codegen import direct as column
from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.codegen.weights import Order, order_for, taps
from convkit.planner.algorithm import Array
from convkit.planner.machine import DEFAULT, Machine
from convkit.planner.problem import Problem

BLOCK = 1 << 16
"""Samples of a packed tile with its halo, about: it and the sums of two passes stay in the second-level cache."""

ALONG = {"taps": 64, "box": 8}
"""Tiles are so many times longer along the last axis, compared with the kernel: rows are read as they lie. Running sums
are formed of the halo as well, so that tiles should be high."""

LINE = 64
SMALL_IMAGE = 1 << 14
"""Outputs of an image whose tiles are all packed: its border is a large part of it."""

STREAMED = 1 << 23
"""Bytes of a result that does not stay in any cache: it is written past them."""

STREAM = 2.2e10
"""Bytes a second that one thread reads and writes while it computes."""

FOR_THREADS = 3e-5
"""Seconds of work below which a second thread is not worth waking."""

READABLE = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64",
}  # fmt: skip
"""Types that tiles are converted from."""

UNSURE = {"float16", "bfloat16", "float32", "float64"}
"""Types that may hold a NaN."""

Way = Literal["taps", "box", "none"]
Box = tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Passes:
    """What is done along each axis.

    Attributes
    ----------
    ways : tuple of str
        ``"taps"``: a multiply-add for each element of the factor; ``"box"``: a running sum; ``"none"``: nothing, where
        the kernel has one element and leaves none out. The last axis is never ``"none"``.
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
                    vector = _order(problem, axis).pack(vector.reshape(1, -1, 1))[0]
                packed.append(vector)
        return np.concatenate([*packed, [scale]]).astype(problem.compute_dtype)


def stored_type(problem: Problem) -> str:
    """The result's type, unless a NaN would have to become an integer, which is not for a kernel to refuse."""
    result = problem.result_dtype
    if result not in READABLE - {"bool"}:
        return problem.compute_dtype
    whole = np.dtype(result).kind in "iu" if result != "bfloat16" else False
    return problem.compute_dtype if whole and problem.input_dtype in UNSURE else result


def can_be_compiled(problem: Problem) -> bool:
    """Whether there are kernels for the types of a problem, and columns follow each other without strides."""
    return (
        problem.compute_dtype in ("float32", "float64")
        and problem.input_dtype in READABLE
        and problem.windows[-1].stride == 1
        and all(window.size for window in problem.windows)
    )


def _order(problem: Problem, axis: int, arithmetic: str = "") -> Order:
    window = problem.windows[axis]
    apart = window.stride // math.gcd(window.stride, window.dilation)
    return order_for((window.kernel, 1), arithmetic or problem.compute_dtype, (apart, 1))


def _in_place(problem: Problem, passes: Passes) -> str:
    """The arithmetic by which the first pass reads samples where they lie; empty if they have to be packed."""
    if len(problem.windows) > 2:
        return ""
    if problem.input_dtype == problem.compute_dtype:
        return problem.compute_dtype
    converted = f"{problem.input_dtype}_{problem.compute_dtype}"
    if _slides(problem, passes):
        return converted
    if converted not in ARITHMETIC or len(passes.ways) < 2 or passes.ways[0] != "taps":
        return ""
    # Converting takes registers of its own: where there are few, sums would be put on the stack.
    return converted if this_machine().registers >= 32 else ""


def _slides(problem: Problem, passes: Passes) -> bool:
    """Whether the first pass is a running sum of integers that lie in place: exact, whatever is added when."""
    window = problem.windows[0]
    return (
        len(passes.ways) == 2
        and passes.ways[0] == "box"
        and window.dilation == 1
        and sliding.exact(problem.input_dtype, problem.compute_dtype, window.kernel)
    )


def _slides_along(problem: Problem, passes: Passes) -> bool:
    """Whether the second pass is one as well, on sums that were left in 32 bits."""
    area = math.prod(window.kernel for window in problem.windows)
    return (
        _slides(problem, passes)
        and passes.ways[1] == "box"
        and problem.windows[1].dilation == 1
        and problem.compute_dtype == "float32"
        and sliding.exact(problem.input_dtype, "float32", area)
    )


class _Plane(Packed):
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
    summed = "box" in passes.ways
    room = (BLOCK if packed and not summed else 2 * BLOCK) * 4 // np.dtype(problem.compute_dtype).itemsize
    favour = [1] * (len(windows) - 1) + [ALONG["box" if summed else "taps"]]

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
    if not _in_place(problem, passes) or problem.outputs <= SMALL_IMAGE:
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
    return (6 if passes.terms > 1 else 3) * max(_plane(problem, tile).bytes for tile, _ in tiles(problem, passes))


def _plane(problem: Problem, tile: Box, number: int = 0) -> _Plane:
    spans = [needed(window, outputs) for window, outputs in zip(problem.windows, tile, strict=True)]
    plane = _Plane(0, tuple(hi - lo for lo, hi in spans), 1, np.dtype(problem.compute_dtype).itemsize)
    return replace(plane, place=number * plane.bytes)


def seconds_of(problem: Problem, passes: Passes, machine: Machine) -> tuple[float, float]:
    """Operations of all passes, and the seconds that they are predicted to take."""
    size = np.dtype(problem.compute_dtype).itemsize
    outputs = float(problem.batch * problem.outputs)
    slid = _slides(problem, passes), _slides_along(problem, passes)
    work = vectors = 0.0  # what passes take, in multiply-adds of a vector in the cache
    for axis, (window, way) in enumerate(zip(problem.windows, passes.ways, strict=True)):
        if way == "taps":
            work += 2 * window.kernel
            vectors += max(window.kernel, 3) + 1.5
        elif way == "box":
            work += boxes.additions(window.kernel)
            vectors += (6, 11)[axis] if axis < 2 and slid[axis] else 7.5 * (window.kernel.bit_length() - 1)
    if problem.input_dtype != problem.compute_dtype and not _in_place(problem, passes):
        vectors += 5
    seconds = passes.terms * outputs * vectors * 2 / machine.fused * size / 4
    typical = lengths(problem, passes, [window.count for window in problem.windows], packed=True)
    halo = number = 1.0
    for window, length, way in zip(problem.windows, typical, passes.ways, strict=True):
        halo *= 1 + (window.reach - 1) / (max(1, length) * window.stride) * (1 if way == "box" else 0.3)
        number *= -(-window.count // max(1, length))
    stored = np.dtype(stored_type(problem)).itemsize if stored_type(problem) != "bfloat16" else 2
    moved = item_bytes(problem.input_dtype) * math.prod(problem.input_shape) + stored * outputs
    # The model describes two threads, whatever their number is, so that it does not decide how sums are formed.
    seconds = (seconds * halo + moved / STREAM) / (1.8 if number * problem.batch > 1 else 1.0)
    return passes.terms * work * outputs, max(seconds, moved / machine.bandwidth / 3) + 8e-6 + 2e-7 * number


@lru_cache(maxsize=1024)
def _large(problem: Problem, passes: Passes) -> bool:
    """Whether a second thread is worth waking."""
    return seconds_of(problem, passes, DEFAULT)[1] > FOR_THREADS


# ---------------------------------------------------------------------------------------------------------- programs


def run_passes(problem: Problem, passes: Passes, weights: Array, x: Array, out: Array) -> None:
    """Write the result for ``x`` into ``out``, which may have any type that sums are stored as."""
    line = out.ctypes.data % LINE if out.nbytes >= STREAMED and out.ctypes.data % out.itemsize == 0 else None
    work = program(problem, passes, x.strides, out.strides, out.dtype.name, line)
    count = threads.num_threads() if _large(problem, passes) else 1
    pool.run(work, (out.ctypes.data, x.ctypes.data, weights.ctypes.data), count)


@lru_cache(maxsize=256)
def program(
    problem: Problem, passes: Passes, x_strides: tuple[int, ...], out_strides: tuple[int, ...], out_dtype: str,
    line: int | None = None,
) -> Program:  # fmt: skip
    """Everything about a call but its arrays; ``line``: where in a line of the cache streamed results begin."""
    tables = Tables()
    x_at = np.arange(problem.batch, dtype=np.int64) * x_strides[0]
    out_at = np.arange(problem.batch, dtype=np.int64) * out_strides[0]
    pieces: list[list[Steps]] = []
    for tile, packed in tiles(problem, passes):
        packed = packed or x_strides[-1] != item_bytes(problem.input_dtype)
        work = _Tile(problem, passes, tables, tile, x_strides[3:], out_strides[3:], out_dtype, x_at, out_at, line)
        pieces.append(work.steps(packed))
    return join(pieces, tables.array(), scratch(problem, passes))


@dataclass(frozen=True, slots=True, eq=False)
class _Here:
    """A plane of numbers: a base, bytes from it, and the strides of all axes but the last."""

    base: int
    at: Any
    strides: tuple[int, ...]

    @property
    def place(self) -> tuple[int, Any]:
        return self.base, self.at

    @property
    def row(self) -> int:
        return self.strides[-1] if self.strides else 0

    def __eq__(self, other: object) -> bool:
        """Whether both are the same plane of scratch memory."""
        return isinstance(other, _Here) and self.base == other.base == SCRATCH and self.at == other.at


class _Tile:
    """The steps of one tile, for every sample."""

    def __init__(
        self, problem: Problem, passes: Passes, tables: Tables, tile: Box, x_strides: tuple[int, ...],
        out_strides: tuple[int, ...], out_dtype: str, x_at: Offsets, out_at: Offsets,
        line: int | None,
    ) -> None:  # fmt: skip
        self.problem, self.passes, self.tables, self.dtype = problem, passes, tables, problem.compute_dtype
        self.windows, self.x_strides, self.out_strides, self.out_dtype = (
            problem.windows,
            x_strides,
            out_strides,
            out_dtype,
        )
        self.spans = [needed(window, outputs) for window, outputs in zip(problem.windows, tile, strict=True)]
        self.counts = [hi - lo for lo, hi in tile]
        self.x_at = x_at
        aligned = all(stride % LINE == 0 for stride in out_strides[:-1]) and len(out_at) == 1
        self.line = line if aligned and out_dtype == self.dtype else None
        self.out_at = out_at + sum(lo * stride for (lo, _), stride in zip(tile, out_strides, strict=True))
        self.item = np.dtype(self.dtype).itemsize
        self.planes = [_plane(problem, tile, number) for number in range(6)]
        self.row = self.planes[0].row
        self.scale_at = self.item * passes.terms * sum(window.kernel for window in problem.windows)
        self.raw = self.problem.input_dtype != self.dtype
        self.done: list[Steps] = []

    def steps(self, packed: bool) -> list[Steps]:
        """Groups of steps in their order, one row a sample.

        Packed tiles are of the type that the first pass reads: that of the sums, or the input's (``raw``).
        """
        if packed:
            source = Source(self.problem.input_dtype, self.x_strides, item_bytes(self.problem.input_dtype))
            constant = any("constant" in window.sides for window in self.windows)
            self.raw = _in_place(self.problem, self.passes) not in ("", self.dtype) and not constant
            dtype = self.problem.input_dtype if self.raw else self.dtype
            plane = replace(self.planes[0], item=item_bytes(dtype))
            self.done += packing(
                self.tables, self.windows, self.spans, source, plane, dtype, self.problem.fill, self.x_at
            )
            begin = _Here(SCRATCH, plane.place, plane.strides)
        else:
            first = sum(lo * stride for (lo, _), stride in zip(self.spans, self.x_strides, strict=True))
            begin = _Here(X, self.x_at + first, self.x_strides[:-1])
        neighbours = self.out_strides[-1] == item_bytes(self.out_dtype) or self.counts[-1] == 1
        # A row of taps stores any type, as sliding sums do; other running sums and sums of terms store their own.
        slid = self.raw and _slides_along(self.problem, self.passes)
        any_type = (self.passes.terms == 1 and self.passes.ways[-1] == "taps") or slid
        stored_here = neighbours and (any_type or self.out_dtype == self.dtype)
        if self.passes.terms == 1:
            self.term(begin, 0, None if stored_here else 1)
            result = 1
        else:
            result = self.sum_of_terms(begin, stored_here)
        if not stored_here:
            self.unpack(self.scratch(result))
        return self.done

    def scratch(self, number: int) -> _Here:
        plane = self.planes[number]
        return _Here(SCRATCH, plane.place, plane.strides)

    def sum_of_terms(self, begin: _Here, stored_here: bool) -> int:
        """Each term by itself, then added to those before it: the plane in which the sum lies."""
        total, spare, term = 3, 4, 5
        self.term(begin, 0, total)
        for number in range(1, self.passes.terms):
            self.term(begin, number, term)
            last = number == self.passes.terms - 1
            before, added = self.scratch(total), self.scratch(term)
            for rows, target, sums in self.targets(None if last and stored_here else self.scratch(spare), before):
                one = boxes.Pass("0", 1)
                self.double(one, "sum", target, sums, sums, rows, self.counts[-1], (added.at - before.at, 0))
            total, spare = spare, total
        return total

    def term(self, here: _Here, number: int, target: int | None) -> None:
        """One outer product, axis after axis: into a plane, or into the result."""
        self.extents = [hi - lo for lo, hi in self.spans]
        weights = self.item * number * sum(window.kernel for window in self.windows)
        # The first plane is the input of every term, and must not be written to where there are several.
        free = [number for number in ((1, 2) if self.passes.terms > 1 else (0, 2, 1)) if number != target]
        planes = [self.scratch(number) for number in [*free, *([target] if target in (1, 2) else [])]]
        slid = False
        for axis, way in enumerate(self.passes.ways):
            last = axis == len(self.passes.ways) - 1
            spare = [plane for plane in planes if plane != here]
            if not last:
                after: _Here | None = spare[0]
            else:
                after = None if target is None else self.scratch(target)
            if way == "taps" and last:
                self.rows(here, after, weights)
            elif way == "taps":
                assert after is not None
                self.columns(axis, here, after, weights)
            elif way == "box" and axis == 0 and self.raw and _slides(self.problem, self.passes):
                assert after is not None
                self.slide(here, after)
                slid = _slides_along(self.problem, self.passes)
            elif way == "box" and slid:
                self.slide_along(here, after)
            elif way == "box":
                self.box(axis, here, [plane for plane in spare if plane != after], after)
            if way != "none" and after is not None:
                here = after
            self.extents[axis] = self.counts[axis]
            weights += self.item * self.windows[axis].kernel

    def columns(self, axis: int, here: _Here, out: _Here, weights: int) -> None:
        """Taps along an axis before the last: rows of sums, each as long as everything after the axis."""
        window, extents = self.windows[axis], self.extents
        order = _order(self.problem, axis, _in_place(self.problem, self.passes) if axis == 0 and self.raw else "")
        stride = here.strides[axis]
        taps_at = self.tables.add(taps(order, [[j * window.dilation * stride for j in range(window.kernel)], [0]]))
        # Rows a dilation apart form an image of their own, whose kernel rows are neighbours.
        images = window.dilation // math.gcd(window.dilation, window.stride)
        x_row = window.stride * stride
        after = range(axis + 1, len(extents) - 1)
        columns = sum((extents[b] - 1) * here.strides[b] for b in after) // self.item + extents[-1]
        plane = max(range(axis), key=extents.__getitem__) if axis else None
        for index in product(*(range(1 if b == plane else extents[b]) for b in range(axis))):
            x_shift = sum(i * s for i, s in zip(index, here.strides, strict=False))
            out_shift = sum(i * s for i, s in zip(index, out.strides, strict=False))
            for image in range(min(images, self.counts[axis])):
                self.done.append(
                    column.ARGUMENTS.steps(
                        order.address, self.problem.batch, w=(KERNEL, weights), taps=(TABLES, taps_at),
                        out=(out.base, out.at + out_shift + image * out.strides[axis]),
                        x=(here.base, here.at + x_shift + image * x_row),
                        planes=1 if plane is None else extents[plane], rows=-(-(self.counts[axis] - image) // images),
                        columns=columns, blocks=order.full, last_blocks=len(order.blocks) - order.full,
                        out_plane=0 if plane is None else out.strides[plane],
                        x_plane=0 if plane is None else here.strides[plane], w_plane=0,
                        out_row=images * out.strides[axis], x_row=images * x_row, x_step=self.item, lead=0,
                    )
                )  # fmt: skip

    def slide(self, here: _Here, out: _Here) -> None:
        """A running sum of integers along the first of two axes, converted on the way."""
        left = "int32" if _slides_along(self.problem, self.passes) else self.dtype
        kernel = sliding.sliding_for(this_machine(), self.problem.input_dtype, left)
        self.done.append(
            sliding.ARGUMENTS.steps(
                address_of(kernel), self.problem.batch, out=out.place, x=here.place, rows=self.counts[0],
                columns=self.extents[1], size=self.windows[0].kernel, out_row=out.row, x_row=here.row,
            )
        )  # fmt: skip

    def slide_along(self, here: _Here, out: _Here | None) -> None:
        """The same along the second axis, into ``out`` or the result."""
        kernel = sliding.sliding_row_for(this_machine(), self.dtype, self.dtype if out is not None else self.out_dtype)
        for rows, target, source in self.targets(out, here):
            self.done.append(
                sliding.ROW_ARGUMENTS.steps(
                    address_of(kernel), self.problem.batch, out=target.place, x=source.place, rows=rows,
                    scale=(KERNEL, self.scale_at), columns=self.counts[-1], size=self.windows[-1].kernel,
                    out_row=target.row, x_row=source.row,
                )
            )  # fmt: skip

    def rows(self, here: _Here, out: _Here | None, weights: int) -> None:
        """Taps along the last axis."""
        window = self.windows[-1]
        dtype = "float32" if self.dtype == "float32" else "float64"
        stored = self.out_dtype if out is None else ""
        schedule = row.row_schedule_for(this_machine(), dtype, window.kernel, window.dilation, stored)
        lead = 0
        if out is None and self.line is not None:
            schedule = replace(schedule, results="streamed")
            lead = -(self.line + int(self.out_at[0])) % LINE // self.item
        for rows, target, source in self.targets(out, here):
            self.done.append(
                row.ARGUMENTS.steps(
                    address_of(schedule), self.problem.batch, out=target.place, x=source.place, w=(KERNEL, weights),
                    rows=rows, columns=self.counts[-1], out_row=target.row, x_row=source.row,
                    x_step=window.dilation * self.item, lead=lead, **schedule.counts(window.kernel),
                )
            )  # fmt: skip

    def box(self, axis: int, here: _Here, spare: Sequence[_Here], out: _Here | None) -> None:
        """A running sum along an axis, into ``out``, or into the result; ``spare`` holds the sums on the way."""
        window, sums, last = self.windows[axis], here, axis == len(self.windows) - 1
        found = boxes.passes_for(window.kernel)
        turns = [out or spare[1], spare[0]]  # the pass before the last writes to another plane than the last does
        for number, each in enumerate(found):
            left = len(found) - 1 - number
            final = left == 0
            after = out if final else turns[left % 2]
            unit = window.dilation * (self.item if last else sums.strides[axis])
            x_unit = window.dilation * (self.item if last else here.strides[axis])
            extents = self.extents.copy()
            extents[axis] -= window.dilation * (each.formed - 1)
            for rows, target, source, samples in self.targets(after, sums, here, extents=extents):
                self.double(
                    each, "scale" if final and last and self.passes.scaled else "sum", target, source, samples, rows,
                    extents[-1], (each.neighbours * unit, each.far * unit),
                    (each.neighbours * x_unit, each.far * x_unit),
                )  # fmt: skip
            sums = after if after is not None else sums

    def double(
        self, each: boxes.Pass, end: str, out: _Here, sums: _Here, samples: _Here, rows: int, columns: int,
        apart: tuple[int, int], x_apart: tuple[int, int] = (0, 0),
    ) -> None:  # fmt: skip
        """One pass of a running sum."""
        kernel = boxes.doubling_for(this_machine(), self.dtype, each.digits, end)
        self.done.append(
            boxes.ARGUMENTS.steps(
                address_of(kernel), self.problem.batch, out=out.place, s=sums.place, x=samples.place,
                scale=(KERNEL, self.scale_at), rows=rows, columns=columns, out_row=out.row, s_row=sums.row,
                x_row=samples.row, step=apart[0], far=apart[1], x_step=x_apart[0], x_far=x_apart[1],
            )
        )  # fmt: skip

    def targets(
        self, out: _Here | None, *sources: _Here, extents: Sequence[int] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """How many rows are done together, where they go, and where they come from.

        In planes of the same layout all rows are, with what lies between them; in the result only those of an image.
        """
        extents = self.extents if extents is None else extents
        if out is not None:
            layout = self.planes[0].strides
            rows = 1 + sum((n - 1) * s for n, s in zip(extents, layout, strict=False)) // self.row
            yield (rows, out, *sources)
            return
        for index in product(*(range(n) for n in self.counts[:-2])):
            shift = sum(i * s for i, s in zip(index, self.out_strides, strict=False))
            result = _Here(OUT, self.out_at + shift, self.out_strides[:-1])
            moved = [
                replace(source, at=source.at + sum(i * s for i, s in zip(index, source.strides, strict=False)))
                for source in sources
            ]
            yield (self.counts[-2] if len(self.counts) > 1 else 1, result, *moved)

    def unpack(self, sums: _Here) -> None:
        """Store a plane as the result has it."""
        for rows, target, source in self.targets(None, sums):
            self.done.append(
                unpacking(
                    self.dtype, self.out_dtype, [source.at], self.row, self.counts[-1], rows, target.row,
                    self.out_strides[-1], target.at,
                )
            )  # fmt: skip
