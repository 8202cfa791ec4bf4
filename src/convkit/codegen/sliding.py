"""Sliding sums of integers, down the columns and along the rows: their loop nests as data, and the kernels of them.

Sums of integers are exact in any order, so that each can be had from the one before: what enters the window is added,
what leaves it subtracted. Floating-point sums would drift that way; see `convkit.codegen.boxes` for those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.numbers import Element, narrow, widen
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out x", "rows columns size out_row x_row")
"""``size``: rows of a window. Strides are in bytes, of either sign; the rest are counts."""

MOST = {"float32": 1 << 24, "float64": 1 << 31}
"""Sums below it are exact, in 32 bits and in each floating-point type."""

LARGEST = {"uint8": 1 << 8, "int8": 1 << 7, "uint16": 1 << 16, "int16": 1 << 15}
"""No sample's magnitude exceeds it."""


@dataclass(frozen=True, slots=True)
class Sliding:
    """``out[r, c] = sum_j x[r + j, c]``, j below the number of rows of a window, as floating-point or 32-bit numbers.

    ::

        for each tile of `vectors` vectors of columns: sum the first window; for row: add a row, subtract another

    Attributes
    ----------
    source, target : str
        What samples and results are, by NumPy's names.
    lanes, vectors : int
        Numbers in a vector of sums, vectors of a tile.
    """

    source: str
    target: str
    lanes: int
    vectors: int

    @property
    def name(self) -> str:
        """``sliding_<source>_<target>_<lanes>l_<vectors>``."""
        return f"sliding_{self.source}_{self.target}_{self.lanes}l_{self.vectors}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self).module()


