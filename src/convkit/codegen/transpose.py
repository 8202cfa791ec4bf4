"""Rows become columns: a matrix of contiguous rows, laid down with its columns as rows, in squares of registers."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("to x", "planes to_plane x_plane rows columns width to_row x_row")
"""``rows`` and ``columns`` are the source's; ``width`` is how many numbers each row of the result has: those beyond
``rows`` become zero. Strides are in bytes."""


@dataclass(frozen=True, slots=True)
class Transpose:
    """``to[p, j, i] = x[p, i, j]`` for ``i < rows``, zero for the other ``i < width``.

    ::

        for plane: for `lanes` rows: for `lanes` columns: load a row each; exchange halves, log2(lanes) times; store

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers, which may stand for any other of as many bytes.
    """

    number: str

    @property
    def name(self) -> str:
        """``transpose_<number>``."""
        return f"transpose_{self.number}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    def __init__(self, transpose: Transpose, target: Target) -> None:
        self.name, self.w = transpose.name, Writer()
        element = Element(transpose.number)
        self.item, self.lanes = element.bytes, target.vector_bytes // element.bytes
        self.kind = Vector(self.lanes, element.stored)

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        planes = w.loop("plane", a["planes"], {"to": ("ptr", a["to"]), "x": ("ptr", a["x"])})
        rows = w.loop("row", a["width"], step=self.lanes)
        to = w.offset(planes["to"], w.multiply(rows.index, self.item))
        x = w.offset(planes["x"], w.multiply(rows.index, a["x_row"]))
        have, want = w.subtract(a["rows"], rows.index), w.subtract(a["width"], rows.index)
        self.columns(to, x, have, want)
        rows.close()
        planes.close({"to": w.offset(planes["to"], a["to_plane"]), "x": w.offset(planes["x"], a["x_plane"])})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)

    def columns(self, to: str, x: str, have: str, want: str) -> None:
        """All squares of as many rows as a vector has lanes: ``have`` of them are there, ``want`` are stored."""
        w, a = self.w, self.a
        loop = w.loop("column", a["columns"], step=self.lanes)
        left = w.subtract(a["columns"], loop.index)
        to = w.offset(to, w.multiply(loop.index, a["to_row"]))
        x = w.offset(x, w.multiply(loop.index, self.item))
        whole = w.value(f"icmp sge i64 {w.smallest(have, left)}, {self.lanes}")
        w.when(whole, lambda: self.square(to, x), lambda: self.edge(to, x, have, want, left))
        loop.close()

    def square(self, to: str, x: str) -> None:
        """A whole square."""
        w, found = self.w, []
        for _ in range(self.lanes):
            found.append(w.load(self.kind, x))
            x = w.offset(x, self.a["x_row"])
        for row in exchanged(w, self.kind, found):
            w.store(self.kind, row, to)
            to = w.offset(to, self.a["to_row"])

    def edge(self, to: str, x: str, have: str, want: str, left: str) -> None:
        """A square of which some rows or columns are missing: those are neither read nor written."""
        w, found = self.w, []
        for n in range(self.lanes):
            found.append(w.load(self.kind, x, self.some(n, have, left)))
            x = w.offset(x, self.a["x_row"])
        for n, row in enumerate(exchanged(w, self.kind, found)):
            w.store(self.kind, row, to, self.some(n, left, want))
            to = w.offset(to, self.a["to_row"])

    def some(self, n: int, count: str, lanes: str) -> str:
        """A mask of the first ``lanes`` lanes if there is an ``n``-th of ``count`` rows, of none otherwise."""
        there = self.w.value(f"icmp sgt i64 {count}, {n}")
        held = self.w.value(f"select i1 {there}, i64 {lanes}, i64 0")
        return self.w.lanes_below(Vector(self.lanes, "i32"), held)


def exchanged(w: Writer, kind: Vector, rows: list[str]) -> list[str]:
    """The columns of a square.

    Squares of 16 bytes are turned around where they stand, then moved as wholes: shuffles within 16 bytes, and those of
    as many bytes, leave their operands as they were and need no table of lanes.
    """
    inner = min(kind.lanes, 16 // ITEM_BYTES[kind.scalar])
    turned = [_turned_within(w, kind, rows[n : n + inner], inner) for n in range(0, kind.lanes, inner)]
    moved = [_blocks_moved(w, kind, [square[n] for square in turned], inner) for n in range(inner)]
    return [moved[n][block] for block in range(kind.lanes // inner) for n in range(inner)]


def _turned_within(w: Writer, kind: Vector, rows: list[str], inner: int) -> list[str]:
    """Rows as many as ``inner``: in each part of so many lanes they become columns."""
    half = inner // 2
    picked = [
        [
            part + side * half + n // 2 + kind.lanes * (n % 2)
            for part in range(0, kind.lanes, inner)
            for n in range(inner)
        ]
        for side in (0, 1)
    ]
    for _ in range(inner.bit_length() - 1):
        rows = [w.shuffle(kind, rows[n], rows[n + half], lanes) for n in range(half) for lanes in picked]
    return rows


def _blocks_moved(w: Writer, kind: Vector, rows: list[str], inner: int) -> list[str]:
    """A square of blocks of ``inner`` lanes each: rows of blocks become columns."""
    count = len(rows)
    if count == 1:
        return rows

    def shuffled(a: str, b: str, blocks: list[int]) -> str:
        return w.shuffle(kind, a, b, [block * inner + n for block in blocks for n in range(inner)])

    if count == 2:
        return [shuffled(rows[0], rows[1], [side, side + 2]) for side in (0, 1)]
    halves = [[shuffled(rows[n], rows[n + 1], [k, k + 1, k + 4, k + 5]) for k in (0, 2)] for n in (0, 2)]
    return [shuffled(halves[0][n], halves[1][n], [k, k + 2, k + 4, k + 6]) for n in (0, 1) for k in (0, 1)]
