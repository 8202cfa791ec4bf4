"""Pooling: the rows of a window become one row, whose neighbours become outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "out x row rows_at divisors",
    "planes out_plane x_plane rows row_step out_row before middle after outputs taps tap pixel out_pixel channels",
)
"""``rows_at``: for each row of outputs, ``row_step`` bytes apart: how many rows of samples it meets, what the mean of
them is divided by, and how far each lies from ``x``. ``row``: memory for one row, of ``before``, ``middle`` and
``after`` numbers, of which the first and the last stand outside. ``divisors``: what the mean of each column of outputs
is divided by, as numbers. ``tap``: numbers from one element of a window to the next; ``pixel``: bytes from one window
to the next in that row; ``channels``: numbers of a pixel."""

UNROLLED = 4
"""Vectors of a row that are done together."""


@dataclass(frozen=True, slots=True)
class Pool:
    """``out[p, r, i] = max_j max_k x[p, row[r, k], i*stride + j]``, or the sums, divided.

    ::

        for plane: for row of outputs:
            for each vector of columns: the largest, or the sum, of all rows that it meets, kept in one row
            for each vector of outputs: the largest, or the sum, of the neighbours in that row

    A NaN is larger than anything. Where channels lie side by side, a column is a pixel of as many numbers.

    Attributes
    ----------
    kind : {"max", "mean"}
        What becomes of a window.
    number : {"float32", "float64"}
        The type of the numbers.
    stride : int
        1 and 2 are vectors of outputs; others, with 0, are done one by one.
    layout : {"planes", "pixels"}
        Whether columns lie side by side, or channels.
    """

    kind: Literal["max", "mean"]
    number: str
    stride: int
    layout: Literal["planes", "pixels"] = "planes"

    @property
    def name(self) -> str:
        """``pool_<kind>_<number>_<stride>_<layout>``."""
        return f"pool_{self.kind}_{self.number}_{self.stride}_{self.layout}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


def larger(w: Writer, kind: Vector, best: str, other: str) -> str:
    """The larger of two; a NaN, the first of them if both are."""
    above = w.value(f"fcmp ogt {kind} {best}, {other}")
    chosen = w.value(f"select {kind.mask} {above}, {kind} {best}, {kind} {other}")
    unknown = w.value(f"fcmp uno {kind} {best}, {best}")
    return w.value(f"select {kind.mask} {unknown}, {kind} {best}, {kind} {chosen}")


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, pool: Pool, target: Target) -> None:
        self.p, self.w = pool, Writer()
        element = Element(pool.number)
        self.item, self.scalar = element.bytes, element.stored
        self.kind = Vector(target.vector_bytes // element.bytes, element.stored)
        self.nothing = "0xFFF0000000000000" if pool.kind == "max" else "0.0"

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        self.blank(a["row"], a["before"])
        self.middle = w.element(a["row"], a["before"], self.scalar)
        self.blank(w.element(self.middle, a["middle"], self.scalar), a["after"])
        planes = w.loop("plane", a["planes"], {"out": ("ptr", a["out"]), "x": ("ptr", a["x"])})
        carried = {"out": ("ptr", planes["out"]), "table": ("ptr", a["rows_at"])}
        rows = w.loop("row", a["rows"], carried)
        self.gather_rows(planes["x"], rows["table"])
        divisor = w.load_scalar("i64", w.element(rows["table"], 1, "i64"))
        self.divisor = w.value(f"sitofp i64 {divisor} to {self.scalar}")
        if self.p.layout == "pixels":
            self.pixels(rows["out"])
        elif self.p.stride in (1, 2):
            self.vectors(rows["out"])
        else:
            self.singles(rows["out"])
        rows.close({"out": w.offset(rows["out"], a["out_row"]), "table": w.offset(rows["table"], a["row_step"])})
        planes.close({"out": w.offset(planes["out"], a["out_plane"]), "x": w.offset(planes["x"], a["x_plane"])})
        w.line("ret void")
        return w.function(self.p.name, SIGNATURE)

    def blank(self, at: str, count: str) -> None:
        """Numbers that change nothing."""
        loop = self.w.loop("blank", count)
        place = self.w.element(at, loop.index, self.scalar)
        self.w.line(f"store {self.scalar} {self.nothing}, ptr {place}, align 1")
        loop.close()

    def join(self, kind: Vector, best: str, other: str) -> str:
        return (
            larger(self.w, kind, best, other) if self.p.kind == "max" else self.w.value(f"fadd {kind} {best}, {other}")
        )

    def start(self, kind: Vector) -> str:
        return f"<{', '.join([f'{self.scalar} {self.nothing}'] * kind.lanes)}>"

    # ---------------------------------------------------------------------------------------------- rows become one

    def gather_rows(self, x: str, table: str) -> None:
        """All columns: several vectors, one vector, what is left of one."""
        w, lanes, middle = self.w, self.kind.lanes, self.a["middle"]
        wide = w.loop("wide", w.subtract(middle, UNROLLED * lanes - 1), step=UNROLLED * lanes)
        self.columns(x, table, wide.index, UNROLLED, None)
        wide.close()
        left = w.subtract(middle, wide.index)
        one = w.loop("one", w.subtract(left, lanes - 1), step=lanes)
        self.columns(x, table, w.add(wide.index, one.index), 1, None)
        one.close()
        rest = w.subtract(left, one.index)
        at, mask = w.add(wide.index, one.index), w.lanes_below(self.kind, rest)
        w.when(w.value(f"icmp sgt i64 {rest}, 0"), lambda: self.columns(x, table, at, 1, mask))

    def columns(self, x: str, table: str, at: str, vectors: int, mask: str | None) -> None:
        """Some vectors of columns, all rows."""
        w = self.w
        names = [f"s{n}" for n in range(vectors)]
        loop = w.loop(
            "sample_row", w.load_scalar("i64", table), {name: (str(self.kind), self.start(self.kind)) for name in names}
        )  # fmt: skip
        offset = w.load_scalar("i64", w.element(w.element(table, 2, "i64"), loop.index, "i64"))
        place = w.element(w.offset(x, offset), at, self.scalar)
        found = [
            self.join(self.kind, loop[name], w.load(self.kind, w.offset(place, n * self.kind.bytes), mask))
            for n, name in enumerate(names)
        ]
        loop.close(dict(zip(names, found, strict=True)))
        to = w.element(self.middle, at, self.scalar)
        for n, name in enumerate(names):
            w.store(self.kind, loop[name], w.offset(to, n * self.kind.bytes), mask)

    # ------------------------------------------------------------------------------------------ neighbours become one

    def finish(self, kind: Vector, total: str, columns: str) -> str:
        if self.p.kind == "max":
            return total
        divisor = self.w.value(f"fmul {kind} {columns}, {self.w.fill(kind, self.divisor)}")
        return self.w.value(f"fdiv {kind} {total}, {divisor}")

    def over_taps(self, kind: Vector, load: object) -> str:
        w = self.w
        loop = w.loop("tap", self.a["taps"], {"s": (str(kind), self.start(kind)), "at": ("i64", "0")})
        total = self.join(kind, loop["s"], load(loop["at"]))  # type: ignore[operator]
        loop.close({"s": total, "at": w.add(loop["at"], self.a["tap"])})
        return loop["s"]

    def vectors(self, out: str) -> None:
        """Outputs side by side; behind the row there is room to read."""
        w, a, kind, stride = self.w, self.a, self.kind, self.p.stride
        loop = w.loop("output", a["outputs"], step=kind.lanes)
        begin = w.element(a["row"], w.multiply(loop.index, stride), self.scalar)

        def load(at: str) -> str:
            place = w.element(begin, at, self.scalar)
            first = w.load(kind, place)
            if stride == 1:
                return first
            return w.shuffle(kind, first, w.load(kind, w.offset(place, kind.bytes)), range(0, 2 * kind.lanes, 2))

        total = self.over_taps(kind, load)
        mask = w.lanes_below(kind, w.subtract(a["outputs"], loop.index))
        columns = w.load(kind, w.element(a["divisors"], loop.index, self.scalar), mask)
        w.store(kind, self.finish(kind, total, columns), w.element(out, loop.index, self.scalar), mask)
        loop.close()

    def singles(self, out: str) -> None:
        """Outputs one by one."""
        w, a, one = self.w, self.a, Vector(1, self.scalar)
        loop = w.loop("output", a["outputs"], {"at": ("ptr", a["row"])})
        total = self.over_taps(one, lambda at: w.load(one, w.element(loop["at"], at, self.scalar)))
        columns = w.load(one, w.element(a["divisors"], loop.index, self.scalar))
        w.store(one, self.finish(one, total, columns), w.element(out, loop.index, self.scalar))
        loop.close({"at": w.offset(loop["at"], a["pixel"])})

    def pixels(self, out: str) -> None:
        """The channels of a pixel side by side."""
        w, a, kind = self.w, self.a, self.kind
        loop = w.loop("output", a["outputs"], {"at": ("ptr", a["row"]), "out": ("ptr", out)})
        columns = w.splat(kind, w.element(a["divisors"], loop.index, self.scalar))

        def some(channel: str, mask: str | None) -> None:
            begin = w.element(loop["at"], channel, self.scalar)
            total = self.over_taps(kind, lambda at: w.load(kind, w.element(begin, at, self.scalar), mask))
            w.store(kind, self.finish(kind, total, columns), w.element(loop["out"], channel, self.scalar), mask)

        whole = w.loop("channel", w.subtract(a["channels"], kind.lanes - 1), step=kind.lanes)
        some(whole.index, None)
        whole.close()
        rest = w.subtract(a["channels"], whole.index)
        mask = w.lanes_below(kind, rest)
        w.when(w.value(f"icmp sgt i64 {rest}, 0"), lambda: some(whole.index, mask))
        loop.close({"at": w.offset(loop["at"], a["pixel"]), "out": w.offset(loop["out"], a["out_pixel"])})
