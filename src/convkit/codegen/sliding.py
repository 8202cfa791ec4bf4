"""Sliding sums of integers down the columns: its loop nest as data, and the kernel that `_Nest` writes from it.

Sums of integers are exact in any order, so that each can be had from the one before: what enters the window is added,
what leaves it subtracted. Floating-point sums would drift that way; see `convkit.codegen.boxes` for those.
"""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.numbers import Element, widen
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
    """``out[r, c] = sum_j x[r + j, c]``, j below the number of rows of a window, converted to floating point.

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
            converted = w.value(f"sitofp {self.sums} {value} to {kind}")
            w.store(kind, converted, w.offset(out, v * kind.bytes), mask)

    def plus(self, operation: str, a: str, b: str) -> str:
        return self.w.value(f"{operation} {self.sums} {a}, {b}")
