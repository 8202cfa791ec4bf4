"""Tiles of exact integer sums on their way out: columns that were summed apart are brought together and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.numbers import Element, limits
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out sums status", "planes out_plane sums_plane rows out_row sums_row phase columns")
"""``phase``: bytes from the sums of one phase to those of the next. ``status``: a 64-bit word, set to 1 where a sum
does not fit. Strides are in bytes, of either sign for ``out``; ``rows`` and ``columns`` count outputs."""

Fit = Literal["saturate", "check", "wrap"]


@dataclass(frozen=True, slots=True)
class Interleave:
    """The kernel that stores whole numbers as an integer type, side by side.

    ::

        for plane: for row: for phases * lanes outputs: load a vector of each phase; interleave, narrow and store them

    ``out[phases*i + p] = sums[p, i]``. Whole vectors are read from ``sums``, up to one beyond the last column.

    Attributes
    ----------
    source : {"int32", "float32", "float64"}
        What the sums, which are whole numbers, lie in memory as.
    target : str
        The integer type that is stored.
    phases : int
        1, 2 or 4; more than 1 for ``int32`` alone.
    fit : {"saturate", "check", "wrap"}
        What becomes of sums that do not fit: the nearest number that does, the same and the status is set, or their
        lowest bits.
    """

    source: str
    target: str
    phases: int
    fit: Fit

    @property
    def packs(self) -> bool:
        """Whether sums are saturated while they are brought together, at no cost."""
        return self.fit != "wrap" and (self.phases, Element(self.target).bytes) in ((4, 1), (4, 2), (2, 2))

    @property
    def name(self) -> str:
        """``interleave_<source>_<target>_<phases>_<fit>``."""
        return f"interleave_{self.source}_{self.target}_{self.phases}_{self.fit}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    def __init__(self, kernel: Interleave, target: Target) -> None:
        self.k, self.w = kernel, Writer()
        self.source, self.target = Element(kernel.source), Element(kernel.target)
        self.lanes = target.vector_bytes // self.source.bytes
        self.loaded = Vector(self.lanes, self.source.stored)
        self.whole = Vector(self.lanes, "i64" if self.source.bytes == 8 else "i32")

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        carried = {"out": ("ptr", a["out"]), "sums": ("ptr", a["sums"])}
        planes = w.loop("plane", a["planes"], carried)
        rows = w.loop("row", a["rows"], {name: ("ptr", planes[name]) for name in carried})
        self.row(rows["out"], rows["sums"])
        rows.close({name: w.offset(rows[name], a[f"{name}_row"]) for name in carried})
        planes.close({name: w.offset(planes[name], a[f"{name}_plane"]) for name in carried})
        w.line("ret void")
        return w.function(self.k.name, SIGNATURE)

    def row(self, out: str, sums: str) -> None:
        """A row: whole turns, and then what is left of one."""
        w, count = self.w, self.a["columns"]
        turn = self.k.phases * self.lanes
        extremes = {"low": (str(self.whole), "zeroinitializer"), "high": (str(self.whole), "zeroinitializer")}
        loop = w.loop("turn", w.subtract(count, turn - 1), extremes if self.k.fit == "check" else {}, step=turn)
        values = self.load(sums, loop.index, None)
        following = self.extremes(values, loop["low"], loop["high"]) if self.k.fit == "check" else {}
        self.store(values, w.element(out, loop.index, self.target.stored), None)
        loop.close(following)
        if self.k.fit == "check":
            self.report(loop["low"], loop["high"])
        rest = w.subtract(count, loop.index)

        def last() -> None:
            values = self.load(sums, loop.index, rest)
            if self.k.fit == "check":
                found = self.extremes(values, "zeroinitializer", "zeroinitializer")
                self.report(found["low"], found["high"])
            self.store(values, w.element(out, loop.index, self.target.stored), rest)

        w.when(w.value(f"icmp sgt i64 {rest}, 0"), last)

    def load(self, sums: str, column: str, rest: str | None) -> list[str]:
        """A vector of each phase as integers; zeros, where it matters, beyond the last column."""
        w, k = self.w, self.k
        at = w.value(f"sdiv exact i64 {column}, {k.phases}") if k.phases > 1 else column
        begin = w.element(sums, at, self.source.stored)
        values: list[str] = []
        for phase in range(k.phases):
            value = w.load(self.loaded, w.offset(begin, w.multiply(self.a["phase"], phase) if phase else 0))
            if not self.source.whole:
                value = w.value(f"fptosi {self.loaded} {value} to {self.whole}")
            if rest is not None and k.fit == "check":
                count = w.value(f"sdiv i64 {w.add(rest, k.phases - 1 - phase)}, {k.phases}")
                held = w.lanes_below(self.whole, count)
                value = w.value(f"select {self.whole.mask} {held}, {self.whole} {value}, {self.whole} zeroinitializer")
            values.append(value)
        return values

    def extremes(self, values: Sequence[str], low: str, high: str) -> dict[str, str]:
        """The least and the largest so far, lane by lane."""
        w, kind = self.w, str(self.whole)
        for value in values:
            low = w.call(kind, f"llvm.smin.{self.whole.suffix}", (kind, low), (kind, value))
            high = w.call(kind, f"llvm.smax.{self.whole.suffix}", (kind, high), (kind, value))
        return {"low": low, "high": high}

    def report(self, low: str, high: str) -> None:
        """Set the status if one of these does not fit."""
        w, kind = self.w, self.whole
        least, most = limits(self.target)
        own = limits(Element("int64" if kind.scalar == "i64" else "int32"))
        below = w.value(f"icmp slt {kind} {low}, {w.fill(kind, str(max(least, own[0])))}")
        above = w.value(f"icmp sgt {kind} {high}, {w.fill(kind, str(min(most, own[1])))}")
        either = w.value(f"or {kind.mask} {below}, {above}")
        bits = w.value(f"bitcast {kind.mask} {either} to i{kind.lanes}")
        w.when(
            w.value(f"icmp ne i{kind.lanes} {bits}, 0"),
            lambda: w.line(f"store i64 1, ptr {self.a['status']}, align 8"),
        )

    def store(self, values: list[str], out: str, rest: str | None) -> None:
        """Store a turn's outputs, or the first ``rest`` of them."""
        w = self.w
        stored = self.target.stored
        if self.k.packs:
            kind = Vector(self.loaded.bytes // self.target.bytes, stored)
            for n, value in enumerate(self.packed(values)):
                mask = None if rest is None else w.lanes_below(kind, w.subtract(rest, n * kind.lanes) if n else rest)
                w.store(kind, value, w.element(out, n * kind.lanes, stored), mask)
            return
        want = Vector(self.lanes, stored)
        for n, value in enumerate(self.together(values)):
            if self.k.fit != "wrap":
                value = _clamp(w, value, self.whole, self.target)
            mask = None
            if rest is not None:
                mask = w.lanes_below(Vector(self.lanes, "i32"), w.subtract(rest, n * self.lanes) if n else rest)
            w.store(want, _resize(w, value, self.whole, want), w.element(out, n * self.lanes, stored), mask)

    def together(self, values: list[str]) -> list[str]:
        """Vectors of neighbouring outputs."""
        w, lanes = self.w, self.lanes
        if len(values) == 1:
            return values
        even, odd = self.together(values[0::2]), self.together(values[1::2])
        halves = [[n // 2 + lanes * (n % 2) for n in range(at, at + lanes)] for at in (0, lanes)]
        return [w.shuffle(self.whole, a, b, half) for a, b in zip(even, odd, strict=True) for half in halves]

    def packed(self, values: list[str]) -> list[str]:
        """Vectors of 32-bit numbers as vectors of neighbouring words or bytes, saturated: full ones."""
        w, lanes = self.w, self.lanes
        words = Vector(2 * lanes, "i16")
        # Each 16 bytes of a pair hold four numbers of one phase and four of the next.
        narrow = "u" if self.k.target == "uint16" else "s"
        pairs = [
            self.pack(f"{narrow}sdw", self.whole, words, values[n], values[n + 1]) for n in range(0, len(values), 2)
        ]
        if self.target.bytes == 1:
            kind = Vector(4 * lanes, "i8")
            whole = self.pack("sswb" if self.target.signed else "uswb", words, kind, *pairs)
            return [w.shuffle(kind, whole, whole, [n // 16 * 16 + n % 4 * 4 + n % 16 // 4 for n in range(4 * lanes)])]
        if len(pairs) == 1:
            return [
                w.shuffle(words, pairs[0], pairs[0], [n // 8 * 8 + n % 2 * 4 + n % 8 // 2 for n in range(2 * lanes)])
            ]
        every = [n // 16 * 8 + n % 2 * 4 + n % 4 // 2 * 2 * lanes + n % 16 // 4 for n in range(4 * lanes)]
        return [w.shuffle(words, pairs[0], pairs[1], every[at : at + 2 * lanes]) for at in (0, 2 * lanes)]

    def pack(self, how: str, have: Vector, want: Vector, a: str, b: str) -> str:
        """Two vectors as one of numbers half as wide, 16 bytes by 16 bytes."""
        name = f"llvm.x86.avx512.pack{how}.512" if have.bytes == 64 else f"llvm.x86.avx2.pack{how}"
        return self.w.call(str(want), name, (str(have), a), (str(have), b))


def _clamp(w: Writer, value: str, kind: Vector, target: Element) -> str:
    """Integers with a sign, each the nearest one that ``target`` holds."""
    own = limits(Element("int64" if kind.scalar == "i64" else "int32"))
    low, high = limits(target)
    if low > own[0]:
        value = _bounded(w, value, kind, low, "smax")
    return _bounded(w, value, kind, high, "smin") if high < own[1] else value


def _bounded(w: Writer, value: str, kind: Vector, limit: int, name: str) -> str:
    bound = w.fill(kind, str(limit))
    return w.call(str(kind), f"llvm.{name}.{kind.suffix}", (str(kind), value), (str(kind), bound))


def _resize(w: Writer, value: str, have: Vector, want: Vector) -> str:
    """Integers with a sign in another size: their lowest bits, or the sign repeated."""
    if have.scalar == want.scalar:
        return value
    longer = ITEM_BYTES[have.scalar] < ITEM_BYTES[want.scalar]
    return w.value(f"{'sext' if longer else 'trunc'} {have} {value} to {want}")
