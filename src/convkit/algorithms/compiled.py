"""Compiled: direct convolution by loops compiled for this machine, sums held in registers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import product
from math import isfinite
from typing import Any

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support.blocks import Range, needed
from convkit.algorithms.support.packing import Packed, Source, packing, unpacking
from convkit.codegen import direct as kernel
from convkit.codegen import pool
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.codegen.weights import Order, order_for, taps
from convkit.planner import probes, registry
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, summation_bound
from convkit.planner.machine import DEFAULT, Machine, width
from convkit.planner.problem import Problem
from convkit.spec.window import Window

LEAST_PRODUCTS = 1 << 12
"""Products of one sample below which neither loading the compiler nor its kernels would be paid back."""

TILE_PRODUCTS = 1 << 23
"""Products of one tile: a tenth of a millisecond or two, many times what handing it out takes."""

TILE_OUTPUTS = 1 << 12, 1 << 17
"""Outputs of one tile at least and at most: with its input it stays in the second-level cache."""

TILE_COLUMNS = 1 << 12
"""Columns of a tile of several rows: the rows that one row of outputs touches stay in the cache for the next."""

TILE_ROWS = 20
"""Tiles are a multiple of this many rows high, as register tiles are 4 or 5 rows high."""

PACKED_SHARE = 4
"""Tiles that are laid out in scratch memory hold so many times fewer outputs, so that they stay in the cache."""

SMALL_IMAGE = 1 << 14
"""Outputs of an image whose tiles are all packed: its border is a large part of it."""

STREAMED = 1 << 23
"""Bytes of a result from which it is written past the caches: what is not read again soon would only crowd them."""

LINE = 64
"""Bytes of a line of the cache."""

QUICK = 1 << 18
"""Outputs of an array up to which the time of a call is worth saving."""

_REAL = {"float32": "float32", "float64": "float64", "complex64": "float32", "complex128": "float64"}
"""What the sums of each compute type are formed in."""

_READABLE = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16",
    *_REAL,
}  # fmt: skip

_STORABLE = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"}

Box = tuple[Range, ...]


class Compiled:
    """``out[i] = sum_j v[i*stride + j*dilation] * w[j]`` by a compiled loop nest; see `convkit.codegen.Schedule`.

    Every output is formed by the same sequence of fused multiply-adds wherever it stands. Windows that leave the input
    are cut off as a frame, whose tiles are packed into scratch memory with what stands outside; all others read the
    input where it lies, unless it has to be converted, taken apart into real and imaginary parts, or moved along in
    strides.
    """

    name = "compiled"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        if problem.outputs * problem.taps == 0 or not all(window.size for window in problem.windows):
            return Reason("nothing-to-do")
        if problem.compute_dtype not in _REAL or problem.input_dtype not in _READABLE:
            return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
        if problem.in_channels > 1 or problem.out_channels > 1:
            return Reason("mixed-channels")
        products = problem.taps * problem.outputs * problem.groups
        if products < LEAST_PRODUCTS:
            return Reason("too-small", products=products, limit=LEAST_PRODUCTS)
        why_not = codegen.why_not()
        return None if why_not is None else Reason(why_not)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        size = np.dtype(problem.compute_dtype).itemsize
        work = float(problem.multiply_adds)
        # With one kernel row, each multiply-add waits for samples of its own, half of them across a cache line.
        loads = 2.5 if len(problem.windows) == 1 or problem.windows[-2].kernel == 1 else 1.0
        written = problem.batch * problem.groups * problem.outputs
        seconds = 2 * work * loads / machine.fused + 1.4 * written / machine.elementwise
        tiles = sum(1 for _ in _tiles(problem))
        # The model describes two threads, whatever their number is, so that it does not decide how sums are formed.
        seconds *= width(problem.compute_dtype) / (1.8 if tiles > 1 else 1.0)
        moved = size * (math.prod(problem.input_shape) + math.prod(problem.output_shape))
        seconds = max(seconds, moved / machine.bandwidth) + 6e-6 + 1e-7 * tiles
        return Cost(2 * work, moved, seconds, _scratch(problem) * threads.num_threads())

    def bound(self, problem: Problem) -> ErrorBound:
        return summation_bound(problem, problem.terms)

    def describe(self, problem: Problem) -> str:
        """The loop nest."""
        return _order(problem).schedule.name

    def stores(self, problem: Problem) -> str:
        """The result's type, unless a NaN would have to become an integer, which is not for a kernel to refuse."""
        result = problem.result_dtype
        if not result or result not in _STORABLE or problem.compute_dtype.startswith("c"):
            return problem.compute_dtype
        whole = np.dtype(result).kind in "iu"
        return problem.compute_dtype if whole and np.dtype(problem.input_dtype).kind == "f" else result

    def prepare(self, problem: Problem, kernel: Array) -> Array:
        plain = kernel[:, 0, 0]
        order, real = _order(problem), _REAL[problem.compute_dtype]
        if plain.ndim == 2:
            plain = plain[:, None]
        if not problem.compute_dtype.startswith("c"):
            return np.ascontiguousarray(order.pack(plain), real)
        # The sums of the real parts, then those of the imaginary parts; see `_order`.
        re, im = plain.real.astype(real), plain.imag.astype(real)
        if not problem.input_dtype.startswith("c"):
            halves = [re, im]
        elif not problem.kernel_dtype.startswith("c"):
            halves = [re]
        else:
            halves = [np.stack([re, -im], 1), np.stack([im, re], 1)]
        return np.stack([order.pack(half) for half in halves])

    def quick(self, problem: Problem, order: str) -> Callable[[Array, Array], Array | None] | None:
        """One small sample in memory order and a finite kernel, all else worked out before."""
        if problem.compute_dtype not in ("float32", "float64") or problem.kernel_dtype != problem.compute_dtype:
            return None
        if problem.outputs > QUICK:
            return None
        shape, dtype = problem.output_shape[3:], np.dtype(self.stores(problem))
        x_strides, out_strides = (
            _contiguous(problem.input_shape, problem.input_dtype),
            _contiguous(problem.output_shape, dtype),
        )
        program = _program(problem, x_strides, out_strides, dtype.name)
        seconds = _one_thread(problem)
        elements = _order(problem).elements
        elements = elements if order == "correlation" else problem.taps - 1 - elements

        def call(x: Array, k: Array) -> Array | None:
            weights = k.ravel()[elements]
            if not (x.flags.c_contiguous and isfinite(weights.dot(weights))):
                return None
            out = np.empty(shape, dtype)
            bases = (
                out.__array_interface__["data"][0], x.__array_interface__["data"][0],
                weights.__array_interface__["data"][0],
            )  # fmt: skip
            pool.run(program, bases, threads.num_threads(), seconds)
            return out

        return call

    def run(self, problem: Problem, prepared: Array, x: Array, out: Array) -> None:
        if problem.compute_dtype.startswith("c") and out.strides[-1] != out.itemsize and out.shape[-1] > 1:
            whole = np.empty(out.shape, out.dtype)
            self.run(problem, prepared, x, whole)
            out[...] = whole
            return
        line = out.ctypes.data % LINE if out.nbytes >= STREAMED else None
        program = _program(problem, x.strides, out.strides, out.dtype.name, line)
        pool.run(
            program, (out.ctypes.data, x.ctypes.data, prepared.ctypes.data), threads.num_threads(), _one_thread(problem)
        )


