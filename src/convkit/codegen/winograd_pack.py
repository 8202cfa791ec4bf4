"""Tiles of samples on their way in: laid down pixel by pixel, a vector of channels each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element, Stored, named, widen
from convkit.codegen.pack import FILL
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.transpose import exchanged

Neighbours = Literal["columns", "channels", "none"]
"""What lies side by side in an array of images."""

ARGUMENTS = Arguments.of(
    "to x rows_at left_at right_at fill",
    "channels to_block x_channel rows to_row left begin middle right",
)
"""``rows_at``: for each row its offset from ``x``, or a mark of `pack`. ``left_at``, ``right_at``: for each column
before and after the middle its offset from the row, or a mark. ``begin``: where the middle's first column lies in the
row. ``fill``: the number that marks stand for. Offsets and strides are in bytes; sizes are counts."""


def present(w: Writer, kind: Vector, count: str, n: int, lanes: str | None) -> str | None:
    """The mask ``lanes`` if there is an ``n``-th of ``count`` channels, an empty one otherwise; None for None."""
    if lanes is None:
        return None
    there = w.value(f"icmp sgt i64 {count}, {n}")
    return w.value(f"select i1 {there}, {kind.mask} {lanes}, {kind.mask} zeroinitializer")


@dataclass(frozen=True, slots=True)
class WinogradPack:
    """``to[b, r, i, l] = x[rows_at[r] + columns_at[i] + (b*lanes + l)*x_channel]``.

    ::

        for block of channels: for row: columns before the middle by table; the middle; columns after it by table

    What the last block holds for channels that are not there is not defined.

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    neighbours : {"columns", "channels", "none"}
        What lies side by side in the input. Columns of the middle are turned around, a square of registers at a time;
        channels are vectors already, and others are gathered: these have no middle.
    source : str
        The type of the input, if it is another.
    """

    number: str
    neighbours: Neighbours
    source: str = ""

    @property
    def name(self) -> str:
        """``winograd_pack_<number>_<neighbours>_<source>``."""
        return named(f"winograd_pack_{self.number}_{self.neighbours}", self.source)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, pack: WinogradPack, target: Target) -> None:
        self.pack, self.w = pack, Writer()
        numbers, self.samples = Stored(pack.number), Stored(pack.number, pack.source)
        self.lanes = target.vector_bytes // numbers.bytes
        self.kind = Vector(self.lanes, numbers.scalar)

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        self.fill = w.splat(self.kind, a["fill"])
        blocks = w.loop("block", a["channels"], {"to": ("ptr", a["to"]), "x": ("ptr", a["x"])}, self.lanes)
        self.count = w.subtract(a["channels"], blocks.index)
        self.there = w.lanes_below(Vector(self.lanes, "i32"), self.count)
        rows = w.loop("row", a["rows"], {"to": ("ptr", blocks["to"])})
        offset = w.load_scalar("i64", w.element(a["rows_at"], rows.index, "i64"))
        marked = w.value(f"icmp sle i64 {offset}, {FILL}")
        to, x = rows["to"], blocks["x"]
        w.when(marked, lambda: self.blank(to, offset), lambda: self.row(to, w.offset(x, offset)))
        rows.close({"to": w.offset(rows["to"], a["to_row"])})
        step = w.multiply(a["x_channel"], self.lanes)
        blocks.close({"to": w.offset(blocks["to"], a["to_block"]), "x": w.offset(blocks["x"], step)})
        w.line("ret void")
        return w.function(self.pack.name, SIGNATURE)

    def row(self, to: str, x: str) -> None:
        """A row of samples. The middle may write beyond its end, where columns after it are written later."""
        w, a = self.w, self.a

        def sample(at: str) -> str:
            return self.pixel(w.offset(x, at))

        to = self.by_table("left", to, sample)
        if self.pack.neighbours == "columns":
            self.middle(to, w.offset(x, a["begin"]))
        self.by_table("right", w.offset(to, w.multiply(a["middle"], self.kind.bytes)), sample)

    def blank(self, to: str, mark: str) -> None:
        """A row without samples; columns marked themselves keep their own value, as the last axis decides."""
        w, a = self.w, self.a
        value = self.marked(mark)
        to = self.by_table("left", to, lambda _: value)
        loop = w.loop("blank", a["middle"], {"to": ("ptr", to)})
        w.store(self.kind, value, loop["to"])
        loop.close({"to": w.offset(loop["to"], self.kind.bytes)})
        self.by_table("right", loop["to"], lambda _: value)

    def marked(self, mark: str) -> str:
        """The fill, or zeros."""
        is_fill = self.w.value(f"icmp eq i64 {mark}, {FILL}")
        return self.w.value(f"select i1 {is_fill}, {self.kind} {self.fill}, {self.kind} zeroinitializer")

    def by_table(self, side: str, to: str, sample: Callable[[str], str]) -> str:
        """Columns one by one; where the next one stands."""
        w, a = self.w, self.a
        loop = w.loop(side, a[side], {"to": ("ptr", to)})
        at = w.load_scalar("i64", w.element(a[f"{side}_at"], loop.index, "i64"))
        marked = w.value(f"icmp sle i64 {at}, {FILL}")
        w.when(
            marked,
            lambda: w.store(self.kind, self.marked(at), loop["to"]),
            lambda: w.store(self.kind, sample(at), loop["to"]),
        )
        loop.close({"to": w.offset(loop["to"], self.kind.bytes)})
        return loop["to"]

    def pixel(self, x: str) -> str:
        """One column's channels."""
        w = self.w
        if self.pack.neighbours == "channels":
            return self.samples.load(w, self.lanes, x, self.there)
        numbers = ", ".join(f"i64 {n}" for n in range(self.lanes))
        steps = Vector(self.lanes, "i64")
        offsets = w.value(f"mul {steps} {w.fill(steps, self.a['x_channel'])}, <{numbers}>")
        places = w.value(f"getelementptr i8, ptr {x}, {steps} {offsets}")
        kind = Vector(self.lanes, self.samples.scalar)
        found = w.call(
            str(kind), f"llvm.masked.gather.{kind.suffix}.v{self.lanes}p0",
            (f"<{self.lanes} x ptr>", places), ("i32", "1"), (kind.mask, self.there),
            (str(kind), "zeroinitializer"),
        )  # fmt: skip
        return widen(w, found, self.lanes, self.samples.element, Element(self.pack.number))

    def middle(self, to: str, x: str) -> None:
        """Neighbouring columns, as many at a time as a vector has lanes."""
        w = self.w
        loop = w.loop("square", self.a["middle"], {"to": ("ptr", to)}, self.lanes)
        left = w.subtract(self.a["middle"], loop.index)
        at = w.offset(x, w.multiply(loop.index, self.samples.bytes))
        whole = w.value(f"icmp sge i64 {w.smallest(self.count, left)}, {self.lanes}")
        w.when(whole, lambda: self.square(loop["to"], at, None), lambda: self.square(loop["to"], at, left))
        loop.close({"to": w.offset(loop["to"], self.lanes * self.kind.bytes)})

    def square(self, to: str, x: str, left: str | None) -> None:
        """A square of channels and columns: all of them, or those of the block's channels and ``left`` columns."""
        w, found = self.w, []
        columns = None if left is None else w.lanes_below(Vector(self.lanes, "i32"), left)
        for n in range(self.lanes):
            found.append(self.samples.load(w, self.lanes, x, present(w, self.kind, self.count, n, columns)))
            x = w.offset_below(x, self.a["x_channel"], n + 1, self.count)
        for n, column in enumerate(exchanged(w, self.kind, found)):
            w.store(self.kind, column, w.offset(to, n * self.kind.bytes))
