"""What kernels that filter images of bytes row by row have in common: phases of vectors, and rows of results.

A vector of bytes is taken for one of numbers 2 or 4 times as long: every 2nd or 4th column of it, from each of the
first ones on, is a phase. Bytes thus become longer numbers, and numbers bytes, by masks and shifts within a lane; and
what lies a few columns on is mostly another phase of what is there already, not the same lanes moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element, narrow

Limits = Literal["saturated", "inside"]
"""Whether results beyond the range of bytes are moved to its ends, or there are none."""


class ByteRows:
    """Writes what all of these kernels do, for vectors of ``lanes`` bytes."""

    def __init__(self, lanes: int) -> None:
        self.w, self.lanes = Writer(), lanes
        self.bytes, self.words = Vector(lanes, "i8"), Vector(lanes // 2, "i16")
        self.longs, self.floats = Vector(lanes // 4, "i32"), Vector(lanes // 4, "float")
        self.a: dict[str, str] = {}

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
