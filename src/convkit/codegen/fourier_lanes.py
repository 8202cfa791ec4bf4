"""The innermost part of a transform: four vectors at a time, forward, times the kernel's spectrum, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convkit.codegen.builder import ITEM_BYTES, Loop, Vector, Writer
from convkit.codegen.fourier_butterflies import Butterflies, Complex
from convkit.codegen.fourier_roots import roots
from convkit.codegen.numbers import STORED
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("real imaginary spectrum twist untwist fixed unfixed", "rows row blocks apart")
"""``row``: how far apart rows lie, in bytes; the blocks of a row are neighbours, and the twist begins anew with each.
``apart``: from one complex vector of a spectrum that is stored, or come back from, to the next.

``untwist`` and ``unfixed`` are ``twist`` and ``fixed`` (see `fixed_factors`) once more: were they the same value,
factors would be kept from the way there to the way back, in registers that there are not."""

VECTORS = 4
"""Complex vectors of a block: eight registers of data, which leaves as many for factors where there are sixteen."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """The kernel for blocks of ``4 * lanes`` numbers, each a polynomial modulo ``z**(4*lanes) - exp(-2 pi i f)``.

    ::

        for row: for block: 4 complex vectors
            times exp(-2 pi i f n/(4*lanes)), the twist, which makes f zero
            a transform of length 4 across registers
            for each two bits of a lane's number, from the top:
                exchange them with the register's number; a transform of length 4 across registers
            times the spectrum; and everything backwards

    A transform across lanes is one across registers after an exchange of bits, which is a transposition of small
    blocks. The spectrum lies in the order that comes of it, so nothing is put in order in between. With 32 registers,
    two blocks are done at once, see `braided`.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        What the planes hold.
    task : {"convolve", "spectrum", "inverse"}
        To multiply with the spectrum and come back, to store it, or to come back from one that is stored.
    twist : {"none", "table"}
        Whether ``f`` is zero for all blocks.
    """

    dtype: str
    task: Literal["convolve", "spectrum", "inverse"]
    twist: Literal["none", "table"]

    @property
    def name(self) -> str:
        """``fourier_lanes_<dtype>_<task>_<twist>``."""
        return f"fourier_lanes_{self.dtype}_{self.task}_{self.twist}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    def __init__(self, lanes: Lanes, target: Target) -> None:
        self.lanes, self.w = lanes, Writer()
        scalar = STORED[lanes.dtype]
        self.kind = Vector(target.vector_bytes // ITEM_BYTES[scalar], scalar)
        self.there, self.back = Butterflies(self.w, self.kind, "forward"), Butterflies(self.w, self.kind, "inverse")
        self.fields = fields(self.kind.lanes)
        self.abreast = lanes.task == "convolve" and target.registers >= 4 * 2 * VECTORS

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        self.fixed = {self.there: a["fixed"], self.back: a["unfixed"]}
        self.apart = [str(n * 2 * self.kind.bytes) for n in range(VECTORS + 1)]
        if self.lanes.task != "convolve":
            self.apart = ["0", *(w.multiply(a["apart"], n) for n in range(1, VECTORS + 1))]
        names = ("real", "imaginary", "spectrum")
        if self.lanes.twist == "none":  # one block a row
            self.blocks(a["rows"], a["row"], {name: a[name] for name in (*names, "twist", "untwist")})
        else:
            rows = w.loop("row", a["rows"], {name: ("ptr", a[name]) for name in names})
            starts = {**{name: rows[name] for name in names}, "twist": a["twist"], "untwist": a["untwist"]}
            after = self.blocks(a["blocks"], str(VECTORS * self.kind.bytes), starts)
            rows.close({**{name: w.offset(rows[name], a["row"]) for name in names[:2]}, "spectrum": after["spectrum"]})
        w.line("ret void")
        return w.function(self.lanes.name, SIGNATURE)

    def blocks(self, count: str, apart: str, starts: dict[str, str]) -> dict[str, str]:
        """Blocks that lie ``apart`` bytes from each other, two at once where there are registers; where they end."""
        w = self.w
        carried = {name: ("ptr", start) for name, start in starts.items()}
        if not self.abreast:
            loop = w.loop("block", count, carried)
            self.block(**{name: loop[name] for name in starts})
            loop.close(self.moved(loop, apart))
            return {name: loop[name] for name in starts}
        loop = w.loop("pair", w.subtract(count, 1), carried, step=2)
        first = {name: loop[name] for name in starts}
        second = self.moved(loop, apart)
        written = [self.written(place) for place in (first, second)]
        w.lines += braided(*written)
        third = self.moved(second, apart)
        loop.close(third)
        last = {name: loop[name] for name in starts}
        w.when(w.value(f"icmp slt i64 {loop.index}, {count}"), lambda: self.block(**last))
        odd = w.value(f"and i64 {count}, 1")
        return self.moved(last, w.multiply(odd, apart), odd)

    def written(self, place: dict[str, str]) -> list[str]:
        """The lines of one block, taken out of the function."""
        w = self.w
        before = len(w.lines)
        self.block(**place)
        lines = w.lines[before:]
        del w.lines[before:]
        return lines

    def moved(self, place: Loop | dict[str, str], apart: str, blocks: str | int = 1) -> dict[str, str]:
        """Where the next block's data, spectrum and twist lie."""
        w = self.w
        table = 2 * VECTORS * self.kind.bytes
        step = table if blocks == 1 else w.multiply(blocks, table)
        stored = self.apart[VECTORS] if blocks == 1 else w.multiply(blocks, self.apart[VECTORS])
        moved = {name: w.offset(place[name], apart) for name in ("real", "imaginary")}
        moved["spectrum"] = w.offset(place["spectrum"], stored)
        for name in ("twist", "untwist"):
            moved[name] = place[name] if self.lanes.twist == "none" else w.offset(place[name], step)
        return moved

    def block(self, real: str, imaginary: str, spectrum: str, twist: str, untwist: str) -> None:
        w, kind = self.w, self.kind
        places = [(w.offset(real, n * kind.bytes), w.offset(imaginary, n * kind.bytes)) for n in range(VECTORS)]
        if self.lanes.task == "inverse":
            values = [self.pair(w.offset(spectrum, self.apart[n]), 0) for n in range(VECTORS)]
        else:
            values = [(w.load(kind, re), w.load(kind, im)) for re, im in places]
            if self.lanes.twist == "table":
                values = [self.there.times(value, self.pair(twist, n)) for n, value in enumerate(values)]
            values = self.forward(values)
        if self.lanes.task == "spectrum":
            for n, value in enumerate(values):
                at = w.offset(spectrum, self.apart[n])
                for part in (0, 1):
                    w.store(kind, value[part], w.offset(at, part * kind.bytes))
            return
        if self.lanes.task == "convolve":
            values = [self.there.times(value, self.pair(spectrum, n)) for n, value in enumerate(values)]
        values = self.inverse(values)
        if self.lanes.twist == "table":
            values = [self.back.times(value, self.pair(untwist, n)) for n, value in enumerate(values)]
        for (re, im), (re_at, im_at) in zip(values, places, strict=True):
            w.store(kind, re, re_at)
            w.store(kind, im, im_at)

    def pair(self, table: str, n: int) -> Complex:
        """Complex vector ``n`` of a table."""
        w, kind = self.w, self.kind
        re, im = (w.load(kind, w.offset(table, (2 * n + part) * kind.bytes)) for part in (0, 1))
        return re, im

    def forward(self, values: list[Complex]) -> list[Complex]:
        values = self.turned(self.there, self.there.transform(values), 0)
        for level, (low, size) in enumerate(self.fields, 1):
            values = self.exchanged(values, low, size)
            values = self.across(self.there, values, size)
            values = self.turned(self.there, values, level)
        return values

    def inverse(self, values: list[Complex]) -> list[Complex]:
        for level, (low, size) in reversed(list(enumerate(self.fields, 1))):
            values = self.turned(self.back, values, level)
            values = self.across(self.back, values, size)
            values = self.exchanged(values, low, size)
        return self.back.transform(self.turned(self.back, values, 0))

    def across(self, b: Butterflies, values: list[Complex], size: int) -> list[Complex]:
        """One transform of four registers, or two of two."""
        if size == 2:
            return b.transform(values)
        return [*b.transform(values[:2]), *b.transform(values[2:])]

    def turned(self, b: Butterflies, values: list[Complex], level: int) -> list[Complex]:
        """The registers but the first times the fixed factors of a level; the last has none."""
        if level == len(self.fields):
            return values
        first = (VECTORS - 1) * level
        rest = [b.times(value, self.pair(self.fixed[b], first + n)) for n, value in enumerate(values[1:])]
        return [values[0], *rest]

    def exchanged(self, values: list[Complex], low: int, size: int) -> list[Complex]:
        """The bits ``low..low+size-1`` of a lane's number exchanged with the register's."""
        real, imaginary = ([value[part] for value in values] for part in (0, 1))
        return list(zip(self.exchange(real, low, size), self.exchange(imaginary, low, size), strict=True))

    def exchange(self, r: list[str], low: int, size: int) -> list[str]:
        lanes, unit = self.kind.lanes, 1 << low
        bits = 8 * ITEM_BYTES[self.kind.scalar] << low
        if size == 1:
            return [*self.swap(r[0], r[1], low), *self.swap(r[2], r[3], low)]
        if bits == 128 and lanes == 4 * unit:
            # Halves of two registers, then every second quarter: one shuffle of quarters each.
            def quarters(a: str, b: str, chosen: tuple[int, ...]) -> str:
                return self.w.shuffle(self.kind, a, b, [q * unit + n for q in chosen for n in range(unit)])

            lower = quarters(r[0], r[1], (0, 1, 4, 5)), quarters(r[2], r[3], (0, 1, 4, 5))
            upper = quarters(r[0], r[1], (2, 3, 6, 7)), quarters(r[2], r[3], (2, 3, 6, 7))
            return [quarters(*half, chosen) for half in (lower, upper) for chosen in ((0, 2, 4, 6), (1, 3, 5, 7))]
        if bits == 32 and lanes >= 4:
            # Interleave within groups of four, by ones and then by twos: the shuffles that every processor has.
            first = [
                self.within(a, b, pick)
                for a, b in ((r[0], r[1]), (r[2], r[3]))
                for pick in ((0, 4, 1, 5), (2, 6, 3, 7))
            ]
            return [self.within(first[n], first[n + 2], pick) for n in (0, 1) for pick in ((0, 1, 4, 5), (2, 3, 6, 7))]
        r[0], r[1] = self.swap(r[0], r[1], low)
        r[2], r[3] = self.swap(r[2], r[3], low)
        r[0], r[2] = self.swap(r[0], r[2], low + 1)
        r[1], r[3] = self.swap(r[1], r[3], low + 1)
        return r

    def within(self, a: str, b: str, pick: tuple[int, ...]) -> str:
        """The same choice from each group of four lanes of ``a`` and of ``b``."""
        lanes = self.kind.lanes
        return self.w.shuffle(
            self.kind, a, b, [g + p if p < 4 else lanes + g + p - 4 for g in range(0, lanes, 4) for p in pick]
        )

    def swap(self, a: str, b: str, bit: int) -> tuple[str, str]:
        """One bit of a lane's number exchanged with which of two registers it is."""
        lanes, unit = self.kind.lanes, 1 << bit
        first = [n if not n & unit else lanes + n - unit for n in range(lanes)]
        second = [n + unit if not n & unit else lanes + n for n in range(lanes)]
        return self.w.shuffle(self.kind, a, b, first), self.w.shuffle(self.kind, a, b, second)


