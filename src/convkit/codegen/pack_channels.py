"""Tiles of samples whose channels lie side by side, on their way in: laid down as a plane for each channel."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Stored, named
from convkit.codegen.pack import FILL
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.transpose import exchanged

ARGUMENTS = Arguments.of("to x rows_at columns_at fill", "rows to_row columns channels to_channel")
"""``rows_at``, ``columns_at``: how far, in bytes, each row and column lies from ``x``, or a mark of `pack`; there are
as many columns in the table as fill whole vectors. ``fill``: the number that marks stand for."""


@dataclass(frozen=True, slots=True)
class PackChannels:
    """``to[c, r, i] = x[rows_at[r] + columns_at[i] + c]``.

    ::

        for row: for `lanes` columns: for `lanes` channels: load a column each; exchange halves; store a channel each

    Columns are found by their table one by one, so that any boundary, stride and dilation is the same to the loop.

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    source : str
        The type of the input, if it is another.
    """

    number: str
    source: str = ""

    @property
    def name(self) -> str:
        """``pack_channels_<number>_<source>``."""
        return named(f"pack_channels_{self.number}", self.source)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    def __init__(self, pack: PackChannels, target: Target) -> None:
        self.name, self.w = pack.name, Writer()
        numbers, self.samples = Stored(pack.number), Stored(pack.number, pack.source)
        self.item, self.lanes = numbers.bytes, target.vector_bytes // numbers.bytes
        self.kind = Vector(self.lanes, numbers.scalar)

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        self.fill = w.splat(self.kind, a["fill"])
        rows = w.loop("row", a["rows"], {"to": ("ptr", a["to"])})
        row = w.load_scalar("i64", w.element(a["rows_at"], rows.index, "i64"))
        columns = w.loop("column", a["columns"], step=self.lanes)
        places = [self.place(row, columns.index, n) for n in range(self.lanes)]
        left = w.subtract(a["columns"], columns.index)
        to = w.offset(rows["to"], w.multiply(columns.index, self.item))
        self.channels(to, places, w.lanes_below(Vector(self.lanes, "i32"), left))
        columns.close()
        rows.close({"to": w.offset(rows["to"], a["to_row"])})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)

    def place(self, row: str, column: str, n: int) -> tuple[str, str, str]:
        """How far the ``n``-th column lies from ``x``, whether it is there, and what stands there if it is not."""
        w = self.w
        at = w.load_scalar("i64", w.element(self.a["columns_at"], w.add(column, n), "i64"))
        marked = [w.value(f"icmp sle i64 {offset}, {FILL}") for offset in (row, at)]
        # The last axis's mark counts.
        mark = w.value(f"select i1 {marked[1]}, i64 {at}, i64 {row}")
        filled = w.value(f"icmp eq i64 {mark}, {FILL}")
        blank = w.value(f"select i1 {filled}, {self.kind} {self.fill}, {self.kind} zeroinitializer")
        absent = w.value(f"or i1 {marked[0]}, {marked[1]}")
        offset = w.value(f"select i1 {absent}, i64 0, i64 {w.value(f'add i64 {row}, {at}')}")
        return offset, absent, blank

    def channels(self, to: str, places: list[tuple[str, str, str]], columns: str) -> None:
        """All channels of some columns."""
        w, a = self.w, self.a
        loop = w.loop("channel", a["channels"], step=self.lanes)
        left = w.subtract(a["channels"], loop.index)
        x = w.offset(a["x"], w.multiply(loop.index, self.samples.bytes))
        found: list[str] = []
        for offset, absent, blank in places:
            there = w.value(f"select i1 {absent}, i64 0, i64 {left}")
            mask = w.lanes_below(Vector(self.lanes, "i32"), there)
            samples = self.samples.load(w, self.lanes, w.offset(x, offset), mask)
            found.append(w.value(f"select i1 {absent}, {self.kind} {blank}, {self.kind} {samples}"))
        to = w.offset(to, w.multiply(loop.index, a["to_channel"]))
        none = f"{self.kind.mask} zeroinitializer"
        for n, row in enumerate(exchanged(w, self.kind, found)):
            held = w.value(f"icmp sgt i64 {left}, {n}")
            w.store(self.kind, row, to, w.value(f"select i1 {held}, {self.kind.mask} {columns}, {none}"))
            to = w.offset(to, a["to_channel"])
        loop.close()
