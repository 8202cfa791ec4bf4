"""The gradient of a layer's weights, as a program: a sum over pixels and samples, for every pair of channels.

``dw[o, c, j] = sum_(b,i) g[b, o, i] * v[b, c, i*stride + start + j*dilation]``. Rows of the register tile are input
channels and kernel elements, its vectors hold output channels, and its terms are pixels: of a chunk, which is one tile
of one sample or several whole small samples. For each chunk the samples are laid down as `planes`, and the upstream
gradient with its channels side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

import numpy as np

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.dense_samples import Found, Offsets, layout_of, of_numbers
from convkit.algorithms.support.packing import LINE, item_bytes, touched_stride, unpacking
from convkit.algorithms.support.planes import Box, Strides, offsets, pitch, space, with_rows
from convkit.algorithms.support.register_tiles import cuts, cycles, largest, pieces, register_tile
from convkit.codegen import dense_channels as kernel
from convkit.codegen import transpose, unpack
from convkit.codegen.dense_channels import MOST_FAR_ROWS, MOST_ROWS, DenseChannels
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.numbers import stored_as
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import ADD, BIAS, KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.planner.problem import Problem
from convkit.spec.window import Window

TERMS = 256
"""Pixels of a chunk: the more, the fewer times sums are read and written; this one and the next stay in the cache."""

PACKED_BYTES = 1 << 18
"""Bytes of samples that are laid down at a time at most."""

SUMS_BYTES = 1 << 19
"""Bytes of the sums of one task at most."""

VECTORS, FEWEST_VECTORS = 12, 4
"""Vectors of output channels that one task has at most; and that it keeps at least where there would be few tasks: each
lays down the samples for itself."""

SMALL_KERNEL = 1 << 19
"""Bytes of weights up to which the chunks are shared out among tasks, whose sums are added in the end."""

PARTS = 8
"""How many tasks then share them, and how many there should be."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """How the gradient is cut; threads have no say in it.

    Attributes
    ----------
    windows : tuple of Window
        The forward operator's, two axes at least.
    lengths : tuple of int
        Pixels of a tile along each axis at most.
    samples : int
        Samples of a chunk.
    packed : int
        Input channels laid down at a time at most.
    channels : int
        Input channels of one task at most.
    vectors : int
        Vectors of output channels of one task at most.
    parts : int
        Tasks among which the chunks are shared out.
    tile : tuple of int
        Rows and vectors of the register tile.
    share : float
        How much of the arithmetic is wanted: output channels fill whole vectors.
    """

    windows: tuple[Window, ...]
    lengths: tuple[int, ...]
    samples: int
    packed: int
    channels: int
    vectors: int
    parts: int
    tile: tuple[int, int]
    share: float

    def blocks(self, problem: Problem) -> int:
        """Tasks that share the output channels."""
        vectors = -(-problem.out_channels // lanes_of(this_machine(), problem.compute_dtype))
        return -(-vectors // self.vectors)

    def chunks(self, samples: int) -> list[tuple[Range, Box]]:
        """The samples and the tile of every chunk, in the order in which they are summed."""
        boxes = product(*(cuts(w.count, n) for w, n in zip(self.windows, self.lengths, strict=True)))
        return list(product(cuts(samples, self.samples), boxes))


@lru_cache(maxsize=512)
def blocking(problem: Problem) -> Blocking:
    """How ``problem`` is cut, which is the adjoint of a layer by its kernel: samples take the place of channels."""
    windows = with_rows(tuple(window.kernel_adjoint() for window in problem.windows))
    item, lanes = item_bytes(problem.compute_dtype), lanes_of(this_machine(), problem.compute_dtype)
    taps, inputs, samples = problem.outputs, problem.batch, problem.in_channels
    small = item * problem.groups * problem.out_channels * inputs * taps <= SMALL_KERNEL
    room = TERMS
    lengths: list[int] = []
    for window in reversed(windows):
        lengths.append(largest(window.count, max(1, room)))
        room //= lengths[-1]
    lengths.reverse()
    pixels = math.prod(lengths)
    whole = pixels == math.prod(window.count for window in windows)
    together = largest(samples, max(1, TERMS // pixels)) if whole else 1
    vectors = -(-problem.out_channels // lanes)
    laid = item * together * math.prod(n * touched_stride(w) for w, n in zip(windows[:-1], lengths)) * pitch(
        windows[-1], lengths[-1]
    ) * touched_stride(windows[-1])  # fmt: skip
    chunks = -(-samples // together) * math.prod(-(-w.count // n) for w, n in zip(windows, lengths, strict=True))
    parts = min(PARTS, chunks) if small else 1
    wide = largest(vectors, VECTORS)
    channels = largest(inputs, max(1, SUMS_BYTES // (item * taps * wide * lanes)))
    tasks = parts * problem.groups * -(-inputs // channels)
    if tasks * -(-vectors // wide) < PARTS:
        wide = largest(vectors, max(FEWEST_VECTORS, -(-vectors * tasks // PARTS)))
    packed = largest(channels, max(1, PACKED_BYTES // laid))
    tile = register_tile(packed * taps, wide, MOST_ROWS)
    share = problem.out_channels / lanes * packed * taps / cycles(packed * taps, vectors, *tile)
    return Blocking(windows, tuple(lengths), together, packed, channels, wide, parts, tile, share)


def scratch(problem: Problem) -> int:
    """Bytes of scratch memory that one thread needs, for samples in memory order."""
    item, shape = item_bytes(problem.input_dtype), problem.input_shape
    channel = item * math.prod(shape[3:])
    along = tuple(item * math.prod(shape[axis + 1 :]) for axis in range(3, len(shape)))
    strides = (channel, channel * shape[0], channel * shape[0] * shape[1], *along)
    return _Chunks(problem, blocking(problem), strides).layout.bytes


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things lie in scratch memory: the samples at its beginning, the upstream gradient, the sums."""

    upstream_at: int
    sums_at: int
    sums_row: int
    bytes: int

    @classmethod
    def of(cls, problem: Problem, cut: Blocking, laid: int, pixels: int) -> _Layout:
        """For chunks of so many pixels at most, whose samples take so many bytes."""
        upstream_at, vector = laid + LINE, this_machine().vector_bytes
        sums_at = upstream_at + pixels * cut.vectors * vector + LINE
        sums_row = cut.vectors * vector + (LINE if cut.vectors * vector % 1024 == 0 else 0)
        return cls(upstream_at, sums_at, sums_row, sums_at + cut.channels * problem.outputs * sums_row)