AHEAD, RUN = 0.08, 4
"""How far, of its length, the first of two blocks is ahead, and how many of its instructions stand together."""


def braided(first: list[str], second: list[str]) -> list[str]:
    """The instructions of two blocks in turn, the first ahead: while one adds the other multiplies or exchanges.

    These are done by different units, and a block alone comes to each of them in turn: a processor does not look far
    enough ahead to find the next block's additions. Measured on Zen 4, two blocks at once take 0.75 of the time of one
    after the other; level with each other they take 0.87, and half a block apart they spill.
    """
    ahead = int(AHEAD * len(first))
    lines = first[:ahead]
    for at in range(0, len(second), RUN):
        lines += first[ahead + at : ahead + at + RUN] + second[at : at + RUN]
    return lines


def fixed_factors(lanes: int) -> NDArray[np.complex128]:
    """What separates the levels of a block, for each level but the last: registers 1, 2, 3 by lanes.

    Register ``k``, lane ``n``: ``exp(-2 pi i k n'/length)``, where n' is what the bits of n that are still to be
    transformed say, and ``length`` the length of the transform that this level begins.
    """
    left = lanes
    levels = [roots(np.arange(1, VECTORS)[:, None] * np.arange(left), VECTORS * left)]
    for _, size in fields(lanes)[:-1]:
        length, left = left, left >> size
        levels.append(roots(np.arange(1, VECTORS)[:, None] * (np.arange(lanes) % left), length))
    return np.stack(levels)


def fields(lanes: int) -> list[tuple[int, int]]:
    """The bits of a lane's number in pairs from the top, an odd one at last: lowest bit and size of each."""
    bits = lanes.bit_length() - 1
    cut = [(low, 2) for low in range(bits - 2, -1, -2)]
    return cut if bits % 2 == 0 else [*cut, (0, 1)]
