"""Direct convolution as a program: the outputs cut into tiles, and what is done for each tile, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from convkit.algorithms.support.blocks import Range, needed
from convkit.algorithms.support.packing import (
    LINE,
    Packed,
    Source,
    item_bytes,
    packing,
    touched,
    touched_count,
    touched_elements,
    touched_stride,
    unpacking,
)
from convkit.codegen import direct as kernel
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.codegen.weights import Order, order_for, taps
from convkit.planner.problem import Problem
from convkit.spec.window import Window

TILE_PRODUCTS = 1 << 18, 1 << 23
"""Products of one tile at least and at most: from some microseconds, many times what handing it out takes."""

TILES = 8
"""Tiles that even small problems are cut into, as far as they make such tiles, so that several threads share them."""

TILE_OUTPUTS = 1 << 12, 1 << 17
"""Outputs of one tile at least and at most: with its input it stays in the second-level cache."""

TILE_COLUMNS = 1 << 12
"""Columns of a tile of several rows: the rows that one row of outputs touches stay in the cache for the next."""

TILE_ROWS = 20
"""Tiles are a multiple of this many rows high, as register tiles are 4 or 5 rows high."""

PACKED_SHARE, VOLUME_SHARE = 4, 2
"""Tiles that are laid out in scratch memory hold so many times fewer outputs, so that they stay in the cache; those of
volumes, which share more of their samples with their neighbours, are larger."""

NARROW = 8
"""Columns for each kernel element below which the ends of rows cost more than laying all of them down."""

SMALL_IMAGE = 1 << 14
"""Outputs of an image whose tiles are all packed: its border is a large part of it."""

PROGRAM_STEPS = 1 << 13
"""Steps of a program beyond which it is run several times, for some of the samples each."""

REAL = {"float32": "float32", "float64": "float64", "complex64": "float32", "complex128": "float64"}
"""What the sums of each compute type are formed in."""

ONE_ROW = Window(1, 1, 1)
"""The axis of rows that signals lack."""

Box = tuple[Range, ...]
Strides = tuple[int, ...]


def order_of(problem: Problem) -> Order:
    """In which order weights are read. With complex samples and weights the parts are an axis of the kernel."""
    shape = [window.kernel for window in problem.windows]
    if len(shape) == 1:
        shape = [1, *shape]
    if _is_complex(problem.input_dtype) and _is_complex(problem.kernel_dtype):
        shape = [2, *shape]
    apart = [window.stride // math.gcd(window.stride, window.dilation) for window in problem.windows]
    return order_for(tuple(shape), REAL[problem.compute_dtype], tuple([1, *apart][-2:]))  # type: ignore[arg-type]


def contiguous(shape: tuple[int, ...], dtype: Any) -> Strides:
    """Strides of an array in memory order."""
    return tuple(np.dtype(dtype).itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def tiles(problem: Problem, last_stride: int | None = None) -> Iterator[tuple[Box, bool]]:
    """The outputs of every tile, and whether it is packed; threads have no say in it.

    ``last_stride`` is the input's along the last axis, in bytes; one number after another without it.
    """
    for box, packed in _frame(problem, last_stride):
        lengths = _lengths(problem, box, packed)
        cuts = [[(at, min(at + n, hi)) for at in range(lo, hi, n)] for (lo, hi), n in zip(box, lengths, strict=True)]
        for tile in product(*cuts):
            yield tile, packed


def scratch(problem: Problem, last_stride: int | None = None) -> int:
    """Bytes of scratch memory that one thread needs at most."""
    most = 0
    for box, packed in _frame(problem, last_stride):
        tile = tuple((lo, lo + n) for (lo, _), n in zip(box, _lengths(problem, box, packed), strict=True))
        most = max(most, (_packed(problem, tile).bytes if packed else 0) + 2 * _sums_bytes(problem, tile))
    return most


@lru_cache(maxsize=256)
def program(
    problem: Problem, x_strides: Strides, out_strides: Strides, out_dtype: str, line: int | None = None, pixel: int = 1
) -> Program:
    """Everything about a call but its arrays.

    ``line`` says where in a line of the cache streamed results begin, ``pixel`` how many numbers of the last axis make
    one sample of it.
    """
    tables = Tables()
    pieces = [
        _Tile(problem, tables, tile, packed, x_strides, out_strides, out_dtype, line, pixel).steps()
        for tile, packed in tiles(problem, x_strides[-1])
    ]
    return join(pieces, tables.array(), scratch(problem, x_strides[-1]))


@lru_cache(maxsize=256)
def samples_at_once(problem: Problem) -> int:
    """For how many samples one program is made, so that it stays small however many there are."""
    planes = min(touched_stride(problem.windows[-1]), 64) * (2 if _is_complex(problem.input_dtype) else 1)
    steps = problem.groups * sum(1 for _ in tiles(problem)) * (planes + 2)
    return max(1, min(problem.batch, PROGRAM_STEPS // steps))


def _is_complex(dtype: str) -> bool:
    return dtype.startswith("complex")


def _frame(problem: Problem, last_stride: int | None) -> list[tuple[Box, bool]]:
    """The outputs as boxes, and whether they are packed: those whose windows leave the input, and all others.

    All are, where samples cannot be read as they lie: because of their type, or because those that neighbouring outputs
    need are not neighbours.
    """
    windows = problem.windows
    whole = tuple((0, window.count) for window in windows)
    in_place = problem.input_dtype == problem.compute_dtype in ("float32", "float64") and windows[-1].stride == 1
    if last_stride is not None:
        in_place = in_place and last_stride == item_bytes(problem.input_dtype)
    if not in_place or problem.outputs <= SMALL_IMAGE or _narrow(problem):
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


def _narrow(problem: Problem) -> bool:
    """Whether the two ends of every row of a volume, each a vector under a mask, cost more than laying it all down."""
    window = problem.windows[-1]
    return len(problem.windows) > 2 and not window.inside and window.count < NARROW * problem.taps


def _lengths(problem: Problem, box: Box, packed: bool) -> list[int]:
    """Outputs of one tile of ``box`` along each axis."""
    least, most = TILE_OUTPUTS
    shared, large = max(TILE_PRODUCTS[0] // problem.taps, problem.outputs // TILES), TILE_PRODUCTS[1] // problem.taps
    room, widest = min(max(min(shared, large), least), most), TILE_COLUMNS
    if packed:  # what is laid out is as large as the outputs are many, times the strides
        strides = [touched_stride(window) for window in problem.windows]
        share = PACKED_SHARE if len(strides) < 3 else VOLUME_SHARE
        room = max(1, min(room, most // share) // math.prod(strides))
        widest = max(1, widest // PACKED_SHARE // math.prod(strides[-2:]))
    sizes = [hi - lo for lo, hi in box]
    if len(sizes) == 1:
        return [_even(sizes[0], room, LINE)]
    *leading, rows, columns = sizes
    columns = min(columns, max(widest, room // rows))
    high = room if not leading else min(room, columns * TILE_ROWS)  # planes share more of their windows than rows do
    rows = min(rows, max(1, -(-high // (columns * TILE_ROWS))) * TILE_ROWS)
    lengths = [columns, _even(sizes[-2], rows, order_of(problem).schedule.rows)]
    room //= rows * columns
    for count in reversed(leading):
        lengths.append(_even(count, max(1, min(count, room)), 1))
        room //= lengths[-1]
    return lengths[::-1]


def _even(size: int, most: int, unit: int) -> int:
    """The length of pieces, ``most`` at most and of whole units, that leaves the last of them not much shorter."""
    if size <= most:
        return size
    pieces = -(-size // most)
    return min(most, -(-size // (pieces * unit)) * unit)


def _packed(problem: Problem, outputs: Box) -> Packed:
    """How the input of a tile lies in scratch memory, at whose beginning it stands."""
    windows = problem.windows
    shape = tuple(touched_count(window, hi - lo) for window, (lo, hi) in zip(windows, outputs, strict=True))
    parts = 2 if _is_complex(problem.input_dtype) else 1
    return Packed(0, shape, touched_stride(windows[-1]), item_bytes(REAL[problem.compute_dtype]), parts)


def _sums_bytes(problem: Problem, outputs: Box) -> int:
    """Bytes of one plane of sums in scratch memory."""
    size = item_bytes(REAL[problem.compute_dtype]) * math.prod(hi - lo for lo, hi in outputs)
    return -(-size // LINE) * LINE + LINE


class _Tile:
    """The steps of one tile, for every sample and group: its input laid down, multiplied and added, the sums stored.

    Samples are read from scratch memory, or where they lie; sums are written there, or where the result stands.
    """

    def __init__(
        self, problem: Problem, tables: Tables, outputs: Box, is_packed: bool, x_strides: Strides, out_strides: Strides,
        out_dtype: str, line: int | None, pixel: int,
    ) -> None:  # fmt: skip
        self.pixel = pixel
        self.problem, self.tables, self.is_packed, self.out_dtype = problem, tables, is_packed, out_dtype
        self.real = REAL[problem.compute_dtype]
        self.item = item_bytes(self.real)
        self.order = order_of(problem)
        samples, groups = np.arange(problem.batch)[:, None], np.arange(problem.groups)[None]
        self.x_at = (samples * x_strides[0] + groups * x_strides[1]).ravel()
        self.out_at = (samples * out_strides[0] + groups * out_strides[1]).ravel()
        self.groups = (0 * samples + groups).ravel()
        self.windows, self.outputs = problem.windows, outputs
        self.x_strides, self.out_strides = x_strides[3:], out_strides[3:]
        self.packed = _packed(problem, outputs)
        self.sums_at = self.packed.bytes if is_packed else 0
        self.sums_bytes = _sums_bytes(problem, outputs)
        if len(self.windows) == 1:  # a signal is an image of one row
            self.windows, self.outputs = (ONE_ROW, *self.windows), ((0, 1), *outputs)
            self.x_strides, self.out_strides = (0, *self.x_strides), (0, *self.out_strides)
            self.packed = Packed(0, (1, *self.packed.shape), self.packed.stride, self.item, self.packed.parts)
        self.counts = [hi - lo for lo, hi in self.outputs]
        self.out_at = self.out_at + sum(lo * s for (lo, _), s in zip(self.outputs, self.out_strides, strict=True))
        self.sums_strides = contiguous(tuple(self.counts), self.real)
        side_by_side = self.out_strides[-1] == item_bytes(out_dtype) or self.counts[-1] == 1
        self.stored_at_once = side_by_side and not _is_complex(problem.compute_dtype)
        self.line = None if is_packed or not self.stored_at_once or out_dtype != self.real else line
        if self.line is not None:
            strides = (*out_strides[:2], *self.out_strides[:-1])
            sizes = (problem.batch, problem.groups, *self.counts[:-1])
            aligned = all(stride % LINE == 0 for stride, size in zip(strides, sizes, strict=True) if size > 1)
            self.line = (self.line + int(self.out_at[0])) % LINE if aligned and self.line % self.item == 0 else None

    def steps(self) -> list[Steps]:
        """All of them, in order."""
        found = self.pack() if self.is_packed else []
        self.place_samples()
        parts = 2 if _is_complex(self.problem.compute_dtype) else 1
        for part in range(parts):
            found += self.multiply_add(part)
        return found if self.stored_at_once else [*found, *self.store(parts)]

    def pack(self) -> list[Steps]:
        """Lay down the input with what stands outside."""
        dtype = REAL.get(self.problem.input_dtype, self.problem.input_dtype)
        source = Source(dtype, self.x_strides, item_bytes(dtype), self.pixel)
        positions = [touched(window, along) for window, along in zip(self.windows, self.outputs, strict=True)]
        return packing(
            self.tables, self.windows, positions, source, self.packed, self.real, self.problem.fill, self.x_at
        )

    def place_samples(self) -> None:
        """Where the first window's samples are read: their base; bytes between rows, outputs and kernel elements."""
        if self.is_packed:
            self.samples: tuple[int, Any] = SCRATCH, 0
            steps = [touched_stride(window) for window in self.windows[:-1]]
            self.moves = [step * stride for step, stride in zip(steps, self.packed.strides, strict=True)]
            self.offsets = [self.packed.along(axis, touched_elements(w)) for axis, w in enumerate(self.windows)]
            return
        begin = [needed(window, along)[0] for window, along in zip(self.windows, self.outputs, strict=True)]
        self.samples = X, self.x_at + sum(lo * stride for lo, stride in zip(begin, self.x_strides, strict=True))
        both = list(zip(self.windows, self.x_strides, strict=True))
        self.moves = [window.stride * stride for window, stride in both[:-1]]
        self.offsets = [[j * window.dilation * stride for j in range(window.kernel)] for window, stride in both]

    def multiply_add(self, part: int) -> list[Steps]:
        """Form the sums, of a complex result the real or the imaginary parts of them."""
        if self.stored_at_once:
            (base, at), strides = (OUT, self.out_at), self.out_strides
        else:
            (base, at), strides = (SCRATCH, self.sums_at + part * self.sums_bytes), self.sums_strides
        weights, shift, offsets = part, 0, self.offsets
        if part or _is_complex(self.problem.compute_dtype):
            if _is_complex(self.problem.input_dtype) and _is_complex(self.problem.kernel_dtype):
                offsets = [[0, self.packed.part], *offsets]
            elif _is_complex(self.problem.input_dtype):  # the same weights for both parts
                weights, shift = 0, part * self.packed.part
        group_bytes = self.item * len(self.order.elements)
        w = KERNEL, (weights * self.problem.groups + self.groups) * group_bytes
        table = self.tables.add(taps(self.order, offsets))
        # Rows a dilation apart form an image of their own, whose kernel rows are neighbours; columns likewise.
        row_images, column_step = (w.dilation // math.gcd(w.dilation, w.stride) for w in self.windows[-2:])
        *leading, rows, columns = self.counts
        plane = max(range(len(leading)), key=leading.__getitem__, default=None)
        address = self.order.address if self.line is None else self.order.streaming
        if self.stored_at_once and self.out_dtype != self.real:
            address = self.order.storing(self.out_dtype)
        lead = 0 if self.line is None else -self.line % LINE // self.item
        found: list[Steps] = []
        for index in product(*(range(1 if axis == plane else n) for axis, n in enumerate(leading))):
            x_at = self.samples[1] + shift + sum(i * move for i, move in zip(index, self.moves, strict=False))
            out_at = at + sum(i * stride for i, stride in zip(index, strides, strict=False))
            for image in range(min(row_images, rows)):
                found.append(
                    kernel.ARGUMENTS.steps(
                        address, len(self.x_at), lead=lead, out=(base, out_at + image * strides[-2]),
                        x=(self.samples[0], x_at + image * self.moves[-1]), w=w, taps=(TABLES, table),
                        planes=1 if plane is None else leading[plane], rows=-(-(rows - image) // row_images),
                        columns=columns, blocks=self.order.full, last_blocks=len(self.order.blocks) - self.order.full,
                        out_plane=0 if plane is None else strides[plane],
                        x_plane=0 if plane is None else self.moves[plane], w_plane=0, out_row=row_images * strides[-2],
                        x_row=row_images * self.moves[-1], x_step=column_step * self.item,
                    )
                )  # fmt: skip
        return found

    def store(self, parts: int) -> list[Steps]:
        """Store the sums as the result has them."""
        *leading, rows, columns = self.counts
        found: list[Steps] = []
        for index in product(*map(range, leading)):
            at = self.sums_at + sum(i * stride for i, stride in zip(index, self.sums_strides, strict=False))
            out_at = self.out_at + sum(i * stride for i, stride in zip(index, self.out_strides, strict=False))
            found.append(
                unpacking(
                    self.real, REAL.get(self.out_dtype, self.out_dtype),
                    [at + part * self.sums_bytes for part in range(parts)], self.sums_strides[-2], columns, rows,
                    self.out_strides[-2], self.out_strides[-1], out_at,
                )
            )  # fmt: skip
        return found