class _Chunks:
    """What the chunks of a call have in common.

    Attributes
    ----------
    forward : Problem
        The layer whose weights these are, which says how its samples are read.
    x_strides : tuple of int
        Bytes from sample to sample, group, channel, and along space: in the forward order.
    pixels : tuple of int
        Bytes from group to group, channel, sample, and from one output's samples to the next: as upstream's strides.
    """

    def __init__(self, problem: Problem, cut: Blocking, x_strides: Strides) -> None:
        channel, group, sample, *along = x_strides
        self.cut, self.x_strides = cut, (sample, group, channel, *along)
        self.forward = problem.derive(
            windows=tuple(window.kernel_adjoint() for window in problem.windows), batch=1, in_channels=problem.batch
        )
        apart = (window.stride * stride for window, stride in zip(self.forward.windows, along, strict=True))
        self.pixels = (group, channel, sample, *apart)
        self.all = cut.chunks(problem.in_channels)
        self.samples = {
            (box, count): of_numbers(
                self.forward, cut.windows, box, (count, count), self.x_strides,
                layout_of(self.forward, self.x_strides, (0,) * len(x_strides)),
            )
            for box in {box for _, box in self.all}
            for count in {hi - lo for whole in cuts(problem.batch, cut.channels)
                          for lo, hi in cuts(whole[1] - whole[0], cut.packed)}
        }  # fmt: skip
        pixels = max((hi - lo) * math.prod(b - a for a, b in box) for (lo, hi), box in self.all)
        self.layout = _Layout.of(problem, cut, max(one.bytes for one in self.samples.values()) * cut.samples, pixels)


