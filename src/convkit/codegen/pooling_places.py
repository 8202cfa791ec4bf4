"""Pooling by the largest for a network that learns: where it stood in its window is kept, a byte an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "to from places rows_at columns_at taps_at", "planes to_plane from_plane rows row_step columns column_step channels"
)  # fmt: skip
"""Pixels of ``channels`` numbers, one after another. ``to``: what is written, ``planes`` of ``rows`` of ``columns`` of
them; ``from``: what is read; ``places``: those of the outputs. Planes are counted in numbers. ``rows_at`` and
``columns_at``: for each row and column written how many are met in ``from``, and of each how many numbers away it is
and which number of the window meets it. ``taps_at``: how many numbers each of a window is away from its first, for the
gradient of single numbers; its rows and columns are those of ``from``."""

AT_ONCE = 4
"""Vectors of channels that are done together: tables are read once for all of them."""

MOST = 256
"""Samples of a window that a byte tells apart."""


@dataclass(frozen=True, slots=True)
class LargestPlaces:
    """``out[i] = max_j x[i*stride + j]``, and that ``j``; or ``dx[n] = sum of g[i] where i*stride + j_i = n``.

    ::

        for plane: for row: for column: for each vectors of channels:
            for each sample of the window: remember the largest, and its number
            (or) for each window that the sample is in: add what is handed back where its number is the one kept

    Of equals the first is taken, a NaN before all, the last of them, as torch does. Every number is written once. The
    gradient of single numbers is zero first, and each one handed back is added where it belongs.

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    does : {"largest", "gradient"}
        Which way.
    channels : {"many", "one"}
        Whether channels are vectors, or pixels are single numbers.
    """

    number: str
    does: Literal["largest", "gradient"]
    channels: Literal["many", "one"] = "many"

    @property
    def name(self) -> str:
        """``largest_places_<number>_<way>_<channels>``."""
        return f"largest_places_{self.number}_{self.does}_{self.channels}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, kernel: LargestPlaces, target: Target) -> None:
        self.k, self.w = kernel, Writer()
        element = Element(kernel.number)
        self.scalar = element.stored
        lanes = target.vector_bytes // element.bytes if kernel.channels == "many" else 1
        self.kind, self.bytes = Vector(lanes, self.scalar), Vector(lanes, "i8")
        self.forward = kernel.does == "largest"

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        self.outer = "to" if self.forward else "from"  # what places lie like
        if self.k.channels == "one" and not self.forward:
            return self.scattered()
        moving = {name: ("ptr", a[name]) for name in ("to", "from", "places")}
        planes = w.loop("plane", a["planes"], moving)
        rows = w.loop("row", a["rows"], {"table": ("ptr", a["rows_at"]), "to": ("i64", "0")})
        columns = w.loop("column", a["columns"], {"table": ("ptr", a["columns_at"]), "to": ("i64", rows["to"])})
        self.pixel(planes["to"], planes["from"], planes["places"], rows["table"], columns["table"], columns["to"])
        columns.close(
            {"table": w.offset(columns["table"], a["column_step"]), "to": w.add(columns["to"], a["channels"])}
        )
        rows.close({"table": w.offset(rows["table"], a["row_step"]), "to": columns["to"]})
        planes.close(
            {
                "to": w.element(planes["to"], a["to_plane"], self.scalar),
                "from": w.element(planes["from"], a["from_plane"], self.scalar),
                "places": w.offset(planes["places"], a[f"{self.outer}_plane"]),
            }
        )
        w.line("ret void")
        return w.function(self.k.name, SIGNATURE)

    def scattered(self) -> str:
        """The gradient of single numbers, plane by plane."""
        w, a = self.w, self.a
        moving = {name: ("ptr", a[name]) for name in ("to", "from", "places")}
        planes = w.loop("plane", a["planes"], moving)
        zeros = w.loop("zero", a["to_plane"])
        w.line(f"store {self.scalar} 0.0, ptr {w.element(planes['to'], zeros.index, self.scalar)}, align 1")
        zeros.close()
        rows = w.loop("row", a["rows"], {"table": ("ptr", a["rows_at"]), "from": ("i64", "0")})
        row_at, _ = self.entry(rows["table"])
        columns = w.loop("column", a["columns"], {"table": ("ptr", a["columns_at"])})
        column_at, _ = self.entry(columns["table"])
        at = w.add(rows["from"], columns.index)
        number = w.value(f"zext i8 {w.load_scalar('i8', w.offset(planes['places'], at))} to i64")
        tap = w.load_scalar("i64", w.element(a["taps_at"], number, "i64"))
        place = w.element(planes["to"], w.add(w.add(row_at, column_at), tap), self.scalar)
        given = w.value(f"load {self.scalar}, ptr {w.element(planes['from'], at, self.scalar)}, align 1")
        held = w.value(f"load {self.scalar}, ptr {place}, align 1")
        total = w.value(f"fadd {self.scalar} {held}, {given}")
        w.line(f"store {self.scalar} {total}, ptr {place}, align 1")
        columns.close({"table": w.offset(columns["table"], a["column_step"])})
        rows.close({"table": w.offset(rows["table"], a["row_step"]), "from": w.add(rows["from"], a["columns"])})
        planes.close(
            {
                "to": w.element(planes["to"], a["to_plane"], self.scalar),
                "from": w.element(planes["from"], a["from_plane"], self.scalar),
                "places": w.offset(planes["places"], a["from_plane"]),
            }
        )
        w.line("ret void")
        return w.function(self.k.name, SIGNATURE)

    def pixel(self, to: str, source: str, places: str, row: str, column: str, at: str) -> None:
        """All channels of one pixel: several vectors, one vector, what is left of one."""
        w, lanes, channels = self.w, self.kind.lanes, self.a["channels"]

        def some(channel: str, vectors: int, mask: str | None) -> None:
            self.channels(to, source, places, row, column, w.add(at, channel), channel, vectors, mask)

        if lanes == 1:
            some("0", 1, None)
            return
        wide = w.loop("wide", w.subtract(channels, AT_ONCE * lanes - 1), step=AT_ONCE * lanes)
        some(wide.index, AT_ONCE, None)
        wide.close()
        left = w.subtract(channels, wide.index)
        one = w.loop("one", w.subtract(left, lanes - 1), step=lanes)
        some(w.add(wide.index, one.index), 1, None)
        one.close()
        rest = w.subtract(left, one.index)
        last, mask = w.add(wide.index, one.index), w.lanes_below(self.kind, rest)
        w.when(w.value(f"icmp sgt i64 {rest}, 0"), lambda: some(last, 1, mask))

    def channels(
        self, to: str, source: str, places: str, row: str, column: str, at: str, channel: str, vectors: int,
        mask: str | None,
    ) -> None:  # fmt: skip
        """Some vectors of channels of one pixel, over all that it meets."""
        w, kind, bytes_ = self.w, self.kind, self.bytes
        state: dict[str, tuple[str, str]] = {}
        if self.forward:
            lowest = f"<{', '.join([f'{self.scalar} 0xFFF0000000000000'] * kind.lanes)}>"
            both = w.add(
                w.load_scalar("i64", w.element(row, 2, "i64")), w.load_scalar("i64", w.element(column, 2, "i64"))
            )
            first = w.fill(bytes_, w.value(f"trunc i64 {both} to i8"))
            for n in range(vectors):
                state |= {f"best{n}": (str(kind), lowest), f"where{n}": (str(bytes_), first)}
        else:
            state = {f"sum{n}": (str(kind), "zeroinitializer") for n in range(vectors)}
        rows = w.loop("met_row", w.load_scalar("i64", row), {"entry": ("ptr", row), **state})
        held = {name: (type_, rows[name]) for name, (type_, _) in state.items()}
        row_at, row_number = self.entry(rows["entry"])
        columns = w.loop("met", w.load_scalar("i64", column), {"entry": ("ptr", column), **held})
        column_at, column_number = self.entry(columns["entry"])
        here = w.add(w.add(row_at, column_at), channel)
        number = w.fill(bytes_, w.value(f"trunc i64 {w.add(row_number, column_number)} to i8"))
        found: dict[str, str] = {}
        for n in range(vectors):
            place = w.add(here, n * kind.lanes) if n else here
            values = w.load(kind, w.element(source, place, self.scalar), mask)
            if self.forward:
                best, where = columns[f"best{n}"], columns[f"where{n}"]
                above = w.value(f"fcmp ogt {kind} {values}, {best}")
                better = w.value(f"or {kind.mask} {above}, {w.value(f'fcmp uno {kind} {values}, {values}')}")
                found[f"best{n}"] = w.value(f"select {kind.mask} {better}, {kind} {values}, {kind} {best}")
                found[f"where{n}"] = w.value(f"select {kind.mask} {better}, {bytes_} {number}, {bytes_} {where}")
            else:
                kept = w.load(bytes_, w.offset(places, place), mask)
                mine = w.value(f"icmp eq {bytes_} {kept}, {number}")
                added = w.value(f"fadd {kind} {columns[f'sum{n}']}, {values}")
                found[f"sum{n}"] = w.value(f"select {kind.mask} {mine}, {kind} {added}, {kind} {columns[f'sum{n}']}")
        columns.close({"entry": w.element(columns["entry"], 2, "i64"), **found})
        rows.close({"entry": w.element(rows["entry"], 2, "i64"), **{name: columns[name] for name in state}})
        for n in range(vectors):
            place = w.add(at, n * kind.lanes) if n else at
            w.store(kind, rows[f"best{n}" if self.forward else f"sum{n}"], w.element(to, place, self.scalar), mask)
            if self.forward:
                w.store(bytes_, rows[f"where{n}"], w.offset(places, place), mask)

    def entry(self, pointer: str) -> tuple[str, str]:
        """How many numbers away something is, and its number in the window."""
        w = self.w
        return w.load_scalar("i64", w.element(pointer, 1, "i64")), w.load_scalar("i64", w.element(pointer, 2, "i64"))
