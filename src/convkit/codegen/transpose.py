"""Rows become columns: a matrix of contiguous rows, laid down with its columns as rows, in squares of registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.epilogue import NO_ENDING, Ending, ended
from convkit.codegen.numbers import Element, Stored, named, widen
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("to x", "planes to_plane x_plane rows columns width to_row x_row")
"""``rows`` and ``columns`` are the source's; ``width`` is how many numbers each row of the result has: those beyond
``rows`` become zero. Strides are in bytes."""

ENDING_ARGUMENTS = Arguments.of("to x bias add", "planes to_plane x_plane rows columns width to_row x_row")
"""The same with an ending: ``add`` lies as the result does, number by number; ``bias`` has a number for each ``row`` of
it, or for each ``column``."""

PLACED_ARGUMENTS = Arguments.of("to x to_at", "planes to_plane x_plane rows columns width x_row")
"""The same with a table of how far, in bytes, each row of the result lies from ``to``; it has as many entries more as a
vector has lanes."""

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
    ending : Ending
        What becomes of them before they are stored; nothing if their places are in a table.
    places : {"even", "table"}
        Where the rows of the result are.
    source, stored : str
        The types of what is read and of the result, if they are others.
    """

    number: str
    ending: Ending = NO_ENDING
    places: Literal["even", "table"] = "even"
    source: str = ""
    stored: str = ""

    @property
    def name(self) -> str:
        """``transpose_<number>_<places>_<ending>_<source>_to_<stored>``."""
        types = f"{self.source}_to_{self.stored}" if self.source or self.stored else ""
        return named(f"transpose_{self.number}_{self.places}_{self.ending.name}", types)

    @property
    def arguments(self) -> Arguments:
        """What its steps hold."""
        if self.places == "table":
            return PLACED_ARGUMENTS
        return ARGUMENTS if self.ending.empty else ENDING_ARGUMENTS

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    def __init__(self, transpose: Transpose, target: Target) -> None:
        self.name, self.w, self.ending, self.arguments = transpose.name, Writer(), transpose.ending, transpose.arguments
        self.placed = transpose.places == "table"
        self.element = Element(transpose.number)
        number = transpose.number
        self.samples, self.result = Stored(number, transpose.source), Stored(number, transpose.stored)
        self.other = Stored(number, transpose.ending.added)
        self.item, self.lanes = self.element.bytes, target.vector_bytes // self.element.bytes
        self.kind = Vector(self.lanes, self.element.stored)

    def module(self) -> str:
        w = self.w
        self.a = a = self.arguments.read(w)
        self.walks = ("to", "add") if self.ending.add else ("to",)
        plane = {name: self.walked(name, a["to_plane"]) for name in self.walks}
        self.row = {name: self.walked(name, a["to_row"]) for name in self.walks if not self.placed}
        planes = w.loop("plane", a["planes"], {name: ("ptr", a[name]) for name in (*self.walks, "x")})
        rows = w.loop("row", a["width"], step=self.lanes)
        items = {"to": self.result.bytes, "add": self.other.bytes}
        at = {name: w.offset(planes[name], w.multiply(rows.index, items[name])) for name in self.walks}
        if self.ending.bias:
            column = self.ending.bias == "column"
            at["bias"] = w.offset(a["bias"], w.multiply(rows.index, self.item)) if column else a["bias"]
        x = w.offset(planes["x"], w.multiply(rows.index, a["x_row"]))
        have, want = w.subtract(a["rows"], rows.index), w.subtract(a["width"], rows.index)
        self.columns(at, x, have, want)
        rows.close()
        planes.close({
            **{name: w.offset(planes[name], plane[name]) for name in self.walks},
            "x": w.offset(planes["x"], a["x_plane"]),
        })  # fmt: skip
        w.line("ret void")
        return w.function(self.name, SIGNATURE)

    def walked(self, name: str, by: str) -> str:
        """How far an array of numbers of other bytes moves where the result moves so far."""
        if name == "to" or self.other.bytes == self.result.bytes:
            return by
        return self.w.value(f"sdiv exact i64 {self.w.multiply(by, self.other.bytes)}, {self.result.bytes}")

    def columns(self, at: dict[str, str], x: str, have: str, want: str) -> None:
        """All squares of as many rows as a vector has lanes: ``have`` of them are there, ``want`` are stored."""
        w, a = self.w, self.a
        loop = w.loop("column", a["columns"], step=self.lanes)
        left = w.subtract(a["columns"], loop.index)
        if self.placed:
            at = {**at, "places": w.element(a["to_at"], loop.index, "i64")}
        else:
            at = {**at, **{name: w.offset(at[name], w.multiply(loop.index, self.row[name])) for name in self.walks}}
        if self.ending.bias == "row":
            at["bias"] = w.offset(at["bias"], w.multiply(loop.index, self.item))
        x = w.offset(x, w.multiply(loop.index, self.samples.bytes))
        rows_whole = w.value(f"icmp sge i64 {have}, {self.lanes}")
        columns_whole = w.value(f"icmp sge i64 {left}, {self.lanes}")
        w.when(
            rows_whole,
            lambda: w.when(columns_whole, lambda: self.square(at, x), lambda: self.narrow(at, x, left)),
            lambda: self.edge(at, x, have, want, left),
        )
        loop.close()

    def square(self, at: dict[str, str], x: str) -> None:
        """A whole square, read in blocks of 16 bytes: what lies in the same block of all rows needs no exchange."""
        w, rows, width = self.w, [x], BLOCK // self.item
        for _ in range(self.lanes - 1):
            rows.append(w.offset(rows[-1], self.a["x_row"]))
        found: list[str] = []
        for block in range(self.lanes // width):
            places = [w.offset(row, block * width * self.samples.bytes) for row in rows]
            held = [self.blocks(places[n::width]) for n in range(width)]
            found += blocks_exchanged(w, self.kind, held)
        self.store(at, found, [None] * self.lanes)

    def blocks(self, places: list[str]) -> str:
        """One block from each place, side by side."""
        w, width = self.w, BLOCK // self.item
        parts = [w.load(Vector(width, self.samples.scalar), place) for place in places]
        while len(parts) > 1:
            kind = Vector(width, self.samples.scalar)
            parts = [w.shuffle(kind, *pair, range(2 * width)) for pair in zip(parts[::2], parts[1::2], strict=True)]
            width *= 2
        return widen(w, parts[0], self.lanes, self.samples.element, self.element)

    def narrow(self, at: dict[str, str], x: str, left: str) -> None:
        """A square without some of its columns, for instance the elements of a small kernel."""
        w, found = self.w, []
        mask = w.lanes_below(Vector(self.lanes, "i32"), left)
        for _ in range(self.lanes):
            found.append(self.samples.load(w, self.lanes, x, mask))
            x = w.offset(x, self.a["x_row"])
        every, none = f"<{', '.join(['i1 true'] * self.lanes)}>", "zeroinitializer"
        there = [w.value(f"icmp sgt i64 {left}, {n}") for n in range(self.lanes)]
        masks = [w.value(f"select i1 {held}, {self.kind.mask} {every}, {self.kind.mask} {none}") for held in there]
        self.store(at, exchanged(w, self.kind, found), list(masks), left)

    def edge(self, at: dict[str, str], x: str, have: str, want: str, left: str) -> None:
        """A square of which some rows or columns are missing: those are neither read nor written."""
        w, found = self.w, []
        for n in range(self.lanes):
            found.append(self.samples.load(w, self.lanes, x, self.some(n, have, left)))
            x = w.offset_below(x, self.a["x_row"], n + 1, have)
        masks = [self.some(n, left, want) for n in range(self.lanes)]
        self.store(at, exchanged(w, self.kind, found), list(masks), left)

    def store(self, at: dict[str, str], found: list[str], masks: list[str | None], left: str | None = None) -> None:
        """The columns of a square, each with its end: all of them, or those that are ``left``."""
        w, held = self.w, at
        for n, (row, mask) in enumerate(zip(found, masks, strict=True)):
            if self.placed:
                place = w.load_scalar("i64", w.element(at["places"], n, "i64"))
                self.result.store(w, self.lanes, row, w.offset(at["to"], place), mask)
                continue
            add = self.other.load(w, self.lanes, at["add"], mask) if self.ending.add else None
            value = ended(w, self.kind, self.ending, row, self.bias(held, n, mask), add)
            self.result.store(w, self.lanes, value, at["to"], mask)
            for name in self.walks:
                step = self.row[name]
                place = w.offset(at[name], step) if left is None else w.offset_below(at[name], step, n + 1, left)
                at = {**at, name: place}

    def bias(self, at: dict[str, str], n: int, mask: str | None) -> str | None:
        """The bias of the ``n``-th row of a square."""
        w = self.w
        if not self.ending.bias:
            return None
        if self.ending.bias == "column":
            return w.load(self.kind, at["bias"], mask)
        place = w.element(at["bias"], n, self.kind.scalar)
        if mask is None:
            return w.splat(self.kind, place)
        first = f"<{', '.join(['i1 true'] + ['i1 false'] * (self.lanes - 1))}>"
        any_of_it = w.value(f"extractelement {self.kind.mask} {mask}, i64 0")
        there = w.value(f"select i1 {any_of_it}, {self.kind.mask} {first}, {self.kind.mask} zeroinitializer")
        alone = w.load(self.kind, place, there)
        return w.shuffle(self.kind, alone, alone, [0] * self.lanes)

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
