"""What kernels that filter images of bytes row by row have in common: their rows, edges, vectors of results.

A vector of bytes is taken for one of numbers 2 or 4 times as long: every 2nd or 4th column of it, from each of the
first ones on, is a phase. Bytes thus become longer numbers, and numbers bytes, by masks and shifts within a lane; and
what lies a few columns on is mostly another phase of what is there already, not the same lanes moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element, narrow
from convkit.codegen.pack import FILL

POINTERS = "out x sums windows zeros rows_at edges_at"
NUMBERS = "rows columns begin lead samples first plane width edges out_row"
"""Arguments that all of them have. ``sums``: rows of sums, each phase of them ``plane`` bytes after the one before, with
``width`` bytes in use; ``windows``: those of the first window; ``zeros``: as many bytes. ``rows_at``: for each row of
samples how far it lies from ``x``, or a mark. ``begin``: bytes from a row to its first vector, whose first ``lead``
samples are not there; ``samples`` with these; ``first``: bytes from ``sums`` to where their sums begin. ``edges_at``:
for ``edges`` columns beyond the samples where their sums lie and those that they repeat."""

Limits = Literal["saturated", "inside"]
"""Whether results beyond the range of bytes are moved to its ends, or there are none."""


class ByteRows:
    """Writes what all of these kernels do, for vectors of ``lanes`` bytes."""

    def __init__(self, lanes: int, number: str) -> None:
        self.w, self.lanes = Writer(), lanes
        self.bytes, self.words = Vector(lanes, "i8"), Vector(lanes // 2, "i16")
        self.longs, self.floats = Vector(lanes // 4, "i32"), Vector(lanes // 4, "float")
        self.number = number
        self.a: dict[str, str] = {}

    def clear(self, places: Sequence[str]) -> None:
        """Begin with zeros."""
        w = self.w
        loop = w.loop("clear", self.a["width"], step=self.lanes)
        for place in places:
            w.store(self.words, "zeroinitializer", w.offset(place, loop.index))
        loop.close()

    def phase(self, place: str, number: int) -> str:
        """Where a phase of the sums at ``place`` lies."""
        return self.w.offset(place, self.w.multiply(self.a["plane"], number)) if number else place

    def row(self, number: str) -> str:
        """Where a row's first vector lies; among zeros if there is no such row."""
        w = self.w
        offset = w.load_scalar("i64", w.element(self.a["rows_at"], number, "i64"))
        there = w.offset(w.offset(self.a["x"], offset), self.a["begin"])
        return w.value(f"select i1 {w.value(f'icmp sle i64 {offset}, {FILL}')}, ptr {self.a['zeros']}, ptr {there}")

    def below(self, count: str) -> str:
        """A mask of the first ``count`` bytes; made of one integer, as it takes no vector register on the way."""
        w, bits = self.w, f"i{self.lanes}"
        held = w.call("i64", "llvm.smax.i64", ("i64", count), ("i64", "0"))
        all_of_them = w.value(f"icmp sge i64 {held}, {self.lanes}")
        short = w.value(f"select i1 {all_of_them}, i64 0, i64 {held}")
        if self.lanes < 64:
            short = w.value(f"trunc i64 {short} to {bits}")
        some = w.value(f"xor {bits} {w.value(f'shl {bits} -1, {short}')}, -1")
        chosen = w.value(f"select i1 {all_of_them}, {bits} -1, {bits} {some}")
        return w.value(f"bitcast {bits} {chosen} to {self.bytes.mask}")

    def there(self, at: str) -> str:
        """Which samples of the vector that begins at column ``at`` there are."""
        w, mask = self.w, self.bytes.mask
        missing = self.below(w.subtract(self.a["lead"], at))
        behind = w.value(f"xor {mask} {missing}, splat (i1 true)")
        return w.value(f"and {mask} {behind}, {self.below(w.subtract(self.a['samples'], at))}")

    def beyond(self, sums: str) -> None:
        """Columns beyond the samples that repeat others: the sums of one are those of the other."""
        w, a, scalar = self.w, self.a, self.number
        loop = w.loop("edge", a["edges"])
        at = w.element(a["edges_at"], w.multiply(loop.index, 2), "i64")
        to, source = (w.offset(sums, w.load_scalar("i64", w.element(at, n, "i64"))) for n in (0, 1))
        w.line(f"store {scalar} {w.load_scalar(scalar, source)}, ptr {to}, align 2")
        loop.close()

    def results(self, out: str, vectors: int, found: Callable[[str, int], list[str]]) -> None:
        """A row of results, ``vectors`` of bytes at once as ``found`` gives them; the last one under a mask."""
        w, lanes, columns = self.w, self.lanes, self.a["columns"]

        def write(at: str, count: int, mask: str | None) -> None:
            for v, value in enumerate(found(at, count)):
                w.store(self.bytes, value, w.offset(out, w.add(at, v * lanes)), mask)

        wide = w.loop("column", w.subtract(columns, vectors * lanes - 1), step=vectors * lanes)
        write(wide.index, vectors, None)
        wide.close()
        left = w.subtract(columns, wide.index)
        single = w.loop("single", left, step=lanes)
        write(w.add(wide.index, single.index), 1, self.below(w.subtract(left, single.index)))
        single.close()

    def part(self, whole: str, number: int) -> str:
        """One phase of a vector of bytes that is taken for integers of 32 bits."""
        w, kind = self.w, self.longs
        if number:
            whole = w.value(f"lshr {kind} {whole}, {w.fill(kind, str(8 * number))}")
        return whole if number == 3 else w.value(f"and {kind} {whole}, {w.fill(kind, '255')}")

    def joined(self, phases: Sequence[str], limits: Limits = "saturated") -> str:
        """Four phases of float32, rounded half to even, as a vector of bytes."""
        w, kind, lanes = self.w, self.longs, self.longs.lanes
        total: Any = None
        for number, value in enumerate(phases):
            if limits == "saturated":
                stored = narrow(w, value, lanes, Element("float32"), Element("uint8"))
                long = w.value(f"zext {Vector(lanes, 'i8')} {stored} to {kind}")
            else:
                rounded = w.call(str(self.floats), f"llvm.rint.{self.floats.suffix}", (str(self.floats), value))
                long = w.value(f"fptosi {self.floats} {rounded} to {kind}")
            if total is None:
                total = long
                continue
            total = w.value(f"or {kind} {total}, {w.value(f'shl {kind} {long}, {w.fill(kind, str(8 * number))}')}")
        return w.value(f"bitcast {kind} {total} to {self.bytes}")
