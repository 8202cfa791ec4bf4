"""Rows become columns: a matrix of contiguous rows, laid down with its columns as rows, in squares of registers."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("to x", "planes to_plane x_plane rows columns width to_row x_row")
"""``rows`` and ``columns`` are the source's; ``width`` is how many numbers each row of the result has: those beyond
``rows`` become zero. Strides are in bytes."""


BLOCK = 16
"""Bytes that all vectors are made of."""


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
        """A whole square, read in blocks of 16 bytes: what lies in the same block of all rows needs no exchange."""
        w, rows, width = self.w, [x], BLOCK // self.item
        for _ in range(self.lanes - 1):
            rows.append(w.offset(rows[-1], self.a["x_row"]))
        for block in range(self.lanes // width):
            held = [self.blocks([w.offset(row, block * BLOCK) for row in rows[n::width]]) for n in range(width)]
            for row in blocks_exchanged(w, self.kind, held):
                w.store(self.kind, row, to)
                to = w.offset(to, self.a["to_row"])

    def blocks(self, places: list[str]) -> str:
        """One block from each place, side by side."""
        w, width = self.w, BLOCK // self.item
        parts = [w.load(Vector(width, self.kind.scalar), place) for place in places]
        while len(parts) > 1:
            kind = Vector(width, self.kind.scalar)
            parts = [w.shuffle(kind, *pair, range(2 * width)) for pair in zip(parts[::2], parts[1::2], strict=True)]
            width *= 2
        return parts[0]

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


def blocks_exchanged(w: Writer, kind: Vector, rows: list[str]) -> list[str]:
    """Squares of as many columns as there are rows, side by side in vectors, each turned in its place."""
    count = len(rows)
    low = [block + n // 2 + kind.lanes * (n % 2) for block in range(0, kind.lanes, count) for n in range(count)]
    high = [lane + count // 2 for lane in low]
    for _ in range(count.bit_length() - 1):
        half = count // 2
        pairs = [(rows[n], rows[n + half], picked) for n in range(half) for picked in (low, high)]
        rows = [w.shuffle(kind, *pair) for pair in pairs]
    return rows


def exchanged(w: Writer, kind: Vector, rows: list[str]) -> list[str]:
    """The columns of a square: pairs of rows half the square apart are interleaved, as often as 2 divides it."""
    half = kind.lanes // 2
    low = [n // 2 + kind.lanes * (n % 2) for n in range(kind.lanes)]
    high = [lane + half for lane in low]
    for _ in range(kind.lanes.bit_length() - 1):
        pairs = [(rows[n], rows[n + half], picked) for n in range(half) for picked in (low, high)]
        rows = [w.shuffle(kind, *pair) for pair in pairs]
    return rows
