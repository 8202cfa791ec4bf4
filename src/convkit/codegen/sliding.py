"""Sliding sums, down the columns and along the rows: their loop nests as data, and the kernels of them.

Each sum is had from the one before: what enters the window is added, what leaves it subtracted. Sums of integers are
exact in any order, and slide in 32 bits. Those of float32 slide in float64: what every step leaves behind is far below
the rounding of the result, relative to the largest samples that have passed. A NaN that has passed stays, which whoever
uses these kernels has to look for; see `convkit.codegen.boxes` for sums in which nothing stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convkit.codegen.builder import Vector, Writer
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
    """``out[r, c] = sum_j x[r + j, c]``, j below the number of rows of a window.

    ::

        out[0] = sum_j x[j];  for row: out[row] = out[row - 1] + (x[row + size - 1] - x[row - 1])

    Rows are done from left to right, the sums above still in the first-level cache: walking down the columns would meet
    another page of memory at every step.

    Attributes
    ----------
    source, target : str
        What samples and sums are, by NumPy's names. Sums of small integers are exact in floating point as well.
    lanes, vectors : int
        Numbers in a vector of sums, vectors that are done together.
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
    return Sliding(source, sums, target.vector_bytes // Element(sums).bytes, 4)


def exact(source: str, target: str, size: int) -> bool:
    """Whether every sum of ``size`` samples, and of those on the way, is exact."""
    return source in LARGEST and target in MOST and LARGEST[source] * (size + 1) <= MOST[target]


ROW_ARGUMENTS = Arguments.of("out x scale", "rows columns size out_row x_row")
"""As `ARGUMENTS`, ``size`` being columns of a window; ``scale`` is what the sums are multiplied by."""


@dataclass(frozen=True, slots=True)
class SlidingRow:
    """``out[r, c] = scale * sum_j x[r, c + j]`` of sums that have slid down the columns, rounded once as it is stored.

    ::

        for each few rows: sum the first windows
            for each vector of columns: what enters less what leaves, summed from lane to lane, and carried on

    Attributes
    ----------
    sums : {"int32", "float64"}
        What is summed.
    dtype, stored : str
        What ``scale`` is, and what results are stored as, by NumPy's names. Integers are scaled in ``dtype``.
    lanes : int
        Numbers in a vector.
    together : int
        Rows that are done at once, so that none waits for what it carries on.
    """

    sums: str
    dtype: str
    stored: str
    lanes: int
    together: int

    @property
    def name(self) -> str:
        """``sliding_row_<sums>_<type>_<stored>_<lanes>l_<together>``."""
        return f"sliding_row_{self.sums}_{self.dtype}_{self.stored}_{self.lanes}l_{self.together}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _RowNest(self).module()


def sliding_row_for(target: Target, sums: str, dtype: str, stored: str) -> SlidingRow:
    """The loop nest for sums that are scaled by a number of type ``dtype`` and stored as ``stored``."""
    widest = max(Element(sums).bytes, Element(dtype).bytes)
    return SlidingRow(sums, dtype, stored, target.vector_bytes // widest, 4)


class _Sums:
    """Sums of one type: their vectors, and what is done with them."""

    def __init__(self, w: Writer, name: str, lanes: int) -> None:
        self.w, self.element, self.kind = w, Element(name), Vector(lanes, Element(name).stored)
        self.zero = "0" if self.element.whole else "0.0"

    def plus(self, a: str, b: str, kind: str = "") -> str:
        """Their sum; numbers of the scalar type if that is named."""
        return self.w.value(f"{'add' if self.element.whole else 'fadd'} {kind or self.kind} {a}, {b}")

    def minus(self, a: str, b: str) -> str:
        """Their difference."""
        return self.w.value(f"{'sub' if self.element.whole else 'fsub'} {self.kind} {a}, {b}")


class _RowNest:
    """Writes the kernel along rows."""

    def __init__(self, sliding: SlidingRow) -> None:
        self.s, self.w = sliding, Writer()
        self.floats, self.stored = Element(sliding.dtype), Element(sliding.stored)
        self.sums = _Sums(self.w, sliding.sums, sliding.lanes)
        # Integers are rounded to the type that they are scaled in; other sums are scaled as they are.
        self.scaled = self.floats if self.sums.element.whole else self.sums.element

    def module(self) -> str:
        w, s = self.w, self.s
        self.a = a = ROW_ARGUMENTS.read(w)
        scale = w.splat(Vector(s.lanes, self.floats.stored), a["scale"])
        self.scale = widen(w, scale, s.lanes, self.floats, self.scaled)

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
        w, a, names, sums = self.w, self.a, [f"c{n}" for n in range(len(xs))], self.sums
        one = sums.kind.scalar
        size_bytes = w.multiply(a["size"], sums.element.bytes)
        first = w.loop("first", a["size"], dict.fromkeys(names, (one, sums.zero)))
        added = [
            sums.plus(first[name], w.load_scalar(one, w.element(x, first.index, one)), one)
            for name, x in zip(names, xs)
        ]
        first.close(dict(zip(names, added)))
        starts = {name: (str(sums.kind), w.fill(sums.kind, first[name])) for name in names}
        # What enters after the last window is not read: the last vector, whole or not, is done under a mask.
        along = w.loop("column", w.subtract(a["columns"], self.s.lanes), starts, step=self.s.lanes)
        carried = {}
        for name, out, x in zip(names, outs, xs):
            here = w.element(x, along.index, one)
            found, carried[name] = self.windows(here, w.offset(here, size_bytes), along[name], None)
            self.store(found, w.element(out, along.index, self.stored.stored), None)
        along.close(carried)
        left = w.subtract(a["columns"], along.index)
        read, written = w.lanes_below(sums.kind, w.subtract(left, 1)), w.lanes_below(sums.kind, left)
        for name, out, x in zip(names, outs, xs):
            here = w.element(x, along.index, one)
            found, _ = self.windows(here, w.offset(here, size_bytes), along[name], read)
            self.store(found, w.element(out, along.index, self.stored.stored), written)

    def windows(self, leaving: str, entering: str, carried: str, mask: str | None) -> tuple[str, str]:
        """A vector of windows that begin one after another, the first of them known; and the one after them."""
        w, lanes, sums = self.w, self.s.lanes, self.sums
        change = sums.minus(w.load(sums.kind, entering, mask), w.load(sums.kind, leaving, mask))
        total, apart = change, 1
        while apart < lanes:
            moved = w.shuffle(sums.kind, "zeroinitializer", total, range(lanes - apart, 2 * lanes - apart))
            total, apart = sums.plus(total, moved), 2 * apart
        last = w.shuffle(sums.kind, total, "poison", [lanes - 1] * lanes)
        return sums.plus(carried, sums.minus(total, change)), sums.plus(carried, last)

    def store(self, sums: str, out: str, mask: str | None) -> None:
        w, lanes = self.w, self.s.lanes
        value = widen(w, sums, lanes, self.sums.element, self.scaled)
        scaled = w.value(f"fmul {Vector(lanes, self.scaled.stored)} {value}, {self.scale}")
        value = narrow(w, scaled, lanes, self.scaled, self.stored)
        w.store(Vector(lanes, self.stored.stored), value, out, mask)


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, sliding: Sliding) -> None:
        self.s, self.w = sliding, Writer()
        self.source = Element(sliding.source)
        self.sums = _Sums(self.w, sliding.target, sliding.lanes)
        self.samples = Vector(sliding.lanes, self.source.stored)

    def module(self) -> str:
        w, s = self.w, self.s
        self.a = a = ARGUMENTS.read(w)
        self.columns(lambda at, mask: self.store(a["out"], at, self.sample(a["x"], at, mask), mask))
        entering = w.offset(a["x"], a["x_row"])
        first = w.loop("first", w.subtract(a["size"], 1), {"x": ("ptr", entering)})
        self.columns(lambda at, mask: self.add(a["out"], a["out"], first["x"], None, at, mask))
        first.close({"x": w.offset(first["x"], a["x_row"])})
        carried = {"out": ("ptr", a["out"]), "leaving": ("ptr", a["x"]), "entering": ("ptr", first["x"])}
        rows = w.loop("row", w.subtract(a["rows"], 1), carried)
        below = w.offset(rows["out"], a["out_row"])
        self.columns(lambda at, mask: self.add(below, rows["out"], rows["entering"], rows["leaving"], at, mask))
        rows.close({"out": below, **{name: w.offset(rows[name], a["x_row"]) for name in ("entering", "leaving")}})
        w.line("ret void")
        return w.function(s.name, SIGNATURE)

    def columns(self, write: Callable[[str, str | None], None]) -> None:
        """One row, from left to right, as memory likes to be read: the last vector, whole or not, under a mask."""
        w, s = self.w, self.s
        wide = w.loop("wide", w.subtract(self.a["columns"], s.vectors * s.lanes), step=s.vectors * s.lanes)
        for v in range(s.vectors):
            write(w.add(wide.index, v * s.lanes), None)
        wide.close()
        left = w.subtract(self.a["columns"], wide.index)
        single = w.loop("single", w.subtract(left, s.lanes), step=s.lanes)
        write(w.add(wide.index, single.index), None)
        single.close()
        mask = w.lanes_below(self.sums.kind, w.subtract(left, single.index))
        write(w.add(wide.index, single.index), mask)

    def add(self, out: str, before: str, entering: str, leaving: str | None, at: str, mask: str | None) -> None:
        """The sums ``before``, and what enters them less what leaves them."""
        change = self.sample(entering, at, mask)
        if leaving is not None:
            change = self.sums.minus(change, self.sample(leaving, at, mask))
        known = self.w.load(self.sums.kind, self.w.element(before, at, self.sums.kind.scalar), mask)
        self.store(out, at, self.sums.plus(known, change), mask)

    def sample(self, x: str, at: str, mask: str | None) -> str:
        """Samples of one row, as sums are formed of them."""
        read = self.w.load(self.samples, self.w.element(x, at, self.source.stored), mask)
        return widen(self.w, read, self.s.lanes, self.source, self.sums.element)

    def store(self, out: str, at: str, sums: str, mask: str | None) -> None:
        self.w.store(self.sums.kind, sums, self.w.element(out, at, self.sums.kind.scalar), mask)
