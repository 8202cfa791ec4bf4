"""Steps that bring tiles of the boundary-extended input into scratch memory, and sums out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

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


@lru_cache(maxsize=4096)
def _sources(window: Window, span: Range, stride: int) -> Offsets:
    """Where the samples at the positions of a span lie along one axis, in bytes; marks where there are none."""
    lo, hi = span
    inside = min(max(lo, 0), hi), max(min(hi, window.size), min(max(lo, 0), hi))
    found = np.arange(lo, hi, dtype=np.int64) * stride
    for (start, stop), name in (((lo, inside[0]), window.sides[0]), ((inside[1], hi), window.sides[1])):
        if stop > start:
            if name in ("zero", "constant") or window.size == 0:
                found[start - lo : stop - lo] = pack.FILL if name == "constant" else pack.ZEROS
            else:
                found[start - lo : stop - lo] = index_map(start, stop - start, window.size, window.sides)
                found[start - lo : stop - lo] *= stride
    found.setflags(write=False)
    return found


def _rows(windows: Sequence[Window], spans: Sequence[Range], strides: Sequence[int]) -> Offsets:
    """The same for all rows, axes before the last taken together; of several marks the last axis's counts."""
    rows = np.zeros(1, np.int64)
    for window, span, stride in zip(windows, spans, strides, strict=True):
        there, here = rows[:, None], _sources(window, span, stride)[None, :]
        outside = np.where(here <= pack.FILL, here, there)
        rows = np.where((here <= pack.FILL) | (there <= pack.FILL), outside, there + here).ravel()
    return rows


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
    """

    dtype: str
    strides: tuple[int, ...]
    item: int


def packing(
    tables: Tables, windows: Sequence[Window], spans: Sequence[Range], source: Source, packed: Packed, target: str,
    fill: complex, at: Offsets, planes: int = 1, x_plane: int = 0, to_plane: int = 0,
) -> list[Steps]:  # fmt: skip
    """Steps that lay the positions ``spans`` of the extended input down as ``packed``, for every start ``at``.

    ``target`` is the type of what is laid down. ``planes`` tiles are done by each step, ``x_plane`` bytes apart in the
    input and ``to_plane`` in scratch memory.
    """
    rows = tables.add(_rows(windows[:-1], spans[:-1], source.strides[:-1]))
    row_count = math.prod(packed.shape[:-1])
    columns = _sources(windows[-1], spans[-1], source.strides[-1])
    groups: list[Steps] = []
    for part in range(packed.parts):
        value = np.zeros(1, np.int64)
        number = fill.imag if part else (fill.real if isinstance(fill, complex) else fill)
        value[:] = np.frombuffer(np.array([number], target).tobytes().ljust(8, b"\0"), np.int64)
        for phase in range(min(packed.stride, packed.shape[-1])):
            mine = columns[phase :: packed.stride]
            inside = _inside(windows[-1], spans[-1], phase, packed.stride)
            step = source.strides[-1] * packed.stride
            apart = step // source.item if step in (source.item, 2 * source.item) else 0
            kernel = pack.Pack(source.dtype, target, apart)
            groups.append(
                pack.ARGUMENTS.steps(
                    address_of(kernel), len(at), to=(SCRATCH, packed.place + part * packed.part + phase * packed.phase),
                    x=(X, at + part * source.item), rows_at=(TABLES, rows),
                    left_at=(TABLES, tables.add(mine[: inside[0]])), right_at=(TABLES, tables.add(mine[inside[1] :])),
                    fill=(TABLES, tables.add(value)), planes=planes, to_plane=to_plane, x_plane=x_plane,
                    rows=row_count, to_row=packed.row, x_step=step, left=inside[0],
                    begin=int(mine[inside[0]]) if inside[1] > inside[0] else 0, middle=inside[1] - inside[0],
                    right=len(mine) - inside[1],
                )
            )  # fmt: skip
    return groups


def _inside(window: Window, span: Range, phase: int, stride: int) -> Range:
    """Of every ``stride``-th position of a span, from ``phase`` on, the first that is a sample and the first after."""
    lo = span[0] + phase
    count = len(range(lo, span[1], stride))
    first = min(max(0, -(lo // stride)), count)
    return first, max(first, min(count, -((lo - window.size) // stride)))


def unpacking(
    source: str, target: str, sums: Sequence[int], sums_row: int, columns: int, rows: int, out_row: int, out_step: int,
    at: Offsets, planes: int = 1, out_plane: int = 0, sums_plane: int = 0,
) -> Steps:  # fmt: skip
    """Steps that store sums of type ``source``, one plane or a real and an imaginary one, as ``target``.

    ``sums`` says where the planes lie in scratch memory, ``at`` where the tile's first output lies.
    """
    item = np.dtype(target).itemsize if target != "bfloat16" else 2
    layout = "complex" if len(sums) == 2 else "contiguous" if out_step == item else "strided"
    return unpack.ARGUMENTS.steps(
        address_of(unpack.Unpack(source, target, layout)), len(at), out=(OUT, at), sums=(SCRATCH, sums[0]),
        imaginary=(SCRATCH, sums[-1]), planes=planes, out_plane=out_plane, sums_plane=sums_plane, rows=rows,
        out_row=out_row, sums_row=sums_row, columns=columns, out_step=out_step,
    )  # fmt: skip