@lru_cache(maxsize=128)
def program(
    problem: Problem, x_strides: Strides, g_strides: Strides, out_strides: Strides, part_stride: int
) -> Program:  # fmt: skip
    """Everything about a call but its arrays; the sums of part ``n`` are stored ``n * part_stride`` bytes further."""
    tables, cut = Tables(), blocking(problem)
    chunks = _Chunks(problem, cut, x_strides)
    vectors = -(-problem.out_channels // lanes_of(this_machine(), problem.compute_dtype))
    tasks: list[list[Steps]] = []
    for channels, block in product(cuts(problem.batch, cut.channels), cuts(vectors, cut.vectors)):
        task = _Task(problem, cut, tables, chunks, channels, block, g_strides[-1])
        bounds = [part * len(chunks.all) // cut.parts for part in range(cut.parts + 1)]
        for part, some in enumerate(pairwise(bounds)):
            steps: list[Steps] = []
            for n in range(*some):
                later = chunks.all[min(n + 1, some[1] - 1)]
                steps += task.chunk(*chunks.all[n], g_strides, first=n == some[0], later=later)
            tasks.append([*steps, *task.store(out_strides, part * part_stride)])
    return join(tasks, tables.array(), chunks.layout.bytes)


class _Task:
    """The steps that sum some chunks for some input and some output channels, of every group."""

    def __init__(
        self, problem: Problem, cut: Blocking, tables: Tables, chunks: _Chunks, channels: Range, block: Range,
        pixel: int,
    ) -> None:  # fmt: skip
        self.problem, self.cut, self.tables, self.chunks, self.layout = problem, cut, tables, chunks, chunks.layout
        self.channels, self.block = channels, block
        self.dtype = problem.compute_dtype
        self.item, self.lanes = item_bytes(self.dtype), lanes_of(this_machine(), self.dtype)
        self.upstream_item, self.upstream_type = item_bytes(problem.kernel_dtype), problem.kernel_dtype
        self.groups = np.arange(problem.groups, dtype=np.int64)
        self.tiles = pieces(block[1] - block[0], cut.tile[1])
        self.outputs = block[0] * self.lanes, min(problem.out_channels, block[1] * self.lanes)
        self.pixel = pixel

    def chunk(
        self, samples: Range, box: Box, g_strides: Strides, first: bool, later: tuple[Range, Box]
    ) -> list[Steps]:  # fmt: skip
        """Lay down what a chunk needs, and add its products; what is read where it lies is asked for a chunk early."""
        found: list[Steps] = []
        together, counts = samples[1] - samples[0], [hi - lo for lo, hi in box]
        upstream = self.rows(counts, samples, box, g_strides)
        ahead = [_start(*later, strides) - _start(samples, box, strides) for strides in (g_strides, self.chunks.pixels)]
        if upstream is None:
            for n, sample in enumerate(range(*samples)):
                found += self.upstream(counts, n, sample, together, box, g_strides)
        for lo, hi in cuts(self.channels[1] - self.channels[0], self.cut.packed):
            laid, where, apart = self.samples(samples, box, (self.channels[0] + lo, self.channels[0] + hi))
            found += laid
            found += self.multiply_add(where, apart, counts, together, (lo, hi), first, upstream, *ahead)
        return found

    def rows(self, counts: list[int], samples: Range, box: Box, strides: Strides) -> Offsets | None:
        """Where a chunk's upstream gradient lies, if its channels are side by side and its pixels evenly apart."""
        along = space(strides)
        whole = (self.outputs[1] - self.outputs[0]) % self.lanes == 0
        if self.upstream_type != self.dtype or strides[1] != self.item or not whole:
            return None
        each = along[-1]
        for count, stride in zip((samples[1] - samples[0], *counts)[::-1], (strides[2], *along)[::-1], strict=True):
            if count > 1 and stride != each:
                return None
            each *= count
        return self.groups * strides[0] + self.outputs[0] * strides[1] + _start(samples, box, strides)

    def samples(self, samples: Range, box: Box, channels: Range) -> tuple[list[Steps], Found, int]:
        """Lay down some channels of some samples: where the first sample's are, and how far apart samples are."""
        count, strides = channels[1] - channels[0], self.chunks.x_strides
        laid = self.chunks.samples[box, count]
        steps: list[Steps] = []
        places: list[Found] = []
        for n, sample in enumerate(range(*samples)):
            at = self.groups * strides[1] + channels[0] * strides[2] + sample * strides[0]
            more, place = laid.lay(self.tables, at, (0, count), n * laid.bytes)
            steps += more
            places.append(place)
        return steps, places[0], laid.bytes or strides[0]

    def upstream(
        self, counts: list[int], n: int, sample: int, samples: int, box: Box, strides: Strides
    ) -> list[Steps]:  # fmt: skip
        """Lay down the upstream gradient of one sample, output channels side by side, register tile by register tile.

        Rows of pixels that lie one after another are one row.
        """
        along = space(strides)
        *leading, rows, columns = counts
        merged = along[-2] == columns * along[-1] or rows == 1
        at = self.groups * strides[0] + sample * strides[2] + sum(lo * s for (lo, _), s in zip(box, along, strict=True))
        pixels, vector = math.prod(counts), self.lanes * self.item
        found: list[Steps] = []
        before, output = 0, self.outputs[0]
        for size, count in self.tiles:
            for _ in range(count):
                width = size * self.lanes
                panel = self.layout.upstream_at + samples * pixels * before * vector + n * pixels * size * vector
                for number, index in enumerate(product(*map(range, leading))):
                    moved = at + output * strides[1] + sum(i * s for i, s in zip(index, along, strict=False))
                    lay = self.side_by_side if strides[1] == self.upstream_item != along[-1] else self.turned
                    found += lay(
                        moved, panel + number * rows * columns * size * vector, size * vector,
                        (min(width, self.outputs[1] - output), width),
                        (1, rows * columns) if merged else (rows, columns), strides,
                    )  # fmt: skip
                before, output = before + size, output + width
        return found

    def turned(
        self, at: Offsets, to: int, row: int, channels: Range, pixels: Range, strides: Strides
    ) -> list[Steps]:  # fmt: skip
        """Some channels of rows of pixels, from where pixels lie side by side.

        ``channels``: how many there are, and are laid down; ``pixels``: rows, and pixels of each.
        """
        kernel = transpose.Transpose(self.dtype, source=stored_as(self.upstream_type, self.dtype))
        return [
            transpose.ARGUMENTS.steps(
                address_of(kernel), len(at), x=(KERNEL, at), to=(SCRATCH, to),
                planes=pixels[0], to_plane=pixels[1] * row, x_plane=space(strides)[-2], rows=channels[0],
                columns=pixels[1], width=channels[1], to_row=row, x_row=strides[1],
            )
        ]  # fmt: skip

    def side_by_side(
        self, at: Offsets, to: int, row: int, channels: Range, pixels: Range, strides: Strides
    ) -> list[Steps]:  # fmt: skip
        """The same from where channels do; what stands in the place of channels that there are not is never stored."""
        return [
            unpack.ARGUMENTS.steps(
                address_of(unpack.Unpack(self.upstream_type, self.dtype)), len(at), out=(SCRATCH, to),
                sums=(KERNEL, at), imaginary=(KERNEL, at), planes=pixels[0], out_plane=pixels[1] * row,
                sums_plane=space(strides)[-2], rows=pixels[1], out_row=row, sums_row=strides[-1], columns=channels[0],
                out_step=self.item,
            )
        ]  # fmt: skip

    def multiply_add(
        self, where: Found, apart: int, counts: list[int], samples: int, some: Range, first: bool,
        upstream: Offsets | None, g_ahead: int, x_ahead: int,
    ) -> list[Steps]:  # fmt: skip
        """Add the products of a chunk to the sums of some of the task's channels.

        ``upstream``: where it lies if it has not been laid down; ``ahead``: how far the next chunk's numbers lie.
        """
        channels, taps = some[1] - some[0], self.problem.outputs
        sample = np.arange(samples, dtype=np.int64)[:, None] * apart
        terms = (sample + offsets(counts, where.strides)).ravel()
        offsets_at, rows = self.tables.add(terms), where.terms
        vector = self.lanes * self.item
        (size, tiles), last = self.tiles[0], self.tiles[1:]
        found: list[Steps] = []
        begin, sums = 0, self.layout.sums_at + some[0] * taps * self.layout.sums_row
        rows_are = "far-rows" if self.cut.tile[0] <= MOST_FAR_ROWS else "rows"
        for height, blocks in pieces(channels * taps, self.cut.tile[0]):
            start, weights = "zero" if first else "sums", "ordered" if upstream is None else rows_are
            schedule = DenseChannels(self.dtype, self.lanes, height, size, start, weights=weights)
            found.append(
                kernel.ARGUMENTS.steps(
                    address_of(schedule), len(self.groups), x=(where.base, where.at),
                    w=(SCRATCH, self.layout.upstream_at) if upstream is None else (KERNEL, upstream),
                    sums=(SCRATCH, sums + begin * self.layout.sums_row),
                    offsets=(TABLES, offsets_at), blocks=blocks,
                    rows_at=(TABLES, self.tables.add(rows[begin : begin + height * blocks])),
                    sums_at=(TABLES, self.tables.add(np.arange(height * blocks) * self.layout.sums_row)),
                    depth=len(terms), tiles=tiles, last_tiles=last[0][1] if last else 0, rest=0,
                    w_vector=len(terms) * vector, w_row=self.pixel, bias=(BIAS, 0), add=(ADD, 0), w_ahead=g_ahead,
                    x_ahead=x_ahead if where.base == X else 0,
                )
            )  # fmt: skip
            begin += height * blocks
        return found

    def store(self, strides: Strides, part: int) -> list[Steps]:
        """Store the sums: what lies side by side in the result is stored so."""
        taps, channels, outputs = self.problem.outputs, self.channels[1] - self.channels[0], self.outputs
        at = self.groups * strides[1] + self.channels[0] * strides[0] + outputs[0] * strides[2] + part
        row, columns = self.layout.sums_row, outputs[1] - outputs[0]
        if taps == 1 and strides[0] != self.item:
            sums = [self.layout.sums_at]
            return [unpacking(self.dtype, self.dtype, sums, row, columns, channels, strides[0], strides[2], at)]
        elements = offsets(self.problem.output_shape[3:], strides[3:])
        side_by_side = bool((np.diff(elements) == self.item).all())
        if side_by_side and strides[0] == taps * self.item:  # the kernels of all channels are one row
            return [self.stored(at, 0, 1, 0, 0, channels * taps, row, columns, strides[2])]
        if side_by_side:
            return [self.stored(at, 0, channels, strides[0], taps * row, taps, row, columns, strides[2])]
        return [
            self.stored(at + int(place), tap * row, 1, 0, 0, channels, taps * row, columns, strides[2])
            for tap, place in enumerate(elements)
        ]

    def stored(
        self, at: Offsets, sums: int, planes: int, to_plane: int, x_plane: int, rows: int, x_row: int, columns: int,
        to_row: int,
    ) -> Steps:  # fmt: skip
        """Rows of sums, from a place among them on, as columns of the result."""
        return transpose.ARGUMENTS.steps(
            address_of(transpose.Transpose(self.dtype)), len(at), x=(SCRATCH, self.layout.sums_at + sums), to=(OUT, at),
            planes=planes, to_plane=to_plane, x_plane=x_plane, rows=rows, columns=columns, width=rows, to_row=to_row,
            x_row=x_row,
        )  # fmt: skip


def _start(samples: Range, box: Box, strides: Strides) -> int:
    """How far a chunk's numbers begin from the first of all; ``strides``: of groups, channels, samples and space."""
    return samples[0] * strides[2] + sum(lo * s for (lo, _), s in zip(box, space(strides), strict=True))


def stores(problem: Problem, strides: Strides) -> bool:
    """Whether sums can be stored where the result has these strides."""
    item, elements = item_bytes(problem.compute_dtype), offsets(problem.output_shape[3:], strides[3:])
    return problem.outputs == 1 or strides[0] == item or bool((np.diff(elements) == item).all())
