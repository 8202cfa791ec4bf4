"""Outputs on their way out: pixels that are vectors of channels, finished and stored as the result has them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.epilogue import NO_ENDING, Ending, ended
from convkit.codegen.numbers import Element, Stored, named, narrow
from convkit.codegen.pooling import larger
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.transpose import exchanged
from convkit.codegen.winograd_pack import Neighbours, present

ARGUMENTS = Arguments.of(
    "out x add bias",
    "channels out_channel x_block add_channel rows out_row x_row add_row columns out_column add_column",
)
"""Strides are in bytes, of either sign for ``out`` and ``add``; sizes are counts. ``bias`` has a number for each
channel, side by side. What an ending does not need is not read."""


@dataclass(frozen=True, slots=True)
class WinogradUnpack:
    """``out[c, r, i] = activation(x[b, r, i, l] + bias[c] + add[c, r, i])``, with ``c = b*lanes + l``.

    ::

        for block of channels: for row: for as many columns as a vector has lanes, or for column

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    neighbours : {"columns", "channels", "none"}
        What lies side by side in the result: columns are turned around, a square of registers at a time; channels are
        vectors already, and others are scattered.
    ending : Ending
        What is done to outputs before they are stored; ``add`` lies as the result does. Its bias is of a ``"channel"``.
        Scattered outputs have no ending.
    stored : str
        The type of the result, if it is another.
    pool : int
        Outputs along each axis of a window whose largest is stored alone; rows and columns are counted in windows then.
        Pooled outputs have nothing added but a bias.
    """

    number: str
    neighbours: Neighbours
    ending: Ending = NO_ENDING
    stored: str = ""
    pool: int = 1

    @property
    def name(self) -> str:
        """``winograd_unpack_<number>_<neighbours>_<ending>_pool<pool>_<stored>``."""
        pool = f"_pool{self.pool}" if self.pool > 1 else ""
        return named(f"winograd_unpack_{self.number}_{self.neighbours}_{self.ending.name}{pool}", self.stored)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, unpack: WinogradUnpack, target: Target) -> None:
        self.unpack, self.w = unpack, Writer()
        numbers, self.result = Stored(unpack.number), Stored(unpack.number, unpack.stored)
        self.other = Stored(unpack.number, unpack.ending.added)
        self.lanes = target.vector_bytes // numbers.bytes
        self.kind = Vector(self.lanes, numbers.scalar)

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        places = ("out", "x", "add")
        carried = {name: ("ptr", a[name]) for name in (*places, "bias")}
        blocks = w.loop("block", a["channels"], carried, self.lanes)
        self.bias = blocks["bias"]
        self.count = w.subtract(a["channels"], blocks.index)
        self.there = w.lanes_below(Vector(self.lanes, "i32"), self.count)
        rows = w.loop("row", a["rows"], {name: ("ptr", blocks[name]) for name in places})
        (self.squares if self.unpack.neighbours == "columns" else self.pixels)(rows["out"], rows["x"], rows["add"])
        step = {name: a[f"{name}_row"] for name in places}
        step["x"] = w.multiply(step["x"], self.unpack.pool) if self.unpack.pool > 1 else step["x"]
        rows.close({name: w.offset(rows[name], by) for name, by in step.items()})
        following = {name: w.multiply(a[f"{name}_channel"], self.lanes) for name in ("out", "add")}
        following.update(x=a["x_block"], bias=str(self.kind.bytes))
        blocks.close({name: w.offset(blocks[name], step) for name, step in following.items()})
        w.line("ret void")
        return w.function(self.unpack.name, SIGNATURE)

    def squares(self, out: str, x: str, add: str) -> None:
        """A row, as many columns at a time as a vector has lanes."""
        w = self.w
        if self.unpack.pool > 1:
            self.pooled(x)
        loop = w.loop("square", self.a["columns"], {"x": ("ptr", x)}, self.lanes)
        left = w.subtract(self.a["columns"], loop.index)
        at, add_at = (w.multiply(loop.index, one.bytes) for one in (self.result, self.other))
        places = w.offset(out, at), loop["x"], w.offset(add, add_at)
        whole = w.value(f"icmp sge i64 {w.smallest(self.count, left)}, {self.lanes}")
        w.when(whole, lambda: self.square(*places, None), lambda: self.square(*places, left))
        loop.close({"x": w.offset(loop["x"], self.lanes * self.kind.bytes)})

    def pooled(self, x: str) -> None:
        """A row of windows, each of which leaves its largest at the beginning of the row."""
        w = self.w
        bias = w.load(self.kind, self.bias, self.there) if self.unpack.ending.bias else None
        loop = w.loop("window", self.a["columns"], {"x": ("ptr", x), "to": ("ptr", x)})
        w.store(self.kind, self.largest(loop["x"], bias), loop["to"])
        loop.close({
            "x": w.offset(loop["x"], self.unpack.pool * self.kind.bytes), "to": w.offset(loop["to"], self.kind.bytes),
        })  # fmt: skip

    def square(self, out: str, x: str, add: str, left: str | None) -> None:
        """A square of columns and channels: all of them, or ``left`` columns of the block's channels.

        Columns that are not there are read all the same: scratch memory goes on behind them.
        """
        w, ending = self.w, NO_ENDING if self.unpack.pool > 1 else self.unpack.ending
        found = [w.load(self.kind, w.offset(x, n * self.kind.bytes)) for n in range(self.lanes)]
        columns = None if left is None else w.lanes_below(Vector(self.lanes, "i32"), left)
        for n, row in enumerate(exchanged(w, self.kind, found)):
            mask = present(w, self.kind, self.count, n, columns)
            bias = None
            if ending.bias:
                channel = n if mask is None else w.smallest(w.subtract(self.count, 1), n)
                bias = w.splat(self.kind, w.element(self.bias, channel, self.kind.scalar))
            other = self.other.load(w, self.lanes, add, mask) if ending.add else None
            self.result.store(w, self.lanes, ended(w, self.kind, ending, row, bias, other), out, mask)
            out = w.offset_below(out, self.a["out_channel"], n + 1, self.count)
            add = w.offset_below(add, self.a["add_channel"], n + 1, self.count) if ending.add else add

    def pixels(self, out: str, x: str, add: str) -> None:
        """A row, column by column."""
        w, ending = self.w, self.unpack.ending
        bias = w.load(self.kind, self.bias, self.there) if ending.bias else None
        loop = w.loop("column", self.a["columns"], {"out": ("ptr", out), "x": ("ptr", x), "add": ("ptr", add)})
        other = self.other.load(w, self.lanes, loop["add"], self.there) if ending.add else None
        if self.unpack.pool > 1:
            value = self.largest(loop["x"], bias)
        else:
            value = ended(w, self.kind, ending, w.load(self.kind, loop["x"]), bias, other)
        if self.unpack.neighbours == "channels":
            self.result.store(w, self.lanes, value, loop["out"], self.there)
        else:
            self.scatter(loop["out"], value)
        loop.close({
            "out": w.offset(loop["out"], self.a["out_column"]),
            "x": w.offset(loop["x"], self.unpack.pool * self.kind.bytes),
            "add": w.offset(loop["add"], self.a["add_column"]),
        })  # fmt: skip

    def largest(self, x: str, bias: str | None) -> str:
        """The largest of a window's pixels, each ended: the rows of a column first, as `pooling` does it."""
        w, pool = self.w, range(self.unpack.pool)
        rows = [x]
        for _ in pool[1:]:
            rows.append(w.offset(rows[-1], self.a["x_row"]))
        columns: list[str] = []
        for j in pool:
            pixels = [w.load(self.kind, w.offset(row, j * self.kind.bytes)) for row in rows]
            values = [ended(w, self.kind, self.unpack.ending, pixel, bias) for pixel in pixels]
            columns.append(reduce(lambda best, other: larger(w, self.kind, best, other), values))
        return reduce(lambda best, other: larger(w, self.kind, best, other), columns)

    def scatter(self, out: str, value: str) -> None:
        """One column's channels, which lie anywhere."""
        w = self.w
        numbers = ", ".join(f"i64 {n}" for n in range(self.lanes))
        steps = Vector(self.lanes, "i64")
        offsets = w.value(f"mul {steps} {w.fill(steps, self.a['out_channel'])}, <{numbers}>")
        places = w.value(f"getelementptr i8, ptr {out}, {steps} {offsets}")
        kind = Vector(self.lanes, self.result.scalar)
        value = narrow(w, value, self.lanes, Element(self.unpack.number), self.result.element)
        w.call(
            "void", f"llvm.masked.scatter.{kind.suffix}.v{self.lanes}p0",
            (str(kind), value), (f"<{self.lanes} x ptr>", places), ("i32", "1"), (self.kind.mask, self.there),
        )  # fmt: skip
