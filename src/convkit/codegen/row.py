"""Convolution along contiguous samples: its loop nest as data, and the kernel that `_Nest` writes from it.

Neighbouring taps read vectors that overlap in all lanes but one. Loads of them straddle cache lines, so that a loop of
one load a multiply-add waits for memory. Where vectors are 64 bytes wide, most shifted vectors are therefore put
together from two neighbours in registers; the rest is loaded, so that both ways are busy at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from convkit.codegen.arithmetic import ElementType
from convkit.codegen.builder import ITEM_BYTES, Loop, Vector, Writer
from convkit.codegen.numbers import Element, narrow
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out x w", "rows columns chunks taps out_row x_row x_step lead")
"""``chunks``: how often a chunk of taps is taken together; ``taps``: how many the nest without shifts takes one by one.
Strides, and ``x_step`` from tap to tap, are in bytes, of either sign.
``lead``: columns before the first that begins a line of the cache; only streamed results need it."""

WIDEST_STEP = 4
"""Samples from tap to tap up to which vectors are shifted: the channels of a pixel."""

SCALARS = {"float32": "float", "float64": "double"}


@dataclass(frozen=True, slots=True)
class RowSchedule:
    """Which loops the kernel has.

    ::

        for row: for each tile of `vectors` vectors of outputs, held in registers:
            for each chunk of taps: load vectors + step vectors of samples;
                for each tap: shift or load `vectors` vectors; `vectors` multiply-adds
            the same for the `rest` taps that are left

    ``out[r, c] = sum_j x[r, c + j*step] * w[j]``, every output by the same sequence of multiply-adds, whichever tile it
    stands in: the last tile of a row is moved back to end with the row; rows that are shorter than a vector are read
    and written under a mask. Nothing outside the rows is touched.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        What samples, weights and sums are.
    lanes : int
        Numbers in a vector.
    vectors : int
        Vectors of the wide tile; others are half as wide, and one vector wide.
    rest : int or None
        Taps after the last whole chunk; None for the nest whose taps are loaded one by one, any distance apart.
    stored : str
        What the sums are stored as, by NumPy's name, rounded once and saturated; the type of the sums if empty.
    results : {"cached", "streamed"}
        Streamed results are written past the caches, so that memory need not be read before it is written.
    step : int
        How many samples lie from one shifted tap to the next.
    """

    dtype: ElementType
    lanes: int
    vectors: int
    rest: int | None
    stored: str = ""
    results: Literal["cached", "streamed"] = "cached"
    step: int = 1

    @property
    def name(self) -> str:
        """``row_<type>_<lanes>l_<vectors>_<rest>[_by<step>][_<stored>][_streamed]``, or ``..._taps...``."""
        kind = {"float32": "f32", "float64": "f64"}[self.dtype]
        ending = (
            f"_by{self.step}" * (self.step > 1)
            + ("_" + self.stored) * bool(self.stored)
            + "_streamed" * (self.results == "streamed")
        )
        return f"row_{kind}_{self.lanes}l_{self.vectors}_{'taps' if self.rest is None else self.rest}{ending}"

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, a weight, the vectors of samples and a shifted one."""
        return self.vectors + 1 + (1 if self.rest is None else self.vectors + self.step + 1)

    @property
    def chunk(self) -> int:
        """Taps taken together: as many as all move lanes differently, so that no shifted vector has to be kept."""
        return self.lanes // math.gcd(self.step, self.lanes)

    def counts(self, kernel: int) -> dict[str, int]:
        """The arguments ``chunks`` and ``taps`` for a kernel of so many elements.

        Raises
        ------
        ValueError
            If the schedule is made for another number of taps after the last chunk.
        """
        if self.rest is None:
            return {"chunks": 0, "taps": kernel}
        if kernel % self.chunk != self.rest:
            raise ValueError(f"{self.name} has not the taps for a kernel of {kernel}")
        return {"chunks": kernel // self.chunk, "taps": 0}

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the tile does not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return _Nest(self, target).module()


def row_schedule_for(target: Target, dtype: ElementType, kernel: int, step: int = 1, stored: str = "") -> RowSchedule:
    """The loop nest for ``kernel`` taps that stand ``step`` samples apart; what the sums are ``stored`` as."""
    scalar = SCALARS[dtype]
    lanes = target.vector_bytes // ITEM_BYTES[scalar]
    shifts = target.vector_bytes == 64 and step <= WIDEST_STEP
    schedule = RowSchedule(dtype, lanes, 8, None, "" if stored == dtype else stored)
    if not shifts:
        return schedule
    schedule = replace(schedule, step=step)
    return replace(schedule, rest=kernel % schedule.chunk)


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, schedule: RowSchedule, target: Target) -> None:
        self.s, self.w, self.target = schedule, Writer(), target
        self.sums, self.stored = Element(schedule.dtype), Element(schedule.stored or schedule.dtype)
        self.kind = Vector(schedule.lanes, SCALARS[schedule.dtype])
        self.whole = Vector(schedule.lanes, {"float": "i32", "double": "i64"}[self.kind.scalar])

    def module(self) -> str:
        w, s = self.w, self.s
        self.a = a = ARGUMENTS.read(w)
        rows = w.loop("row", a["rows"], {"out": ("ptr", a["out"]), "x": ("ptr", a["x"])})

        def tiles(least: int) -> None:
            if least == 0:
                self.tile(rows["out"], rows["x"], 1, w.lanes_below(self.kind, a["columns"]))
                return
            width = s.vectors * s.lanes
            if s.results == "streamed" and least == width:
                before = w.loop("before", a["lead"], step=s.lanes)
                self.tile(*self.at(rows, before.index), 1, None)
                before.close()
                whole = w.loop("line", w.subtract(a["columns"], w.add(a["lead"], width - 1)), step=width)
                self.tile(*self.at(rows, w.add(whole.index, a["lead"])), s.vectors, None, "streamed")
                whole.close()
                done, least = w.add(whole.index, a["lead"]), width // 2
            else:
                done = "0"
            along = w.loop("column", w.subtract(a["columns"], done), step=least)
            column = w.smallest(w.add(done, along.index), w.subtract(a["columns"], least))
            self.tile(*self.at(rows, column), least // s.lanes, None)
            along.close()

        sizes = [(n * s.lanes, name) for n, name in ((s.vectors, "wide"), (s.vectors // 2, "half"), (1, "narrow"))]
        w.choose(a["columns"], [*sizes, (0, "masked")], tiles)
        rows.close({name: w.offset(rows[name], a[f"{name}_row"]) for name in ("out", "x")})
        if s.results == "streamed" and self.target.triple.startswith(("x86_64", "amd64")):
            w.call("void", "llvm.x86.sse.sfence")  # streamed results are seen by others only after it
        w.line("ret void")
        return w.function(s.name, SIGNATURE)

    def at(self, rows: Loop, column: str) -> tuple[str, str]:
        """Where a column lies, in the results and in the samples."""
        w = self.w
        return w.element(rows["out"], column, self.stored.stored), w.element(rows["x"], column, self.kind.scalar)

    def tile(self, out: str, x: str, vectors: int, mask: str | None, results: str = "cached") -> None:
        """One register tile: zero sums, every tap, then the sums are stored."""
        w, s = self.w, self.s
        sums, weights = ["zeroinitializer"] * vectors, self.a["w"]
        if s.rest is None:
            sums, x, weights = self.one_by_one(x, weights, sums, self.a["taps"], mask)
        elif vectors == 1:
            count = w.add(w.multiply(self.a["chunks"], s.chunk), s.rest)
            sums, x, weights = self.one_by_one(x, weights, sums, count, mask)
        else:
            sums, x, weights = self.chunks(x, weights, sums)
            sums = self.shifted(x, weights, sums, s.rest)
        kind = Vector(s.lanes, self.stored.stored)
        for v in range(vectors):
            value, place = narrow(w, sums[v], s.lanes, self.sums, self.stored), w.offset(out, v * kind.bytes)
            if results == "streamed":
                w.stream(kind, value, place)
            else:
                w.store(kind, value, place, mask)

    def chunks(self, x: str, weights: str, sums: list[str]) -> tuple[list[str], str, str]:
        """All whole chunks of taps: what the sums are after them, and where samples and weights go on."""
        w, s = self.w, self.s
        loop, names = self.carrying("chunk", self.a["chunks"], x, weights, sums)
        later = self.shifted(loop["x"], loop["w"], [loop[name] for name in names], s.chunk)
        loop.close({
            "x": w.element(loop["x"], s.chunk * s.step, self.kind.scalar),
            "w": w.element(loop["w"], s.chunk, self.kind.scalar),
            **dict(zip(names, later)),
        })  # fmt: skip
        return [loop[name] for name in names], loop["x"], loop["w"]

    def shifted(self, x: str, weights: str, sums: list[str], taps: int) -> list[str]:
        """``taps`` neighbouring taps, a vector of them at most: most vectors of samples come from two others."""
        w, s, count = self.w, self.s, len(sums)
        if taps == 0:
            return sums
        reached = count * s.lanes + (taps - 1) * s.step
        samples = []
        for v in range(-(-reached // s.lanes)):
            # As integers: LLVM shifts their lanes by one instruction, where it permutes other numbers by tables.
            # Of the last vector only the lanes that a tap reaches are read.
            held = min(s.lanes, reached - v * s.lanes)
            mask = None if held == s.lanes else f"<{', '.join(f'i1 {int(lane < held)}' for lane in range(s.lanes))}>"
            samples.append(w.load(self.whole, w.offset(x, v * self.kind.bytes), mask))
        for j in range(taps):
            weight = w.splat(self.kind, w.element(weights, j, self.kind.scalar))
            whole, lane = divmod(j * s.step, s.lanes)
            picked = range(lane, lane + s.lanes)
            loads = loaded(j)
            at = w.element(x, j * s.step, self.kind.scalar)
            following = []
            for v in range(count):
                if lane == 0:
                    value = self.as_numbers(samples[v + whole])
                elif loads:
                    value = w.load(self.kind, w.offset(at, v * self.kind.bytes))
                else:
                    value = self.as_numbers(w.shuffle(self.whole, samples[v + whole], samples[v + whole + 1], picked))
                following.append(w.fma(self.kind, value, weight, sums[v]))
            sums = following
        return sums

    def one_by_one(
        self, x: str, weights: str, sums: list[str], count: str, mask: str | None
    ) -> tuple[list[str], str, str]:
        """``count`` taps, each with vectors of its own from memory."""
        w, size = self.w, ITEM_BYTES[self.kind.scalar]
        loop, names = self.carrying("tap", count, x, weights, sums)
        weight = w.splat(self.kind, loop["w"])
        later = [
            w.fma(self.kind, w.load(self.kind, w.offset(loop["x"], v * self.kind.bytes), mask), weight, loop[name])
            for v, name in enumerate(names)
        ]
        loop.close({
            "x": w.offset(loop["x"], self.a["x_step"]), "w": w.offset(loop["w"], size), **dict(zip(names, later)),
        })  # fmt: skip
        return [loop[name] for name in names], loop["x"], loop["w"]

    def as_numbers(self, whole: str) -> str:
        return self.w.value(f"bitcast {self.whole} {whole} to {self.kind}")

    def carrying(self, name: str, count: str, x: str, weights: str, sums: list[str]) -> tuple[Loop, list[str]]:
        """A loop that carries samples, weights and sums, and the names of the sums."""
        names = [f"s{n}" for n in range(len(sums))]
        kept = {name: (str(self.kind), start) for name, start in zip(names, sums)}
        return self.w.loop(name, count, {"x": ("ptr", x), "w": ("ptr", weights), **kept}), names


def loaded(tap: int) -> bool:
    """Whether the samples of a tap are loaded rather than shifted: every second tap's, found by trying other shares.

    Shifts share a port with multiply-adds, loads that straddle cache lines take two turns of their own.
    """
    return tap % 2 == 1
