"""Steps that bring tiles of the boundary-extended input into scratch memory, and sums out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convkit.codegen import pack, unpack
from convkit.codegen.library import address_of
from convkit.codegen.program import Tables
from convkit.codegen.step import OUT, SCRATCH, TABLES, Steps, X
from convkit.spec.boundary import index_map
from convkit.spec.window import Window

Range = tuple[int, int]
Offsets = NDArray[np.int64]
LINE = 64
"""Bytes of a cache line; planes in scratch memory begin at one."""


@dataclass(frozen=True, slots=True)
class Packed:
    """How a tile of the extended input lies in scratch memory.

    Along the last axis, positions that leave the same rest when divided by ``stride`` lie side by side, in a plane of
    their own; a complex tile has such planes for its real parts and again for its imaginary parts.

    Attributes
    ----------
    place : int
        Where it begins, in bytes.
    shape : tuple of int
        Positions along each axis.
    stride : int
        Planes along the last axis.
    item : int
        Bytes of one number.
    parts : int
        1, or 2 for complex numbers.
    """

    place: int
    shape: tuple[int, ...]
    stride: int
    item: int
    parts: int = 1

    @property
    def row(self) -> int:
        """Bytes from one row to the next."""
        return -(-self.shape[-1] // self.stride) * self.item

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one position to the next along each axis but the last."""
        return tuple(self.row * math.prod(self.shape[axis + 1 : -1]) for axis in range(len(self.shape) - 1))

    @property
    def phase(self) -> int:
        """Bytes from one plane to the next."""
        return -(-self.row * math.prod(self.shape[:-1]) // LINE) * LINE + LINE

    @property
    def part(self) -> int:
        """Bytes from the real parts to the imaginary parts."""
        return self.phase * self.stride

    @property
    def bytes(self) -> int:
        """Bytes of the whole tile."""
        return self.part * self.parts

    def along(self, axis: int, positions: Sequence[int]) -> list[int]:
        """How far, in bytes, positions lie from the first along an axis."""
        if axis < len(self.shape) - 1:
            return [self.strides[axis] * position for position in positions]
        return [p % self.stride * self.phase + p // self.stride * self.item for p in positions]


def item_bytes(dtype: str) -> int:
    """Bytes of one number; bfloat16 is no type of NumPy's."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def touched(window: Window, outputs: Range) -> Range | Offsets:
    """Input positions that the outputs ``lo..hi-1`` of an axis meet, and those between them.

    Positions that no kernel element can meet are left out: between windows that do not overlap, and, where stride and
    dilation have a common divisor, all but its multiples. Where none is, the first position and one past the last.
    """
    spacing, stride, _ = _compressed(window)
    lo, hi = outputs
    begin, count = window.start + lo * window.stride, touched_count(window, hi - lo)
    if stride == window.stride:
        return begin, begin + count
    place = np.arange(count, dtype=np.int64)
    return begin + place // stride * window.stride + place % stride * spacing


def _compressed(window: Window) -> tuple[int, int, int]:
    """The spacing of the positions that are kept in a window; and, counted in them, its stride and its reach."""
    spacing = math.gcd(window.stride, window.dilation)
    reach = window.dilation // spacing * (window.kernel - 1) + 1
    return spacing, min(window.stride // spacing, reach), reach


def touched_count(window: Window, outputs: int) -> int:
    """How many positions `touched` gives for so many outputs."""
    _, stride, reach = _compressed(window)
    return (outputs - 1) * stride + reach


def touched_stride(window: Window) -> int:
    """How far apart, among the positions of `touched`, the windows of neighbouring outputs begin."""
    return _compressed(window)[1]


def touched_elements(window: Window) -> range:
    """Where, among the positions of `touched`, a window's kernel elements lie."""
    spacing, _, reach = _compressed(window)
    return range(0, reach, window.dilation // spacing)


def _sources(window: Window, positions: Offsets, stride: int, pixel: int = 1) -> Offsets:
    """Where the samples at ascending positions lie along one axis, in bytes; marks where there are none.

    Several numbers side by side may make a pixel; boundaries repeat whole pixels.
    """
    found = positions * stride
    first, last = np.searchsorted(positions, (0, window.size)).tolist()
    for part, name in ((slice(0, first), window.sides[0]), (slice(max(first, last), None), window.sides[1])):
        outside = positions[part]
        if not len(outside):
            continue
        if name in ("zero", "constant") or window.size == 0:
            found[part] = pack.FILL if name == "constant" else pack.ZEROS
        else:
            begin, end = int(outside[0]) // pixel, int(outside[-1]) // pixel + 1
            pixels = np.array(index_map(begin, end - begin, window.size // pixel, window.sides), np.int64)
            found[part] = (pixels[outside // pixel - begin] * pixel + outside % pixel) * stride
    return found


def _inside(positions: range, size: int) -> Range:
    """Of ascending positions, the first that is a sample and the first after."""
    begin, step, count = positions.start, positions.step, len(positions)
    first = min(max(0, -(begin // step)), count)
    return first, max(first, min(count, -((begin - size) // step)))


def _all(span: Range | Offsets) -> Offsets:
    return np.arange(*span, dtype=np.int64) if isinstance(span, tuple) else span


def _phases(span: Range | Offsets, stride: int) -> list[range]:
    """Every ``stride``-th position, from each of the first ones on; such positions are equally far apart."""
    if isinstance(span, tuple):
        return [range(begin, span[1], stride) for begin in range(span[0], min(span[0] + stride, span[1]))]
    if len(span) <= stride:
        return [range(position, position + 1) for position in span.tolist()]
    step = int(span[stride] - span[0])
    return [range(begin, int(span[-1]) + 1, step) for begin in span[:stride].tolist()]


def _rows(windows: Sequence[Window], positions: Sequence[Offsets], strides: Sequence[int]) -> Offsets:
    """The same for all rows, axes before the last taken together; of several marks the last axis's counts."""
    rows = np.zeros(1, np.int64)
    for window, along, stride in zip(windows, positions, strides, strict=True):
        there, here = rows[:, None], _sources(window, along, stride)[None, :]
        outside = np.where(here <= pack.FILL, here, there)
        rows = np.where((here <= pack.FILL) | (there <= pack.FILL), outside, there + here).ravel()
    return rows


def places(
    windows: Sequence[Window], positions: Sequence[Offsets], strides: Sequence[int], pixel: int = 1
) -> tuple[Offsets, Offsets]:  # fmt: skip
    """Where the samples of all rows lie, and those of all columns, in bytes; marks where there are none."""
    columns = _sources(windows[-1], positions[-1], strides[-1], pixel)
    return _rows(windows[:-1], positions[:-1], strides[:-1]), columns


@dataclass(frozen=True, slots=True)
class Source:
    """The input as memory has it.

    Attributes
    ----------
    dtype : str
        Its type; a complex number counts as two of its parts'.
    strides : tuple of int
        Bytes from sample to sample along each convolved axis.
    item : int
        Bytes of one part.
    pixel : int
        Numbers side by side along the last axis that make one sample of it.
    """

    dtype: str
    strides: tuple[int, ...]
    item: int
    pixel: int = 1


def packing(
    tables: Tables, windows: Sequence[Window], spans: Sequence[Range | Offsets], source: Source, packed: Packed,
    target: str, fill: complex, at: Offsets, planes: int = 1, x_plane: int = 0, to_plane: int = 0,
) -> list[Steps]:  # fmt: skip
    """Steps that lay positions of the extended input down as ``packed``, for every start ``at``.

    ``spans`` gives for each axis the first position and one past the last, or the positions that `touched` gives.
    ``target`` is the type of what is laid down. ``planes`` tiles are done by each step, ``x_plane`` bytes apart in the
    input and ``to_plane`` in scratch memory.
    """
    rows = tables.add(_rows(windows[:-1], [_all(span) for span in spans[:-1]], source.strides[:-1]))
    row_count, window, x_step = math.prod(packed.shape[:-1]), windows[-1], source.strides[-1]
    groups: list[Steps] = []
    for part in range(packed.parts):
        number = fill.imag if part else fill.real
        with np.errstate(over="ignore"):  # what is too large for the type is infinite
            held = np.array([number], target)
        value = np.frombuffer(held.tobytes().ljust(8, b"\0"), np.int64)
        for phase, along in enumerate(_phases(spans[-1], packed.stride)):
            first, last = _inside(along, window.size)
            left, right = (
                tables.add(_sources(window, np.array(outside, np.int64), x_step, source.pixel))
                for outside in (along[:first], along[last:])
            )
            step = along.step * x_step if len(along) > 1 else source.item
            apart = step // source.item if step in [n * source.item for n in (-1, 1, 2)] else 0
            kernel = pack.Pack(source.dtype, target, apart)
            groups.append(
                pack.ARGUMENTS.steps(
                    address_of(kernel), len(at), to=(SCRATCH, packed.place + part * packed.part + phase * packed.phase),
                    x=(X, at + part * source.item), rows_at=(TABLES, rows), left_at=(TABLES, left),
                    right_at=(TABLES, right), fill=(TABLES, tables.add(value)), planes=planes, to_plane=to_plane,
                    x_plane=x_plane, rows=row_count, to_row=packed.row, x_step=step, left=first,
                    begin=along[first] * x_step if last > first else 0, middle=last - first, right=len(along) - last,
                )
            )  # fmt: skip
    return groups


def unpacking(
    source: str, target: str, sums: Sequence[int], sums_row: int, columns: int, rows: int, out_row: int, out_step: int,
    at: Offsets, planes: int = 1, out_plane: int = 0, sums_plane: int = 0,
) -> Steps:  # fmt: skip
    """Steps that store sums of type ``source``, one plane or a real and an imaginary one, as ``target``.

    ``sums`` says where the planes lie in scratch memory, ``at`` where the tile's first output lies.
    """
    neighbours = out_step == item_bytes(target) * len(sums)
    layout = ("contiguous", "complex")[len(sums) - 1] if neighbours else ("strided", "strided-complex")[len(sums) - 1]
    return unpack.ARGUMENTS.steps(
        address_of(unpack.Unpack(source, target, layout)), len(at), out=(OUT, at), sums=(SCRATCH, sums[0]),
        imaginary=(SCRATCH, sums[-1]), planes=planes, out_plane=out_plane, sums_plane=sums_plane, rows=rows,
        out_row=out_row, sums_row=sums_row, columns=columns, out_step=out_step,
    )  # fmt: skip
