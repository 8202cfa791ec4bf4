"""Inner products of two images at several displacements, as the gradient of a depthwise kernel needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.builder import Loop, Vector, Writer
from convkit.codegen.numbers import Stored, named
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("sums x g taps_at", "planes sums_plane x_plane g_plane rows x_row g_row columns")
"""``taps_at``: how far, in bytes, the samples of each displacement lie from ``x``. Strides are in bytes."""

FOLD_ARGUMENTS = Arguments.of("out sums", "planes out_plane sums_plane vectors out_step")
"""``vectors`` vectors of each plane become one number each."""

MOST_TAPS = 12
"""Displacements at once at most: each has an address of its own."""


def most_taps(target: Target) -> int:
    """Displacements at once at most on ``target``: their sums, with masks and what is loaded, stay in registers."""
    return min(MOST_TAPS, target.registers - 9)


@dataclass(frozen=True, slots=True)
class Correlate:
    """``sums[p, t, l] += sum of x[p, r, c + tap[t]] * g[p, r, c]`` over the columns ``c`` that lane ``l`` meets.

    ::

        for plane: for row: for each vector of columns: load g; for each displacement: load x; multiply-add

    The last columns of a row are read under a mask: neither array is touched beyond them.

    Attributes
    ----------
    arithmetic : str
        What samples and sums are: a name of `convkit.codegen.arithmetic`.
    lanes : int
        Numbers in a vector.
    taps : int
        How many displacements; each has a vector of sums.
    start : {"zero", "sums"}
        Where sums begin: at zero, or at what memory holds.
    source : str
        The type of ``g``, if it is another.
    """

    arithmetic: str
    lanes: int
    taps: int
    start: Literal["zero", "sums"] = "zero"
    source: str = ""

    @property
    def name(self) -> str:
        """``correlate_<arithmetic>_<lanes>l_<taps>_<start>_<source>``."""
        return named(f"correlate_{self.arithmetic}_{self.lanes}l_{self.taps}_{self.start}", self.source)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, correlate: Correlate) -> None:
        self.c, self.w = correlate, Writer()
        self.arithmetic = ARITHMETIC[correlate.arithmetic]
        self.kind = Vector(correlate.lanes, self.arithmetic.sum)
        self.names = [f"s{n}" for n in range(correlate.taps)]

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        names = ("sums", "x", "g")
        planes = w.loop("plane", a["planes"], {name: ("ptr", a[name]) for name in names})
        places = [w.offset(planes["sums"], n * self.kind.bytes) for n in range(self.c.taps)]
        starts = ["zeroinitializer"] * self.c.taps
        if self.c.start == "sums":
            starts = [w.load(self.kind, place) for place in places]
        taps = [
            w.offset(planes["x"], w.load_scalar("i64", w.element(a["taps_at"], n, "i64"))) for n in range(self.c.taps)
        ]
        for total, place in zip(self.rows(taps, planes["g"], starts), places, strict=True):
            w.store(self.kind, total, place)
        planes.close({name: w.offset(planes[name], a[f"{name}_plane"]) for name in names})
        w.line("ret void")
        return w.function(self.c.name, SIGNATURE)

    def rows(self, taps: list[str], g: str, starts: list[str]) -> list[str]:
        """All rows of a plane; what the sums become."""
        w, a = self.w, self.a
        loop = w.loop("row", a["rows"], {"x": ("i64", "0"), "g": ("ptr", g), **self.carried(starts)})
        whole = w.loop(
            "whole", w.subtract(a["columns"], self.c.lanes - 1), self.carried([loop[n] for n in self.names]),
            step=self.c.lanes,
        )  # fmt: skip
        sums = self.vector(whole, taps, loop, [whole[name] for name in self.names], None)
        whole.close(dict(zip(self.names, sums, strict=True)))
        # Where nothing is left over, the mask is empty, and zeros are added.
        mask = w.lanes_below(self.kind, w.subtract(a["columns"], whole.index))
        sums = self.vector(whole, taps, loop, [whole[name] for name in self.names], mask)
        loop.close({
            "x": w.add(loop["x"], a["x_row"]), "g": w.offset(loop["g"], a["g_row"]),
            **dict(zip(self.names, sums, strict=True)),
        })  # fmt: skip
        return [loop[name] for name in self.names]

    def vector(self, along: Loop, taps: list[str], row: Loop, sums: list[str], mask: str | None) -> list[str]:
        """One vector of columns meets all displacements."""
        w, scalar = self.w, self.arithmetic.sum
        upstream = Stored(self.c.arithmetic, self.c.source)
        g = upstream.load(w, self.c.lanes, w.element(row["g"], along.index, upstream.scalar), mask)
        found: list[str] = []
        for tap, total in zip(taps, sums, strict=True):
            x = w.load(self.kind, w.element(w.offset(tap, row["x"]), along.index, scalar), mask)
            found.append(self.arithmetic.multiply_add(w, self.c.lanes, x, g, total))
        return found

    def carried(self, starts: list[str]) -> dict[str, tuple[str, str]]:
        return {name: (str(self.kind), start) for name, start in zip(self.names, starts, strict=True)}


@dataclass(frozen=True, slots=True)
class Fold:
    """``out[p, t] = sum of the lanes of sums[p, t]``: halves are added to each other until one number is left.

    Attributes
    ----------
    arithmetic : str
        What sums are: a name of `convkit.codegen.arithmetic`.
    lanes : int
        Numbers in a vector.
    """

    arithmetic: str
    lanes: int

    @property
    def name(self) -> str:
        """``fold_<arithmetic>_<lanes>l``."""
        return f"fold_{self.arithmetic}_{self.lanes}l"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w = Writer()
        a = FOLD_ARGUMENTS.read(w)
        kind = Vector(self.lanes, ARITHMETIC[self.arithmetic].sum)
        planes = w.loop("plane", a["planes"], {"out": ("ptr", a["out"]), "sums": ("ptr", a["sums"])})
        loop = w.loop("vector", a["vectors"], {"out": ("ptr", planes["out"]), "sums": ("ptr", planes["sums"])})
        total, half = w.load(kind, loop["sums"]), self.lanes // 2
        while half:
            moved = w.shuffle(kind, total, total, [(n + half) % self.lanes for n in range(self.lanes)])
            total, half = w.value(f"fadd {kind} {total}, {moved}"), half // 2
        number = w.value(f"extractelement {kind} {total}, i64 0")
        w.line(f"store {kind.scalar} {number}, ptr {loop['out']}, align 1")
        loop.close({"out": w.offset(loop["out"], a["out_step"]), "sums": w.offset(loop["sums"], kind.bytes)})
        planes.close({
            "out": w.offset(planes["out"], a["out_plane"]), "sums": w.offset(planes["sums"], a["sums_plane"]),
        })  # fmt: skip
        w.line("ret void")
        return w.function(self.name, SIGNATURE)