def sliding_for(target: Target, source: str, sums: str) -> Sliding:
    """The loop nest for samples of type ``source`` and results of type ``sums``."""
    return Sliding(source, sums, target.vector_bytes // ITEM_BYTES[Element(sums).stored], 4)


def exact(source: str, target: str, size: int) -> bool:
    """Whether every sum of ``size`` samples, and of those on the way, is exact."""
    return source in LARGEST and target in MOST and LARGEST[source] * (size + 1) <= MOST[target]


ROW_ARGUMENTS = Arguments.of("out x scale", "rows columns size out_row x_row")
"""As `ARGUMENTS`, ``size`` being columns of a window; ``scale`` is what the sums are multiplied by."""


@dataclass(frozen=True, slots=True)
class SlidingRow:
    """``out[r, c] = scale * sum_j x[r, c + j]`` of 32-bit integers, rounded once to floating point, then stored.

    ::

        for each few rows: sum the first windows
            for each vector of columns: what enters less what leaves, summed from lane to lane, and carried on

    Attributes
    ----------
    dtype, stored : str
        What the sums are scaled in, and what results are stored as, by NumPy's names.
    lanes : int
        Numbers in a vector.
    together : int
        Rows that are done at once, so that none waits for what it carries on.
    """

    dtype: str
    stored: str
    lanes: int
    together: int

    @property
    def name(self) -> str:
        """``sliding_row_<dtype>_<stored>_<lanes>l_<together>``."""
        return f"sliding_row_{self.dtype}_{self.stored}_{self.lanes}l_{self.together}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _RowNest(self).module()


def sliding_row_for(target: Target, dtype: str, stored: str) -> SlidingRow:
    """The loop nest for sums that are scaled in ``dtype`` and stored as ``stored``."""
    return SlidingRow(dtype, stored, target.vector_bytes // ITEM_BYTES[Element(dtype).stored], 4)


class _RowNest:
    """Writes the kernel along rows."""

    def __init__(self, sliding: SlidingRow) -> None:
        self.s, self.w = sliding, Writer()
        self.floats, self.stored = Element(sliding.dtype), Element(sliding.stored)
        self.sums = Vector(sliding.lanes, "i32")

    def module(self) -> str:
        w, s = self.w, self.s
        self.a = a = ROW_ARGUMENTS.read(w)
        self.scale = w.splat(Vector(s.lanes, self.floats.stored), a["scale"])

        def all_rows(together: int) -> None:
            loop = w.loop("rows", a["rows"], step=together)
            row = w.smallest(loop.index, w.subtract(a["rows"], together))
            rows = [w.add(row, n) for n in range(together)]
            self.rows(
                [w.offset(a["out"], w.multiply(n, a["out_row"])) for n in rows],
                [w.offset(a["x"], w.multiply(n, a["x_row"])) for n in rows],
            )
            loop.close()

        w.choose(a["rows"], [(s.together, "several"), (1, "single")], all_rows)
        w.line("ret void")
        return w.function(s.name, SIGNATURE)

    def rows(self, outs: Sequence[str], xs: Sequence[str]) -> None:
        """A few rows, from their first column to their last."""
        w, a, names = self.w, self.a, [f"c{n}" for n in range(len(xs))]
        size_bytes = w.multiply(a["size"], 4)
        first = w.loop("first", a["size"], dict.fromkeys(names, ("i32", "0")))
        added = [
            w.value(f"add i32 {first[name]}, {w.load_scalar('i32', w.element(x, first.index, 'i32'))}")
            for name, x in zip(names, xs)
        ]
        first.close(dict(zip(names, added)))
        starts = {name: (str(self.sums), w.fill(self.sums, first[name])) for name in names}
        # What enters after the last window is not read: the last vector, whole or not, is done under a mask.
        along = w.loop("column", w.subtract(a["columns"], self.s.lanes), starts, step=self.s.lanes)
        carried = {}
        for name, out, x in zip(names, outs, xs):
            here = w.element(x, along.index, "i32")
            sums, carried[name] = self.windows(here, w.offset(here, size_bytes), along[name], None)
            self.store(sums, w.element(out, along.index, self.stored.stored), None)
        along.close(carried)
        left = w.subtract(a["columns"], along.index)
        read, written = w.lanes_below(self.sums, w.subtract(left, 1)), w.lanes_below(self.sums, left)
        for name, out, x in zip(names, outs, xs):
            here = w.element(x, along.index, "i32")
            sums, _ = self.windows(here, w.offset(here, size_bytes), along[name], read)
            self.store(sums, w.element(out, along.index, self.stored.stored), written)

    def windows(self, leaving: str, entering: str, carried: str, mask: str | None) -> tuple[str, str]:
        """A vector of windows that begin one after another, the first of them known; and the one after them."""
        w, lanes = self.w, self.s.lanes
        change = w.value(f"sub {self.sums} {w.load(self.sums, entering, mask)}, {w.load(self.sums, leaving, mask)}")
        total, apart = change, 1
        while apart < lanes:
            moved = w.shuffle(self.sums, "zeroinitializer", total, range(lanes - apart, 2 * lanes - apart))
            total, apart = w.value(f"add {self.sums} {total}, {moved}"), 2 * apart
        last = w.shuffle(self.sums, total, "poison", [lanes - 1] * lanes)
        before = w.value(f"sub {self.sums} {total}, {change}")
        return w.value(f"add {self.sums} {carried}, {before}"), w.value(f"add {self.sums} {carried}, {last}")

    def store(self, sums: str, out: str, mask: str | None) -> None:
        w, kind = self.w, Vector(self.s.lanes, self.floats.stored)
        scaled = w.value(f"fmul {kind} {w.value(f'sitofp {self.sums} {sums} to {kind}')}, {self.scale}")
        value = narrow(w, scaled, self.s.lanes, self.floats, self.stored)
        w.store(Vector(self.s.lanes, self.stored.stored), value, out, mask)


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, sliding: Sliding) -> None:
        self.s, self.w = sliding, Writer()
        self.source, self.target, self.whole = Element(sliding.source), Element(sliding.target), Element("int32")
        self.samples, self.sums = Vector(sliding.lanes, self.source.stored), Vector(sliding.lanes, "i32")

    def module(self) -> str:
        w, s = self.w, self.s
        self.a = a = ARGUMENTS.read(w)

        def tiles(least: int) -> None:
            if least == 0:
                self.tile(a["out"], a["x"], 1, w.lanes_below(self.sums, a["columns"]))
                return
            along = w.loop("column", a["columns"], step=least)
            column = w.smallest(along.index, w.subtract(a["columns"], least))
            out, x = w.element(a["out"], column, self.target.stored), w.element(a["x"], column, self.source.stored)
            self.tile(out, x, least // s.lanes, None)
            along.close()

        w.choose(a["columns"], [(s.vectors * s.lanes, "wide"), (s.lanes, "narrow"), (0, "masked")], tiles)
        w.line("ret void")
        return w.function(s.name, SIGNATURE)

    def tile(self, out: str, x: str, vectors: int, mask: str | None) -> None:
        """All rows of neighbouring columns."""
        w, a, names = self.w, self.a, [f"s{v}" for v in range(vectors)]
        first = w.loop("first", a["size"], {"x": ("ptr", x), **{n: (str(self.sums), "zeroinitializer") for n in names}})
        sums = [self.plus("add", first[n], value) for n, value in zip(names, self.row(first["x"], vectors, mask))]
        first.close({"x": w.offset(first["x"], a["x_row"]), **dict(zip(names, sums))})
        self.store([first[n] for n in names], out, mask)
        carried = {"out": ("ptr", out), "leaving": ("ptr", x), "entering": ("ptr", first["x"])}
        carried |= {n: (str(self.sums), first[n]) for n in names}
        rows = w.loop("row", w.subtract(a["rows"], 1), carried)
        entering, leaving = self.row(rows["entering"], vectors, mask), self.row(rows["leaving"], vectors, mask)
        sums = [
            self.plus("add", rows[n], self.plus("sub", enters, leaves))
            for n, enters, leaves in zip(names, entering, leaving)
        ]
        below = w.offset(rows["out"], a["out_row"])
        self.store(sums, below, mask)
        moved = {name: w.offset(rows[name], a["x_row"]) for name in ("entering", "leaving")}
        rows.close({"out": below, **moved, **dict(zip(names, sums))})

    def row(self, x: str, vectors: int, mask: str | None) -> list[str]:
        """Samples of one row, as sums are formed of them."""
        w = self.w
        read = [w.load(self.samples, w.offset(x, v * self.samples.bytes), mask) for v in range(vectors)]
        return [widen(w, value, self.s.lanes, self.source, self.whole) for value in read]

    def store(self, sums: list[str], out: str, mask: str | None) -> None:
        w, kind = self.w, Vector(self.s.lanes, self.target.stored)
        for v, value in enumerate(sums):
            converted = value if self.target.whole else w.value(f"sitofp {self.sums} {value} to {kind}")
            w.store(kind, converted, w.offset(out, v * kind.bytes), mask)

    def plus(self, operation: str, a: str, b: str) -> str:
        return self.w.value(f"{operation} {self.sums} {a}, {b}")
