"""Tiles of outputs on their way out: pixels that are vectors of channels, stored as the result has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.arithmetic import ElementType
from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.transpose import exchanged
from convkit.codegen.winograd_pack import present

ARGUMENTS = Arguments.of("out x", "channels out_channel x_block rows out_row x_row columns out_column")
"""Strides are in bytes, of either sign for ``out``; sizes are counts."""


@dataclass(frozen=True, slots=True)
class WinogradUnpack:
    """``out[b*lanes + l, r, i] = x[b, r, i, l]``.

    ::

        for block of channels: for row: for as many columns as a vector has lanes, or for column

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    neighbours : {"columns", "channels", "none"}
        What lies side by side in the result: columns are turned around, a square of registers at a time; channels are
        vectors already, and others are scattered.
    """

    number: ElementType
    neighbours: Literal["columns", "channels", "none"]

    @property
    def name(self) -> str:
        """``winograd_unpack_<number>_<neighbours>``."""
        return f"winograd_unpack_{self.number}_{self.neighbours}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, unpack: WinogradUnpack, target: Target) -> None:
        self.unpack, self.w = unpack, Writer()
        self.element = Element(unpack.number)
        self.lanes = target.vector_bytes // self.element.bytes
        self.kind = Vector(self.lanes, self.element.stored)

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        blocks = w.loop("block", a["channels"], {"out": ("ptr", a["out"]), "x": ("ptr", a["x"])}, self.lanes)
        self.count = w.subtract(a["channels"], blocks.index)
        self.there = w.lanes_below(Vector(self.lanes, "i32"), self.count)
        rows = w.loop("row", a["rows"], {"out": ("ptr", blocks["out"]), "x": ("ptr", blocks["x"])})
        (self.squares if self.unpack.neighbours == "columns" else self.pixels)(rows["out"], rows["x"])
        rows.close({"out": w.offset(rows["out"], a["out_row"]), "x": w.offset(rows["x"], a["x_row"])})
        step = w.multiply(a["out_channel"], self.lanes)
        blocks.close({"out": w.offset(blocks["out"], step), "x": w.offset(blocks["x"], a["x_block"])})
        w.line("ret void")
        return w.function(self.unpack.name, SIGNATURE)

    def squares(self, out: str, x: str) -> None:
        """A row, as many columns at a time as a vector has lanes."""
        w = self.w
        loop = w.loop("square", self.a["columns"], {"x": ("ptr", x)}, self.lanes)
        left = w.subtract(self.a["columns"], loop.index)
        to = w.offset(out, w.multiply(loop.index, self.element.bytes))
        whole = w.value(f"icmp sge i64 {w.smallest(self.count, left)}, {self.lanes}")
        w.when(whole, lambda: self.square(to, loop["x"], None), lambda: self.square(to, loop["x"], left))
        loop.close({"x": w.offset(loop["x"], self.lanes * self.kind.bytes)})

    def square(self, out: str, x: str, left: str | None) -> None:
        """A square of columns and channels: all of them, or ``left`` columns of the block's channels.

        Columns that are not there are read all the same: scratch memory goes on behind them.
        """
        w = self.w
        found = [w.load(self.kind, w.offset(x, n * self.kind.bytes)) for n in range(self.lanes)]
        columns = None if left is None else w.lanes_below(Vector(self.lanes, "i32"), left)
        for n, row in enumerate(exchanged(w, self.kind, found)):
            w.store(self.kind, row, out, present(w, self.kind, self.count, n, columns))
            out = w.offset(out, self.a["out_channel"])

    def pixels(self, out: str, x: str) -> None:
        """A row, column by column."""
        w = self.w
        loop = w.loop("column", self.a["columns"], {"out": ("ptr", out), "x": ("ptr", x)})
        self.pixel(loop["out"], w.load(self.kind, loop["x"]))
        loop.close({
            "out": w.offset(loop["out"], self.a["out_column"]), "x": w.offset(loop["x"], self.kind.bytes),
        })  # fmt: skip

    def pixel(self, out: str, value: str) -> None:
        """One column's channels."""
        w = self.w
        if self.unpack.neighbours == "channels":
            w.store(self.kind, value, out, self.there)
            return
        numbers = ", ".join(f"i64 {n}" for n in range(self.lanes))
        steps = Vector(self.lanes, "i64")
        offsets = w.value(f"mul {steps} {w.fill(steps, self.a['out_channel'])}, <{numbers}>")
        places = w.value(f"getelementptr i8, ptr {out}, {steps} {offsets}")
        w.call(
            "void", f"llvm.masked.scatter.{self.kind.suffix}.v{self.lanes}p0",
            (str(self.kind), value), (f"<{self.lanes} x ptr>", places), ("i32", "1"), (self.kind.mask, self.there),
        )  # fmt: skip
