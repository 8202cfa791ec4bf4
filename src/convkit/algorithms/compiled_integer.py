"""Compiled, exact: direct convolution of integers by loops compiled for this machine, in the fastest exact form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.forms import DOTS, FLOATS, Form, form_for
from convkit.algorithms.support.packing import (
    LINE,
    Packed,
    Source,
    packing,
    touched,
    touched_elements,
    touched_stride,
)
from convkit.algorithms.support.ranges import KernelRange, extent
from convkit.codegen import direct as kernel
from convkit.codegen import interleave, pool
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, STATUS, TABLES, Steps
from convkit.codegen.weights import Order, order_for, taps
from convkit.planner import registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason
from convkit.planner.machine import DEFAULT, Machine
from convkit.planner.narrowing import narrowed
from convkit.planner.plan import Plan, Prepared, plan_for
from convkit.planner.problem import Problem
from convkit.spec.window import Window

LEAST_PRODUCTS = 1 << 12
"""Products of one sample below which neither loading the compiler nor its kernels would be paid back."""

TILE_OUTPUTS = 40 << 10
"""Outputs of one tile: their sums stay in the caches until they are stored."""

TILE_COLUMNS = 1 << 10
"""Columns of a tile of several rows."""

TILE_ROWS = 20
"""Tiles are a multiple of this many rows high, as register tiles are 4 or 5 rows high."""

LOOKED_AT = 4
"""Bytes of a sample from which the samples are looked at, as few have values as large as their type allows."""

USUAL = KernelRange(-127, 127, 0, 0, 127)
"""What kernels are taken for before they are known."""

SPEED = {4: 4.0, 2: 2.0, 1: 1.0}
"""Products of a form at once, by its groups, compared with float32."""


Box = tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class IntegerKernel:
    """Kernels, (groups, *kernel), with their range and the forms in which they have been wanted so far."""

    values: Array
    given: Array
    range: KernelRange
    packed: dict[Form, Array] = field(default_factory=dict)
    others: dict[Problem, tuple[Plan, Prepared]] = field(default_factory=dict)


class CompiledExact:
    """``out[i] = sum_j v[i*stride + j*dilation] * w[j]`` of integers by a compiled loop nest.

    The values of the kernel, and those of the samples where their type alone does not tell enough, decide the form:
    dot products of bytes or of words in 32 bits, or float32 or float64 while no sum can leave the integers that they
    hold. What is too large for all of them goes to exact-integer. Sums are stored in the result's type at once.
    """

    name = "compiled-exact"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if not problem.exact:
            return Reason("not-integer", dtype=problem.compute_dtype)
        if problem.outputs * problem.taps == 0 or not all(window.size for window in problem.windows):
            return Reason("nothing-to-do")
        if problem.in_channels > 1 or problem.out_channels > 1:
            return Reason("mixed-channels")
        products = problem.taps * problem.outputs * problem.groups
        if products < LEAST_PRODUCTS:
            return Reason("too-small", products=products, limit=LEAST_PRODUCTS)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        form = _usual_form(problem)
        work = float(problem.multiply_adds)
        speed = SPEED[form.group] / (2.0 if form.sums == "float64" else 1.0)
        # With one kernel row, each multiply-add waits for samples of its own, half of them across a cache line.
        loads = 2.5 if len(problem.windows) == 1 or problem.windows[-2].kernel == 1 else 1.0
        padded = -(-problem.windows[-1].kernel // form.group) * form.group / problem.windows[-1].kernel
        written = problem.batch * problem.groups * problem.outputs
        seconds = 2 * work * padded * loads / (machine.fused * speed) + written / machine.elementwise
        seconds /= 1.8 if problem.outputs > TILE_OUTPUTS else 1.0
        moved = math.prod(problem.input_shape) * np.dtype(problem.input_dtype).itemsize
        moved += written * np.dtype(self.stores(problem)).itemsize
        seconds = max(seconds, moved / machine.bandwidth) + 8e-6
        return Cost(2 * work, moved, seconds, (1 << 19) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return ErrorBound("exact", 0.0)

    def describe(self, problem: Problem) -> str:
        """The loop nest for kernels of small numbers."""
        return _order(problem, _usual_form(problem)).schedule.name

    def stores(self, problem: Problem) -> str:
        """The result's type."""
        return problem.result_dtype or problem.compute_dtype

    def prepare(self, problem: Problem, kernel: Array) -> IntegerKernel:
        plain = kernel[:, 0, 0]
        plain = plain.astype(np.uint8) if plain.dtype == bool else plain
        return IntegerKernel(plain, kernel, KernelRange.of(plain))

    def run(self, problem: Problem, prepared: IntegerKernel, x: Array, out: Array) -> None:
        least, most = _sample_range(problem, x)
        form = form_for(least, most, prepared.range, _forms(problem))
        if form is None:
            self._otherwise(problem, prepared, x, out)
            return
        if out.strides[-1] != out.itemsize and out.shape[-1] > 1:
            whole = np.empty(out.shape, out.dtype)
            self.run(problem, prepared, x, whole)
            out[...] = whole
            return
        low, high = prepared.range.sums(least, most)
        limits = np.iinfo(out.dtype)
        fits = limits.min <= low and high <= limits.max
        fit: interleave.Fit = "wrap" if fits else "check" if problem.overflow == "raise" else problem.overflow
        if fits and form.group == 4 and out.itemsize == 1:
            fit = "saturate"  # it is quicker
        weights = prepared.packed.get(form)
        if weights is None:
            weights = prepared.packed[form] = form.pack(
                prepared.values, problem.windows[-1].dilation, _order(problem, form).elements
            )
        program = _program(problem, form, x.strides, out.strides, out.dtype.name, fit)
        status = np.zeros(1, np.int64)
        bases = (out.ctypes.data, x.ctypes.data, weights.ctypes.data, status.ctypes.data)
        seconds = 2 * problem.multiply_adds / SPEED[form.group] / DEFAULT.fused
        pool.run(program, bases, threads.num_threads(), seconds)
        if status[0]:
            sums = np.empty(out.shape, "int64" if low < 0 else problem.compute_dtype)
            self.run(problem, prepared, x, sums)
            narrowed(sums, out.dtype, "raise")

    def _otherwise(self, problem: Problem, prepared: IntegerKernel, x: Array, out: Array) -> None:
        """By exact-integer, into the type of the sums, and from there into the result's."""
        plain = problem.derive(result_dtype="")
        if plain not in prepared.others:
            plan = plan_for(plain, "exact-integer")
            prepared.others[plain] = plan, plan.prepare(prepared.given)
        plan, ready = prepared.others[plain]
        sums = out if out.dtype == problem.compute_dtype else np.empty(out.shape, problem.compute_dtype)
        plan.run(ready, x, sums)
        if sums is not out:
            out[...] = narrowed(sums, out.dtype, problem.overflow)