def _one_thread(problem: Problem) -> float:
    """Seconds that the arithmetic takes one thread, roughly."""
    return 2 * problem.multiply_adds * width(problem.compute_dtype) / DEFAULT.fused


def _contiguous(shape: tuple[int, ...], dtype: Any) -> tuple[int, ...]:
    """Strides of an array in memory order."""
    return tuple(np.dtype(dtype).itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _order(problem: Problem) -> Order:
    """In which order weights are read. With complex samples and weights the parts are an axis of the kernel."""
    shape = [window.kernel for window in problem.windows]
    if len(shape) == 1:
        shape = [1, *shape]
    if problem.input_dtype.startswith("c") and problem.kernel_dtype.startswith("c"):
        shape = [2, *shape]
    apart = [window.stride // math.gcd(window.stride, window.dilation) for window in problem.windows]
    return order_for(tuple(shape), _REAL[problem.compute_dtype], tuple([1, *apart][-2:]))  # type: ignore[arg-type]


def _in_place(problem: Problem) -> bool:
    """Whether samples can be read where they lie, where no boundary is touched."""
    return problem.input_dtype == problem.compute_dtype in ("float32", "float64") and problem.windows[-1].stride == 1


def _frame(problem: Problem) -> list[tuple[Box, bool]]:
    """The outputs as boxes, and whether they are packed: those whose windows leave the input, and all others."""
    windows = problem.windows
    whole = tuple((0, window.count) for window in windows)
    if not _in_place(problem) or problem.outputs <= SMALL_IMAGE:
        return [(whole, True)]
    boxes: list[tuple[Box, bool]] = []
    inner: Box = ()
    for axis, window in enumerate(windows):
        enter = min(max(0, -(window.start // window.stride)), window.count)
        leave = min(max(0, (window.size - window.reach - window.start) // window.stride + 1), window.count)
        if leave <= enter:
            return [*boxes, ((*inner, *whole[axis:]), True)]
        outside = [(lo, hi) for lo, hi in ((0, enter), (leave, window.count)) if lo < hi]
        boxes += [((*inner, side, *whole[axis + 1 :]), True) for side in outside]
        inner = (*inner, (enter, leave))
    return [*boxes, (inner, False)]


def _lengths(problem: Problem, box: Box, packed: bool) -> list[int]:
    """Outputs of one tile of ``box`` along each axis."""
    least, most = TILE_OUTPUTS
    room = min(max(TILE_PRODUCTS // problem.taps, least), most // (PACKED_SHARE if packed else 1))
    sizes = [hi - lo for lo, hi in box]
    if len(sizes) == 1:
        return [min(sizes[0], room)]
    *leading, rows, columns = sizes
    columns = min(columns, max(TILE_COLUMNS if not packed else TILE_COLUMNS // 4, room // rows))
    rows = min(rows, max(1, -(-room // (columns * TILE_ROWS))) * TILE_ROWS)
    lengths = [columns, rows]
    room //= rows * columns
    for count in reversed(leading):
        lengths.append(max(1, min(count, room)))
        room //= lengths[-1]
    return lengths[::-1]


def _tiles(problem: Problem) -> Iterator[tuple[Box, bool]]:
    """The outputs of every tile; cut by the problem alone, so that threads do not change the bits."""
    for box, packed in _frame(problem):
        lengths = _lengths(problem, box, packed)
        cuts = [[(at, min(at + n, hi)) for at in range(lo, hi, n)] for (lo, hi), n in zip(box, lengths, strict=True)]
        for tile in product(*cuts):
            yield tile, packed


def _packed(problem: Problem, tile: Box, place: int = 0) -> Packed:
    spans = [needed(window, outputs) for window, outputs in zip(problem.windows, tile, strict=True)]
    item = np.dtype(_REAL[problem.compute_dtype]).itemsize
    parts = 2 if problem.input_dtype.startswith("c") else 1
    return Packed(place, tuple(hi - lo for lo, hi in spans), problem.windows[-1].stride, item, parts)


def _scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs at most."""
    item = np.dtype(_REAL[problem.compute_dtype]).itemsize
    most = 0
    for box, packed in _frame(problem):
        tile = tuple((lo, lo + n) for (lo, _), n in zip(box, _lengths(problem, box, packed), strict=True))
        sums = 2 * item * math.prod(hi - lo for lo, hi in tile)
        most = max(most, (_packed(problem, tile).bytes if packed else 0) + sums + 256)
    return most


@lru_cache(maxsize=256)
def _program(
    problem: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], out_dtype: str, line: int | None = None
) -> Program:
    """Everything about a call but its arrays; ``line`` says where in a line of the cache streamed results begin."""
    tables = Tables()
    pieces = [
        _tile(problem, tables, tile, packed, x_strides, out_strides, out_dtype, line)
        for tile, packed in _tiles(problem)
    ]
    return join(pieces, tables.array(), _scratch(problem))


def _tile(
    problem: Problem, tables: Tables, tile: Box, is_packed: bool, x_strides: tuple[int, ...],
    out_strides: tuple[int, ...], out_dtype: str, line: int | None,
) -> list[Steps]:  # fmt: skip
    """The steps of one tile, for every sample and group."""
    windows, order, real = problem.windows, _order(problem), _REAL[problem.compute_dtype]
    item, before = np.dtype(real).itemsize, (slice(None), None)
    spans = [needed(window, outputs) for window, outputs in zip(windows, tile, strict=True)]
    counts = [hi - lo for lo, hi in tile]
    samples, groups = np.arange(problem.batch)[before], np.arange(problem.groups)[None]
    x_at = (samples * x_strides[0] + groups * x_strides[1]).ravel()
    out_at = (samples * out_strides[0] + groups * out_strides[1]).ravel()
    out_at = out_at + sum(lo * stride for (lo, _), stride in zip(tile, out_strides[3:], strict=True))
    group_bytes = item * len(order.elements)
    w_at = np.broadcast_to(groups * group_bytes, (problem.batch, problem.groups)).ravel()
    steps: list[Steps] = []
    packed = _packed(problem, tile)
    source_strides = x_strides[3:]
    if is_packed:
        dtype = _REAL.get(problem.input_dtype, problem.input_dtype)
        source = Source(dtype, source_strides, np.dtype(dtype).itemsize if dtype != "bfloat16" else 2)
        steps += packing(tables, windows, spans, source, packed, real, problem.fill, x_at)
        base, strides = (SCRATCH, packed.place), packed.strides
    else:
        begin = sum(lo * stride for (lo, _), stride in zip(spans, source_strides, strict=True))
        base, strides = (X, x_at + begin), source_strides[:-1]
    elements = [range(0, window.kernel * window.dilation, window.dilation) for window in windows]
    offsets = [
        packed.along(axis, elements[axis]) if is_packed
        else [p * source_strides[axis] for p in elements[axis]]
        for axis in range(len(windows))
    ]  # fmt: skip
    if len(windows) == 1:
        offsets, strides, counts = [[0], *offsets], (0,), [1, *counts]
        out_space = (0, out_strides[3])
    else:
        out_space = out_strides[3:]
    row_window = windows[-2] if len(windows) > 1 else Window(1, 1, 1)
    column_window = windows[-1]
    plane_strides = [w.stride * s for w, s in zip(windows[:-2], strides[:-1], strict=False)]
    stored_here = out_dtype == real and (out_space[-1] == item or counts[-1] == 1)
    sums_strides = [item * math.prod(counts[axis + 1 :]) for axis in range(len(counts))]
    sums_bytes = -(-sums_strides[0] * counts[0] // 64) * 64 + 64
    streams = line is not None and not is_packed and stored_here
    streams = streams and all(stride % LINE == 0 for stride in (*out_strides[:2], *out_space[:-1]))
    lead = -(line + int(out_at[0])) % LINE // item if streams and line is not None else 0
    complex_out = problem.compute_dtype.startswith("c")
    for half in range(2 if complex_out else 1):
        if stored_here:
            target, target_strides = (OUT, out_at), list(out_space)
        else:
            target, target_strides = (SCRATCH, packed.bytes * is_packed + 64 + half * sums_bytes), sums_strides
        weights, samples_of = half, 0
        if complex_out and problem.input_dtype.startswith("c"):
            if problem.kernel_dtype.startswith("c"):
                offsets_here = [[0, packed.part], *offsets]
            else:
                weights, samples_of, offsets_here = 0, half * packed.part, offsets
        else:
            offsets_here = offsets
        taps_at = tables.add(taps(order, offsets_here))
        w_half = w_at + weights * problem.groups * group_bytes
        # Rows a dilation apart form an image of their own, whose kernel rows are neighbours.
        images = row_window.dilation // math.gcd(row_window.dilation, row_window.stride)
        along = column_window.dilation // math.gcd(column_window.dilation, column_window.stride)
        x_row = row_window.stride * strides[-1]
        outer = counts[:-2]
        plane = max(range(len(outer)), key=outer.__getitem__) if outer else None
        for index in product(*(range(1 if axis == plane else n) for axis, n in enumerate(outer))):
            x_shift = samples_of + sum(i * s for i, s in zip(index, plane_strides))
            out_shift = sum(i * s for i, s in zip(index, target_strides))
            for image in range(min(images, counts[-2])):
                steps.append(
                    kernel.ARGUMENTS.steps(
                        order.streaming if streams else order.address, len(x_at), lead=lead,
                        out=(target[0], target[1] + out_shift + image * target_strides[-2]),
                        x=(base[0], base[1] + x_shift + image * x_row), w=(KERNEL, w_half), taps=(TABLES, taps_at),
                        planes=1 if plane is None else outer[plane], rows=-(-(counts[-2] - image) // images),
                        columns=counts[-1], blocks=order.full, last_blocks=len(order.blocks) - order.full,
                        out_plane=0 if plane is None else target_strides[plane],
                        x_plane=0 if plane is None else plane_strides[plane], w_plane=0,
                        out_row=images * target_strides[-2], x_row=images * x_row, x_step=along * item,
                    )
                )  # fmt: skip
    if not stored_here:
        sums = [packed.bytes * is_packed + 64 + half * sums_bytes for half in range(2 if complex_out else 1)]
        lead_out, part = out_space[:-2], _REAL.get(out_dtype, out_dtype)
        for index in product(*(range(n) for n in counts[:-2])):
            shift = sum(i * s for i, s in zip(index, sums_strides))
            out_shift = sum(i * s for i, s in zip(index, lead_out))
            steps.append(
                unpacking(
                    real, part, [at + shift for at in sums], sums_strides[-2], counts[-1], counts[-2], out_space[-2],
                    out_space[-1], out_at + out_shift,
                )
            )  # fmt: skip
    return steps


def _fused_rate(timer: probes.Timer) -> float | None:
    """Operations per second of a 9 x 9 kernel on samples in cache; None where nothing can be compiled."""
    if codegen.why_not() is not None:
        return None
    window = (Window(72, 9, 64), Window(1032, 9, 1024))
    problem = Problem(window, input_dtype="float32", kernel_dtype="float32", compute_dtype="float32")
    x, out = np.ones(problem.input_shape, np.float32), np.empty(problem.output_shape, np.float32)
    prepared = COMPILED.prepare(problem, np.ones(problem.kernel_shape, np.float32))
    program = _program(problem, x.strides, out.strides, "float32")
    bases = out.ctypes.data, x.ctypes.data, prepared.ctypes.data
    return 2 * problem.multiply_adds / timer(lambda: pool.run(program, bases))


COMPILED = Compiled()
probes.register("fused", _fused_rate)
registry.register(COMPILED)
