"""Boxes of bytes, summed in 16 bits: the loop nest as data, and the kernel that `_Nest` writes from it.

Even and odd columns are phases, see `convkit.codegen.byte_rows`. As long as no window's sum exceeds 16 bits, every sum
is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from convkit.codegen.builder import Vector
from convkit.codegen.byte_rows import ByteRows
from convkit.codegen.numbers import Element, widen
from convkit.codegen.pack import FILL
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "out x sums windows zeros rows_at edges_at rounding",
    "rows down columns begin lead samples first plane edges pairs single step near far out_row",
)
"""``sums``: a row of sums, those of even columns and ``plane`` bytes on those of odd ones; ``windows``: those of the
first window; ``zeros``: ``plane`` bytes. ``rows_at``: for each row of samples, after one mark, how far it lies from
``x``, or a mark. ``begin``: bytes from a row to its first vector, whose first ``lead`` samples are not there;
``samples`` with these; ``first``: bytes from ``sums`` to where their sums begin. ``edges_at``: for ``edges`` columns
beyond the samples where their sums lie and those that they repeat. ``down``: rows of a window. ``rounding``: what
`convkit.codegen.byte_rounding` gives. The rest is what `steps` gives."""


@dataclass(frozen=True, slots=True)
class ByteBox:
    """``out[r, c] = round(scale * sum_ij x[r + i, c + j*d])`` of bytes, saturated, half to even.

    ::

        for row of samples: sums += what enters the window - what leaves it; columns beyond the edges are copied
            if a window ends here, for each tile of `vectors` vectors:
                for each pair of window columns: add their sums; then scale, round, store

    A row of sums stays in the first-level cache. Sums of neighbouring windows have all columns but one in common.

    Attributes
    ----------
    apart : {"neighbours", "any"}
        Whether the columns of a window lie side by side or any distance ``d`` from each other.
    lanes, vectors : int
        Bytes in a vector, vectors of a tile.
    """

    apart: Literal["neighbours", "any"]
    lanes: int
    vectors: int

    @property
    def name(self) -> str:
        """``byte_box_<apart>_<lanes>l_<vectors>``."""
        return f"byte_box_{self.apart}_{self.lanes}l_{self.vectors}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self).module()


def byte_box_for(target: Target, step: int) -> ByteBox:
    """The loop nest for windows whose columns lie ``step`` apart."""
    return ByteBox("neighbours" if step == 1 else "any", target.vector_bytes, 2)


def steps(size: int, apart: int, plane: int) -> dict[str, int]:
    """How a window of ``size`` columns that lie ``apart`` is summed: the arguments that say it.

    ``pairs`` of columns are ``step`` bytes from each other, ``single`` counts a column left over. Of neighbours, those
    after a window's first column are summed for it and for the next window, which ends ``near`` bytes on; of others
    the second of a pair lies ``near`` bytes from the first, or ``far`` bytes for windows that begin in odd columns.
    """

    def at(column: int) -> int:
        return plane * (column % 2) + column - column % 2

    if apart == 1:
        return {"pairs": (size - 1) // 2, "single": (size - 1) % 2, "step": 2, "near": at(size), "far": 0}
    return {"pairs": size // 2, "single": size % 2, "step": 2 * apart, "near": at(apart), "far": at(apart + 1)}


class _Nest(ByteRows):
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, box: ByteBox) -> None:
        super().__init__(box.lanes)
        self.b, self.tile = box, box.vectors * box.lanes

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        self.clear([a["sums"], w.offset(a["sums"], a["plane"]), a["zeros"]])
        self.entered = self.there("0")
        self.numbers = self.rounding_numbers()
        before = w.subtract(a["down"], 1)
        rows = w.loop("row", w.add(a["rows"], before), {"out": ("ptr", a["out"])})
        left = w.call("i64", "llvm.smax.i64", ("i64", w.subtract(rows.index, before)), ("i64", "0"))
        self.update(self.row(w.add(rows.index, 1)), self.row(left))
        self.beyond(a["sums"])
        ends = w.value(f"icmp sge i64 {rows.index}, {before}")
        exact = w.value(f"icmp ne i32 {self.multiplier}, 0")

        def results(rounded: Callable[[str, str], str]) -> None:
            def found(at: str, vectors: int) -> list[str]:
                places = [w.offset(a["windows"], w.add(at, v * self.lanes)) for v in range(vectors)]
                return [rounded(even, odd) for even, odd in self.windows(places)]

            self.results(rows["out"], self.b.vectors, found)

        w.when(ends, lambda: w.when(exact, lambda: results(self.in_words), lambda: results(self.in_floats)))
        moved = w.value(f"select i1 {ends}, i64 {a['out_row']}, i64 0")
        rows.close({"out": w.offset(rows["out"], moved)})
        w.line("ret void")
        return w.function(self.b.name, SIGNATURE)

    def clear(self, places: Sequence[str]) -> None:
        """Begin with zeros."""
        w = self.w
        loop = w.loop("clear", self.a["plane"], step=self.lanes)
        for place in places:
            w.store(self.words, "zeroinitializer", w.offset(place, loop.index))
        loop.close()

    def row(self, number: str) -> str:
        """Where a row's first vector lies; among zeros if there is no such row."""
        w = self.w
        offset = w.load_scalar("i64", w.element(self.a["rows_at"], number, "i64"))
        there = w.offset(w.offset(self.a["x"], offset), self.a["begin"])
        return w.value(f"select i1 {w.value(f'icmp sle i64 {offset}, {FILL}')}, ptr {self.a['zeros']}, ptr {there}")

    def rounding_numbers(self) -> tuple[str, str, str, str]:
        """The factor, what is added, the multiplier, and bits, in every lane."""
        w, at = self.w, self.a["rounding"]
        words = [w.load_scalar("i32", w.element(at, n, "i32")) for n in (1, 2, 3)]
        self.multiplier = words[1]
        short = [w.fill(self.words, w.value(f"trunc i32 {word} to i16")) for word in words]
        return w.splat(self.floats, at), short[0], short[1], short[2]

    # ---------------------------------------------------------------------------------------------- down the columns

    def update(self, entering: str, leaving: str) -> None:
        """The row of sums, from left to right; its two ends under masks."""
        w, a, lanes = self.w, self.a, self.lanes
        sums = w.offset(a["sums"], a["first"])

        def change(at: str, mask: str | None) -> None:
            new, old = (self.halves(w.load(self.bytes, w.offset(row, at), mask)) for row in (entering, leaving))
            place = w.offset(sums, at)
            for where, more, less in zip((place, w.offset(place, a["plane"])), new, old):
                known = self.plus(w.load(self.words, where), more)
                w.store(self.words, w.value(f"sub {self.words} {known}, {less}"), where)

        change("0", self.entered)
        left = w.subtract(a["samples"], lanes)
        wide = w.loop("enter", w.subtract(left, self.tile - 1), step=self.tile)
        for v in range(self.b.vectors):
            change(w.add(wide.index, (v + 1) * lanes), None)
        wide.close()
        single = w.loop("single", w.subtract(w.subtract(left, wide.index), lanes - 1), step=lanes)
        change(w.add(w.add(wide.index, single.index), lanes), None)
        single.close()
        done = w.add(wide.index, single.index)
        rest = w.subtract(left, done)
        mask = self.below(rest)
        w.when(w.value(f"icmp sgt i64 {rest}, 0"), lambda: change(w.add(done, lanes), mask))

    def there(self, at: str) -> str:
        """Which samples of the vector that begins at column ``at`` there are."""
        w, mask = self.w, self.bytes.mask
        missing = self.below(w.subtract(self.a["lead"], at))
        behind = w.value(f"xor {mask} {missing}, splat (i1 true)")
        return w.value(f"and {mask} {behind}, {self.below(w.subtract(self.a['samples'], at))}")

    def halves(self, samples: str) -> tuple[str, str]:
        """The samples of even columns and those of odd columns."""
        w, kind = self.w, self.words
        words = w.value(f"bitcast {self.bytes} {samples} to {kind}")
        even = w.value(f"and {kind} {words}, {w.fill(kind, '255')}")
        return even, w.value(f"lshr {kind} {words}, {w.fill(kind, '8')}")

    def beyond(self, sums: str) -> None:
        """Columns beyond the samples that repeat others: the sums of one are those of the other."""
        w, a = self.w, self.a
        loop = w.loop("edge", a["edges"])
        at = w.element(a["edges_at"], w.multiply(loop.index, 2), "i64")
        to, source = (w.offset(sums, w.load_scalar("i64", w.element(at, n, "i64"))) for n in (0, 1))
        w.line(f"store i16 {w.load_scalar('i16', source)}, ptr {to}, align 2")
        loop.close()

    # ------------------------------------------------------------------------------------------------ along the rows

    def windows(self, places: list[str]) -> list[tuple[str, str]]:
        """The sums of windows that begin in even columns and in odd ones, for some vectors of columns."""
        return self.of_neighbours(places) if self.b.apart == "neighbours" else self.of_any(places)

    def of_neighbours(self, places: list[str]) -> list[tuple[str, str]]:
        a = self.a

        def two(at: str, total: str) -> str:
            return self.plus(self.plus(total, self.sums(at, a["plane"])), self.sums(at, 2))

        def one(at: str, total: str) -> str:
            return self.plus(total, self.sums(at, a["plane"]))

        common = self.along(places, a["pairs"], [two])
        common = self.along([at for at, _ in common], a["single"], [one], [totals for _, totals in common])
        return [
            (self.plus(totals[0], self.sums(place, 0)), self.plus(totals[0], self.sums(place, a["near"])))
            for place, (_, totals) in zip(places, common)
        ]

    def of_any(self, places: list[str]) -> list[tuple[str, str]]:
        a = self.a

        def even(at: str, total: str) -> str:
            return self.plus(total, self.sums(at, 0))

        def odd(at: str, total: str) -> str:
            return self.plus(total, self.sums(at, a["plane"]))

        def two_even(at: str, total: str) -> str:
            return self.plus(even(at, total), self.sums(at, a["near"]))

        def two_odd(at: str, total: str) -> str:
            return self.plus(odd(at, total), self.sums(at, a["far"]))

        found = self.along(places, a["pairs"], [two_even, two_odd])
        found = self.along([at for at, _ in found], a["single"], [even, odd], [totals for _, totals in found])
        return [(totals[0], totals[1]) for _, totals in found]

    def along(
        self, places: list[str], count: str, added: list[Callable[[str, str], str]], starts: Any = None
    ) -> list[tuple[str, list[str]]]:
        """Add to sums at ``count`` places, ``step`` bytes apart: where it goes on, and the sums.

        Without ``starts`` they begin with what rounds them.
        """
        w = self.w
        starts = starts or [[self.numbers[1]] * len(added) for _ in places]
        kept = {f"s{v}_{n}": (str(self.words), start) for v, each in enumerate(starts) for n, start in enumerate(each)}
        loop = w.loop("along", count, {**{f"at{v}": ("ptr", place) for v, place in enumerate(places)}, **kept})
        following: dict[str, str] = {}
        for v in range(len(places)):
            at = loop[f"at{v}"]
            following |= {f"s{v}_{n}": add(at, loop[f"s{v}_{n}"]) for n, add in enumerate(added)}
            following[f"at{v}"] = w.offset(at, self.a["step"])
        loop.close(following)
        return [(loop[f"at{v}"], [loop[f"s{v}_{n}"] for n in range(len(added))]) for v in range(len(places))]

    def sums(self, at: str, by: str | int) -> str:
        return self.w.load(self.words, self.w.offset(at, by))

    def plus(self, a: str, b: str) -> str:
        return self.w.value(f"add {self.words} {a}, {b}")

    # ------------------------------------------------------------------------------------------------------- results

    def in_words(self, even: str, odd: str) -> str:
        """The bytes of two vectors of sums, scaled by an integer."""
        w, kind, long = self.w, self.words, Vector(self.words.lanes, "i32")
        _, _, multiplier, bits = self.numbers
        sixteen = w.fill(long, "16")
        found = []
        for sums in (even, odd):
            factors = [w.value(f"zext {kind} {value} to {long}") for value in (sums, multiplier)]
            product = w.value(f"mul {long} {factors[0]}, {factors[1]}")
            upper = w.value(f"lshr {long} {product}, {sixteen}")
            upper = w.value(f"trunc {long} {upper} to {kind}")
            found.append(w.value(f"lshr {kind} {upper}, {bits}"))
        moved = w.value(f"shl {kind} {found[1]}, {w.fill(kind, '8')}")
        joined = w.value(f"or {kind} {found[0]}, {moved}")
        return w.value(f"bitcast {kind} {joined} to {self.bytes}")

    def in_floats(self, even: str, odd: str) -> str:
        """The same by float32, whatever the factor."""
        w, kind, lanes = self.w, self.longs, self.longs.lanes
        lower, upper = [], []
        for words in (even, odd):
            both = w.value(f"bitcast {self.words} {words} to {kind}")
            lower.append(w.value(f"and {kind} {both}, {w.fill(kind, '65535')}"))
            upper.append(w.value(f"lshr {kind} {both}, {w.fill(kind, '16')}"))
        whole, real = Element("int32"), Element("float32")
        return self.joined([
            w.value(f"fmul {self.floats} {widen(w, sums, lanes, whole, real)}, {self.numbers[0]}")
            for sums in (*lower, *upper)
        ])  # fmt: skip