def _sample_range(problem: Problem, x: Array) -> tuple[int, int]:
    """The least and the largest sample, the fill among them: what their type allows, or what they are."""
    fill = int(problem.fill.real)
    least, most = extent(x) if x.itemsize >= LOOKED_AT else _type_range(x.dtype)
    return min(least, fill, 0), max(most, fill, 0)


def _type_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def _forms(problem: Problem) -> tuple[Form, ...]:
    """The forms that this machine and the way the windows move allow."""
    last = problem.windows[-1]
    if last.stride > 1 or not this_machine().dots:
        return FLOATS
    # With zeros between the elements of a kernel, a group does as much as so many fewer products.
    return (*(form for form in DOTS if form.group > last.dilation), *FLOATS)


def _usual_form(problem: Problem) -> Form:
    """The form for kernels of small numbers, and for samples as their type tells."""
    dtype = np.dtype(problem.input_dtype)
    usual = replace(USUAL, absolute=127 * problem.taps)
    if dtype.itemsize >= LOOKED_AT:
        return FLOATS[-1]
    return form_for(*_type_range(dtype), usual, _forms(problem)) or FLOATS[-1]


def _windows(problem: Problem, form: Form) -> tuple[Window, ...]:
    """Two axes at least; for groups, the kernel's last one with zeros between its elements, in whole groups."""
    *others, last = problem.windows
    if form.group > 1:
        last = replace(last, kernel=-(-last.reach // form.group) * form.group, dilation=1)
    return (*(others or [Window(1, 1, 1)]), last)


def _order(problem: Problem, form: Form) -> Order:
    """In which order weights are read."""
    windows = _windows(problem, form)
    shape = [window.kernel for window in windows]
    shape[-1] //= form.group
    across, along = (window.stride // math.gcd(window.stride, window.dilation) for window in windows[-2:])
    return order_for(tuple(shape), form.arithmetic, (across, along))


@dataclass(frozen=True, slots=True)
class _Tile:
    """Where a tile's samples and sums lie in scratch memory.

    Attributes
    ----------
    box, read : tuple of (int, int)
        Its outputs, and those with columns in whole groups.
    packed : Packed
        How the samples are laid out, at the beginning.
    sums : int
        Where the sums begin.
    strides : tuple of int
        Bytes between sums along each axis.
    phase : int
        Bytes between the sums of columns that differ by one.
    """

    box: Box
    read: Box
    packed: Packed
    sums: int
    strides: tuple[int, ...]
    phase: int

    @classmethod
    def of(cls, windows: tuple[Window, ...], form: Form, box: Box) -> _Tile:
        *others, (first, last) = box
        columns = -(-(last - first) // form.group)
        read = (*others, (first, first + columns * form.group))
        shape = tuple(len(touched(window, outputs)) for window, outputs in zip(windows, read, strict=True))
        packed = Packed(0, shape, touched_stride(windows[-1]), form.item)
        item = np.dtype(form.sums).itemsize
        strides = [item, -(-columns * item // LINE) * LINE]
        for lo, hi in reversed(box[1:-1]):
            strides.append(strides[-1] * (hi - lo))
        phase = strides[-1] * (box[0][1] - box[0][0]) + LINE
        return cls(box, read, packed, -(-packed.bytes // LINE) * LINE + LINE, tuple(strides[::-1]), phase)

    def bytes(self, form: Form) -> int:
        """Bytes of scratch memory; whole vectors are read of the sums."""
        return self.sums + self.phase * form.group + 4 * LINE


def _tiles(windows: tuple[Window, ...], form: Form) -> Iterator[_Tile]:
    """Every tile, all axes cut."""
    cuts = [
        [(at, min(at + n, window.count)) for at in range(0, window.count, n)]
        for window, n in zip(windows, _lengths(windows), strict=True)
    ]
    for box in product(*cuts):
        yield _Tile.of(windows, form, box)


def _lengths(windows: tuple[Window, ...]) -> list[int]:
    """Outputs of one tile along each axis: its samples, more by the strides, are to stay in the cache."""
    *leading, rows, columns = (window.count for window in windows)
    strides = [touched_stride(window) for window in windows]
    room = max(1, TILE_OUTPUTS // math.prod(strides))
    lengths = [min(columns, max(1, TILE_COLUMNS // strides[-1], room // rows))]
    high = max(1, room // lengths[0])
    lengths.append(min(rows, high // TILE_ROWS * TILE_ROWS or high))
    room //= lengths[0] * lengths[1]
    for count in reversed(leading):
        lengths.append(max(1, min(count, room)))
        room //= lengths[-1]
    return lengths[::-1]


@lru_cache(maxsize=256)
def _program(
    problem: Problem, form: Form, x_strides: tuple[int, ...], out_strides: tuple[int, ...], out_dtype: str,
    fit: interleave.Fit,
) -> Program:  # fmt: skip
    """Everything about a call but its arrays."""
    return _Writer(problem, form, x_strides, out_strides, out_dtype, fit).program()


class _Writer:
    """Writes the program: for each tile its samples brought in, their sums formed, and the sums stored."""

    def __init__(
        self, problem: Problem, form: Form, x_strides: tuple[int, ...], out_strides: tuple[int, ...], out_dtype: str,
        fit: interleave.Fit,
    ) -> None:  # fmt: skip
        self.problem, self.form, self.tables = problem, form, Tables()
        self.windows, self.order = _windows(problem, form), _order(problem, form)
        one_row = len(problem.windows) == 1
        self.x_strides = ((0,) if one_row else ()) + x_strides[3:]
        self.out_strides = ((0,) if one_row else ()) + out_strides[3:]
        samples, groups = np.arange(problem.batch)[:, None], np.arange(problem.groups)[None]
        self.x_at = (samples * x_strides[0] + groups * x_strides[1]).ravel()
        self.out_at = (samples * out_strides[0] + groups * out_strides[1]).ravel()
        weights = len(self.order.elements) + (form in DOTS)
        of_group = groups * weights * np.dtype(form.sums).itemsize
        self.w_at = np.broadcast_to(of_group, (problem.batch, problem.groups)).ravel()
        self.source = Source(problem.input_dtype, self.x_strides, np.dtype(problem.input_dtype).itemsize)
        self.store = address_of(interleave.Interleave(form.sums, out_dtype, form.group, fit))
        self.out_item = np.dtype(out_dtype).itemsize

    def program(self) -> Program:
        tiles = list(_tiles(self.windows, self.form))
        pieces = [[*self.bring_in(tile), *self.sum(tile), *self.store_sums(tile)] for tile in tiles]
        return join(pieces, self.tables.array(), max(tile.bytes(self.form) for tile in tiles))

    def bring_in(self, tile: _Tile) -> list[Steps]:
        """The tile's samples, its boundary among them, in scratch memory."""
        positions = [touched(window, outputs) for window, outputs in zip(self.windows, tile.read, strict=True)]
        return packing(
            self.tables, self.windows, positions, self.source, tile.packed, self.form.sample, self.problem.fill,
            self.x_at,
        )  # fmt: skip

    def sum(self, tile: _Tile) -> Iterator[Steps]:
        """Sums of every phase."""
        windows, form = self.windows, self.form
        *leading, rows = (hi - lo for lo, hi in tile.box[:-1])
        columns = -(-(tile.box[-1][1] - tile.box[-1][0]) // form.group)
        elements = [touched_elements(window) for window in windows]
        elements[-1] = elements[-1][:: form.group]
        moves = [touched_stride(window) * s for window, s in zip(windows, tile.packed.strides)]
        offsets = [tile.packed.along(axis, along) for axis, along in enumerate(elements)]
        taps_at = self.tables.add(taps(self.order, offsets))
        # Rows a dilation apart form an image of their own, whose kernel rows are neighbours.
        across, along = windows[-2], windows[-1]
        images = across.dilation // math.gcd(across.dilation, across.stride)
        for index in product(*map(range, leading)):
            x_shift = sum(i * move for i, move in zip(index, moves))
            sums = tile.sums + sum(i * s for i, s in zip(index, tile.strides))
            for image in range(min(images, rows)):
                yield kernel.ARGUMENTS.steps(
                    self.order.address, len(self.x_at), lead=0, out=(SCRATCH, sums + image * tile.strides[-2]),
                    x=(SCRATCH, x_shift + image * moves[-1]), w=(KERNEL, self.w_at), taps=(TABLES, taps_at),
                    planes=form.group, rows=-(-(rows - image) // images), columns=columns, blocks=self.order.full,
                    last_blocks=len(self.order.blocks) - self.order.full, out_plane=tile.phase, x_plane=form.item,
                    w_plane=0, out_row=images * tile.strides[-2], x_row=images * moves[-1],
                    x_step=along.dilation // math.gcd(along.dilation, along.stride) * form.item * form.group,
                )  # fmt: skip

    def store_sums(self, tile: _Tile) -> Iterator[Steps]:
        """The phases brought together and stored."""
        *leading, rows, columns = (hi - lo for lo, hi in tile.box)
        begin = self.out_at + sum(lo * s for (lo, _), s in zip(tile.box, self.out_strides, strict=True))
        for index in product(*map(range, leading)):
            yield interleave.ARGUMENTS.steps(
                self.store, len(self.x_at),
                out=(OUT, begin + sum(i * s for i, s in zip(index, self.out_strides))),
                sums=(SCRATCH, tile.sums + sum(i * s for i, s in zip(index, tile.strides))), status=(STATUS, 0),
                planes=1, out_plane=0, sums_plane=0, rows=rows, out_row=self.out_strides[-2],
                sums_row=tile.strides[-2], phase=tile.phase, columns=columns,
            )  # fmt: skip


registry.register(CompiledExact())
