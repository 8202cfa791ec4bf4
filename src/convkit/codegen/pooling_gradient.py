"""The gradient of pooling by the largest: what an output hands back goes where the largest of its window stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "to g x rows_at columns_at to_rows_at to_columns_at",
    "planes to_plane g_plane x_plane rows row_step g_row outputs column_step g_pixel channels",
)
"""``rows_at`` and ``columns_at``: for each row and column of outputs how many samples it meets, and how far each lies
from ``x``, in bytes; ``to_rows_at`` and ``to_columns_at`` the same for ``to``."""


@dataclass(frozen=True, slots=True)
class LargestGradient:
    """``to[p, where the largest of window i stands] += g[p, i]``: of equals the first, a NaN before all.

    ::

        for plane: for row of outputs: for column of outputs: for each vector of channels:
            for each sample of the window: remember the largest, and its place; then add the gradient there

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    layout : {"planes", "pixels"}
        Whether columns lie side by side, and are done one by one, or channels.
    """

    number: str
    layout: Literal["planes", "pixels"]

    @property
    def name(self) -> str:
        """``largest_gradient_<number>_<layout>``."""
        return f"largest_gradient_{self.number}_{self.layout}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


def beats(w: Writer, kind: Vector, samples: str, best: str) -> str:
    """Which samples are larger than the best so far: a NaN is, unless that is one."""
    above = w.value(f"fcmp ogt {kind} {samples}, {best}")
    unknown = w.value(f"fcmp uno {kind} {samples}, {samples}")
    known = w.value(f"fcmp ord {kind} {best}, {best}")
    first = w.value(f"and {kind.mask} {unknown}, {known}")
    return w.value(f"or {kind.mask} {above}, {first}")


Tables = list[tuple[str, str]]


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, gradient: LargestGradient, target: Target) -> None:
        self.p, self.w = gradient, Writer()
        element = Element(gradient.number)
        self.scalar = element.stored
        lanes = target.vector_bytes // element.bytes if gradient.layout == "pixels" else 1
        self.kind = Vector(lanes, element.stored)
        self.whole = Vector(lanes, f"i{8 * ITEM_BYTES[element.stored]}")

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        planes = w.loop("plane", a["planes"], {name: ("ptr", a[name]) for name in ("to", "g", "x")})
        rows = w.loop("row", a["rows"], {"g": ("ptr", planes["g"]), "at": ("i64", "0")})
        outputs = w.loop("output", a["outputs"], {"g": ("ptr", rows["g"]), "at": ("i64", "0")})
        tables = [
            (w.offset(a[f"{of}rows_at"], rows["at"]), w.offset(a[f"{of}columns_at"], outputs["at"]))
            for of in ("", "to_")
        ]
        self.pixel(planes["to"], planes["x"], outputs["g"], tables)
        outputs.close({"g": w.offset(outputs["g"], a["g_pixel"]), "at": w.add(outputs["at"], a["column_step"])})
        rows.close({"g": w.offset(rows["g"], a["g_row"]), "at": w.add(rows["at"], a["row_step"])})
        planes.close({name: w.offset(planes[name], a[f"{name}_plane"]) for name in ("to", "g", "x")})
        w.line("ret void")
        return w.function(self.p.name, SIGNATURE)

    def pixel(self, to: str, x: str, g: str, tables: Tables) -> None:
        """All channels of one output."""
        w, lanes = self.w, self.kind.lanes
        whole = w.loop("channel", w.subtract(self.a["channels"], lanes - 1), step=lanes)
        self.channels(to, x, g, tables, whole.index, None)
        whole.close()
        if lanes > 1:
            rest = w.subtract(self.a["channels"], whole.index)
            mask = w.lanes_below(self.kind, rest)
            some = w.value(f"icmp sgt i64 {rest}, 0")
            w.when(some, lambda: self.channels(to, x, g, tables, whole.index, mask))

    def channels(self, to: str, x: str, g: str, tables: Tables, at: str, mask: str | None) -> None:
        """One vector of channels of one output."""
        w, kind, whole = self.w, self.kind, self.whole
        g = w.load(kind, w.element(g, at, self.scalar), mask)
        x, to = w.element(x, at, self.scalar), w.element(to, at, self.scalar)
        row, column = tables[0]
        lowest = f"<{', '.join([f'{self.scalar} 0xFFF0000000000000'] * kind.lanes)}>"
        state = {"best": (str(kind), lowest), "where": (str(whole), "zeroinitializer"), "n": ("i64", "0")}
        rows = w.loop("find_row", w.load_scalar("i64", row), state)
        carried = {name: (kind_, rows[name]) for name, (kind_, _) in state.items()}
        columns = w.loop("find", w.load_scalar("i64", column), carried)
        samples = w.load(kind, w.offset(x, self.place(row, column, rows.index, columns.index)), mask)
        best = columns["best"]
        better = beats(w, kind, samples, best)
        number = columns["n"]
        if whole.scalar == "i32":
            number = w.value(f"trunc i64 {number} to i32")
        chosen = w.value(f"select {kind.mask} {better}, {kind} {samples}, {kind} {best}")
        places = w.fill(whole, number)
        where = w.value(f"select {kind.mask} {better}, {whole} {places}, {whole} {columns['where']}")
        columns.close({"best": chosen, "where": where, "n": w.add(columns["n"], 1)})
        rows.close({name: columns[name] for name in state})
        self.add(to, g, *tables[1], rows["where"], mask)

    def add(self, to: str, g: str, row: str, column: str, where: str, mask: str | None) -> None:
        """Add the gradient to those samples that were the largest."""
        w, kind, whole = self.w, self.kind, self.whole
        rows = w.loop("add_row", w.load_scalar("i64", row), {"n": ("i64", "0")})
        columns = w.loop("add", w.load_scalar("i64", column), {"n": ("i64", rows["n"])})
        number = columns["n"]
        if whole.scalar == "i32":
            number = w.value(f"trunc i64 {number} to i32")
        here = w.value(f"icmp eq {whole} {where}, {w.fill(whole, number)}")
        place = w.offset(to, self.place(row, column, rows.index, columns.index))
        held = w.load(kind, place, mask)
        total = w.value(f"fadd {kind} {held}, {g}")
        w.store(kind, w.value(f"select {kind.mask} {here}, {kind} {total}, {kind} {held}"), place, mask)
        columns.close({"n": w.add(columns["n"], 1)})
        rows.close({"n": columns["n"]})

    def place(self, row: str, column: str, i: str, j: str) -> str:
        """How far the sample of a kernel row and column lies."""
        w = self.w
        at = [
            w.load_scalar("i64", w.element(w.element(table, 1, "i64"), n, "i64"))
            for table, n in ((row, i), (column, j))
        ]
        return w.add(*at)
