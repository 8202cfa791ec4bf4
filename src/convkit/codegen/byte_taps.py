"""Separable filters over images of bytes, in one pass: the loop nest as data, and the kernel written from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Literal

from convkit.codegen.byte_rows import ByteRows, Limits
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out x sums w", "rows columns samples plane x_row out_row")
"""``x``: rows of samples in scratch memory, ``x_row`` bytes apart, of which whole vectors may be read; windows begin
with the first of ``samples``. ``sums``: `ROWS` rows of sums, each in four phases ``plane`` bytes apart. ``w``: weights
down the columns, then those along the rows."""

ROWS = 8
"""Rows of results that are done together: a row of samples becomes floats ``(ROWS + down - 1) / ROWS`` times."""

Sums = Literal["each", "pairs"]


@dataclass(frozen=True, slots=True)
class ByteTaps:
    """``out[r, c] = round(sum_j b[j] * sum_i a[i] * x[r + i, c + j*step])`` of bytes, saturated, half to even.

    ::

        for each `rows` rows of results:
            for each vector of columns, for each phase of it: a row of samples at a time, sums down the columns
            for each of the rows: for each vector: sums along the row, of all phases; round, store

    Sums down the columns stay in the cache. Along a row four vectors of outputs meet ``taps + 3`` vectors of them, not
    ``4 * taps``, since all but every fourth tap is another phase.

    Attributes
    ----------
    lanes : int
        Bytes in a vector.
    down, along, step : int
        Taps along either axis; how many columns lie from one to the next.
    down_sums, along_sums : {"each", "pairs"}
        Whether each tap is multiplied, or weights are their own mirror image and samples of one weight added first.
    limits : {"saturated", "inside"}
        Whether results may leave the range of bytes, or weights are such that none does.
    """

    lanes: int
    down: int
    along: int
    step: int = 1
    down_sums: Sums = "each"
    along_sums: Sums = "each"
    limits: Limits = "saturated"

    @property
    def name(self) -> str:
        """``byte_taps_<lanes>l_<down>x<along>[_by<step>][_pairs_down][_pairs_along][_inside]``."""
        ending = f"_by{self.step}" * (self.step > 1) + "_pairs_down" * (self.down_sums == "pairs")
        ending += "_pairs_along" * (self.along_sums == "pairs") + "_inside" * (self.limits == "inside")
        return f"byte_taps_{self.lanes}l_{self.down}x{self.along}{ending}"

    @property
    def registers(self) -> int:
        """Vector registers: the samples that a result meets, the next ones on their way, a sum, a weight."""
        return max(self.down + 4, 16)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the samples do not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return _Nest(self).module()


class _Nest(ByteRows):
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, taps: ByteTaps) -> None:
        super().__init__(taps.lanes)
        self.t = taps

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        self.line = w.multiply(a["plane"], 4)
        w.choose(a["rows"], [(ROWS, "tall"), (1, "single")], self.strips)
        w.line("ret void")
        return w.function(self.t.name, SIGNATURE)

    def strips(self, rows: int) -> None:
        """All strips of so many rows; the last one is moved back to end with the results."""
        w, a = self.w, self.a
        loop = w.loop("strip", a["rows"], step=rows)
        row = w.smallest(loop.index, w.subtract(a["rows"], rows))
        first = w.offset(a["x"], w.multiply(row, a["x_row"]))
        places = [w.offset(first, w.multiply(a["x_row"], n)) for n in range(rows + self.t.down - 1)]
        vectors = w.loop("vector", a["samples"], step=self.lanes)
        self.down([w.offset(place, vectors.index) for place in places], w.offset(a["sums"], vectors.index))
        vectors.close()
        out = w.offset(a["out"], w.multiply(row, a["out_row"]))
        each = w.loop("row", str(rows), {"out": ("ptr", out), "sums": ("ptr", a["sums"])})
        self.results(each["out"], 1, lambda at, _: [self.stored(w.offset(each["sums"], at))])
        each.close({"out": w.offset(each["out"], a["out_row"]), "sums": w.offset(each["sums"], self.line)})
        loop.close()

    def down(self, places: list[str], sums: str) -> None:
        """Sums down the columns of one vector of samples, phase by phase."""
        w, t = self.w, self.t
        for number in range(4):
            values: list[str] = []
            target = self.phase(sums, number)
            for place in places:
                part = self.part(w.load(self.longs, place), number)
                values.append(w.value(f"uitofp nneg {self.longs} {part} to {self.floats}"))
                if len(values) < t.down:
                    continue
                w.store(self.floats, self.weighted(values[-t.down :], 0, t.down_sums), target)
                target = w.offset(target, self.line)

    def phase(self, place: str, number: int) -> str:
        """Where a phase of the sums at ``place`` lies."""
        return self.w.offset(place, self.w.multiply(self.a["plane"], number)) if number else place

    def stored(self, windows: str) -> str:
        """Results of the windows that begin in one vector of columns."""
        return self.joined(self.along(windows), self.t.limits)

    def along(self, windows: str) -> list[str]:
        """Sums along the row of the windows that begin in one vector of columns, for each phase."""
        w, t = self.w, self.t
        columns = sorted({number + j * t.step for number in range(4) for j in range(t.along)})
        values = {
            column: w.load(self.floats, w.offset(self.phase(windows, column % 4), column - column % 4))
            for column in columns
        }
        return [
            self.weighted([values[number + j * t.step] for j in range(t.along)], t.down, t.along_sums)
            for number in range(4)
        ]

    def weighted(self, values: list[str], first: int, sums: Sums) -> str:
        """The values times the weights from number ``first`` on; where they are mirrored, from the ends inwards."""
        w, kind, last = self.w, self.floats, len(values) - 1
        if sums == "pairs":
            values = [
                w.value(f"fadd {kind} {values[j]}, {values[last - j]}") if j < last - j else values[j]
                for j in range(last // 2 + 1)
            ]
        weights = [w.splat(kind, w.element(self.a["w"], first + j, "float")) for j in range(len(values))]
        start = w.value(f"fmul {kind} {values[0]}, {weights[0]}")
        return reduce(lambda total, pair: w.fma(kind, *pair, total), zip(values[1:], weights[1:]), start)
