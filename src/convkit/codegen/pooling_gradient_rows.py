"""The gradient of pooling by the largest where columns lie side by side: neighbouring outputs of a row at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.pooling_gradient import beats
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "to g x rows_at to_rows_at places", "planes to_plane g_plane x_plane rows row_step g_row outputs start size taps"
)
"""``rows_at``: for each row of outputs, ``row_step`` bytes apart, how many rows of samples it meets, and how far each
lies from ``x``, in bytes; ``to_rows_at`` the same for ``to``. ``start``: the column of the first output's first sample,
which need not exist; ``size``: columns; ``taps``: columns of a window. ``places``: memory for a vector of places."""

ROW_BITS = 16
"""Bits of a place above those of its column."""


@dataclass(frozen=True, slots=True)
class RowsLargestGradient:
    """``to[p, where the largest of window i stands] += g[p, i]``: of equals the first, a NaN before all.

    ::

        for plane: for row of outputs: for each vector of them:
            for each sample of the window: remember the largest, and its place
            for each output: add its gradient there

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    stride : {1, 2}
        Columns from window to window.
    """

    number: str
    stride: Literal[1, 2]

    @property
    def name(self) -> str:
        """``rows_largest_gradient_<number>_<stride>``."""
        return f"rows_largest_gradient_{self.number}_{self.stride}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, gradient: RowsLargestGradient, target: Target) -> None:
        self.name, self.stride, self.w = gradient.name, gradient.stride, Writer()
        element = Element(gradient.number)
        self.item, self.scalar = element.bytes, element.stored
        self.kind = Vector(target.vector_bytes // element.bytes, element.stored)
        self.whole = Vector(self.kind.lanes, f"i{8 * ITEM_BYTES[element.stored]}")

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        planes = w.loop("plane", a["planes"], {name: ("ptr", a[name]) for name in ("to", "g", "x")})
        carried = {"g": ("ptr", planes["g"]), "row": ("ptr", a["rows_at"]), "to_row": ("ptr", a["to_rows_at"])}
        rows = w.loop("row", a["rows"], carried)
        outputs = w.loop("output", a["outputs"], step=self.kind.lanes)
        column = w.add(w.multiply(outputs.index, self.stride), a["start"])
        self.find(planes["x"], rows["row"], column)
        count = w.smallest(w.subtract(a["outputs"], outputs.index), self.kind.lanes)
        self.add(planes["to"], rows["to_row"], column, w.element(rows["g"], outputs.index, self.scalar), count)
        outputs.close()
        rows.close({
            "g": w.offset(rows["g"], a["g_row"]),
            **{name: w.offset(rows[name], a["row_step"]) for name in ("row", "to_row")},
        })  # fmt: skip
        planes.close({name: w.offset(planes[name], a[f"{name}_plane"]) for name in ("to", "g", "x")})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)

    def find(self, x: str, row: str, column: str) -> None:
        """Note for each output the row and the column, in its window, of the largest sample."""
        w, kind, whole = self.w, self.kind, self.whole
        none = f"<{', '.join([f'{whole.scalar} -1'] * whole.lanes)}>"
        state = {"best": (str(kind), "zeroinitializer"), "where": (str(whole), none)}
        rows = w.loop("find_row", w.load_scalar("i64", row), state)
        offset = w.load_scalar("i64", w.element(w.element(row, 1, "i64"), rows.index, "i64"))
        columns = w.loop("find", self.a["taps"], {name: (kind_, rows[name]) for name, (kind_, _) in state.items()})
        first = w.add(column, columns.index)
        samples = self.samples(w.element(w.offset(x, offset), first, self.scalar), first)
        fresh = w.value(f"icmp slt {whole} {columns['where']}, zeroinitializer")
        better = w.value(f"or {kind.mask} {beats(w, kind, samples, columns['best'])}, {fresh}")
        better = w.value(f"and {kind.mask} {better}, {self.inside(first, self.stride)}")
        number = w.add(w.value(f"shl i64 {rows.index}, {ROW_BITS}"), columns.index)
        places = w.fill(whole, self.narrowed(number))
        columns.close({
            "best": w.value(f"select {kind.mask} {better}, {kind} {samples}, {kind} {columns['best']}"),
            "where": w.value(f"select {kind.mask} {better}, {whole} {places}, {whole} {columns['where']}"),
        })  # fmt: skip
        rows.close({name: columns[name] for name in state})
        w.store(whole, rows["where"], self.a["places"])

    def inside(self, first: str, step: int) -> str:
        """The lanes whose columns, ``step`` apart from the first on, exist."""
        w, whole = self.w, self.whole
        numbers = ", ".join(f"{whole.scalar} {n * step}" for n in range(whole.lanes))
        columns = w.value(f"add {whole} {w.fill(whole, self.narrowed(first))}, <{numbers}>")
        # Those before the first are large numbers without a sign.
        return w.value(f"icmp ult {whole} {columns}, {w.fill(whole, self.narrowed(self.a['size']))}")

    def samples(self, place: str, first: str) -> str:
        """A vector of samples, neighbours or every second one."""
        w, kind, lanes = self.w, self.kind, self.kind.lanes
        parts = [
            w.load(kind, w.offset(place, n * kind.bytes), self.inside(w.add(first, n * lanes), 1))
            for n in range(self.stride)
        ]
        return parts[0] if self.stride == 1 else w.shuffle(kind, parts[0], parts[1], range(0, 2 * lanes, 2))

    def narrowed(self, number: str) -> str:
        """A size as a lane of whole numbers."""
        return number if self.whole.scalar == "i64" else self.w.value(f"trunc i64 {number} to i32")

    def add(self, to: str, row: str, column: str, g: str, count: str) -> None:
        """Add the gradient of each output where its place says; windows without samples have none."""
        w, scalar = self.w, self.scalar
        loop = w.loop("add", count, {"column": ("i64", column)})
        held = w.load_scalar(self.whole.scalar, w.element(self.a["places"], loop.index, self.whole.scalar))

        def one() -> None:
            place = held if self.whole.scalar == "i64" else w.value(f"zext i32 {held} to i64")
            n, tap = w.value(f"lshr i64 {place}, {ROW_BITS}"), w.value(f"and i64 {place}, {(1 << ROW_BITS) - 1}")
            offset = w.load_scalar("i64", w.element(w.element(row, 1, "i64"), n, "i64"))
            sample = w.element(w.offset(to, offset), w.add(loop["column"], tap), scalar)
            more = w.load_scalar(scalar, w.element(g, loop.index, scalar))
            total = w.value(f"fadd {scalar} {w.load_scalar(scalar, sample)}, {more}")
            w.line(f"store {scalar} {total}, ptr {sample}, align 1")

        w.when(w.value(f"icmp sge {self.whole.scalar} {held}, 0"), one)
        loop.close({"column": w.add(loop["column"], self.stride)})
