"""The loops over tiles of outputs whose channels lie side by side: what a layer and its weights' gradient share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Stored
from convkit.codegen.pack import FILL
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.window_tile import WindowTile

AT_ONCE = 8
"""Addresses that are worked out together."""

HEAD = 3
"""Words of a row before those of its kernel rows."""

MOST_PIXELS = 14, 10
"""Outputs of a tile at most; and where samples have to be loaded before they are multiplied."""


def held(count: int) -> int:
    """Words of a table for so many positions."""
    return -(-count // AT_ONCE) * AT_ONCE


def most_pixels(target: Target, columns: int) -> int:
    """Outputs of a tile at most: their sums stay in registers with a row of weights and one vector of samples."""
    return min(MOST_PIXELS[target.vector_bytes == 16], target.registers - columns - 2)


@dataclass(frozen=True, slots=True)
class PixelKernel(ABC):
    """A kernel whose lanes are channels, each with weights of its own.

    Attributes
    ----------
    arithmetic : str
        What samples, weights and sums are: a name of `convkit.codegen.arithmetic`.
    lanes : int
        Numbers in a vector.
    tile : WindowTile
        Neighbouring outputs of a row, each a vector, and the elements of a kernel row.
    edge : {"whole", "masked"}
        Whether the last channels may be fewer than a vector holds.
    reads : {"plain", "ahead"}
        Whether samples are asked for a tile before they are needed, where they come from beyond the caches.
    samples, outputs : str
        The types of samples and of what lies at each output, if they are others than those of the sums.
    """

    arithmetic: str
    lanes: int
    tile: WindowTile
    edge: Literal["whole", "masked"] = "whole"
    reads: Literal["plain", "ahead"] = "plain"
    samples: str = ""
    outputs: str = ""

    @property
    def types(self) -> str:
        """A part of its name: types that are others than those of the sums."""
        return f"{self.samples}_to_{self.outputs}" if self.samples or self.outputs else ""

    @property
    @abstractmethod
    def name(self) -> str:
        """What tells it from other kernels."""

    @abstractmethod
    def nest(self, target: Target) -> PixelNest:
        """What writes its loops."""

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the tile does not fit the target's vector registers.
        """
        target.require(self.name, self.tile.registers)
        return self.nest(target).module()


class PixelNest(ABC):
    """Writes the loops: the methods stand in their order, from the outside in."""

    arguments: Arguments
    outer: str
    """The argument at which a vector for each output of a tile lies."""
    inner: str
    """The argument at which a vector for each kernel element lies."""
    spacing = 1
    """How many elements apart those of a kernel row lie there."""
    order: tuple[str, ...] = ("row", "tile")
    """The outer of the first two loops, and the inner one."""

    def __init__(self, kernel: PixelKernel, target: Target) -> None:
        self.k, self.w, self.target = kernel, Writer(), target
        self.arithmetic = ARITHMETIC[kernel.arithmetic]
        self.kind = Vector(kernel.lanes, self.arithmetic.sum)
        self.samples, self.outputs = (Stored(kernel.arithmetic, one) for one in (kernel.samples, kernel.outputs))
        self.positions = kernel.tile.positions
        self.words = held(len(self.positions))

    def module(self) -> str:
        """The whole function."""
        w = self.w
        self.a = a = self.arguments.read(w)
        loops = {name: w.loop(name, a[f"{name}s"], {name: ("ptr", a[f"{name}s_at"])}) for name in self.order}
        row, tile = (loops[name][name] for name in ("row", "tile"))
        self.one_tile(row, tile)
        for name in reversed(self.order):
            following = w.offset(row, a["row_step"]) if name == "row" else w.element(tile, 1 + self.words, "i64")
            loops[name].close({name: following})
        self.end()
        w.line("ret void")
        return w.function(self.k.name, SIGNATURE)

    def end(self) -> None:  # noqa: B027
        """What is left to do at the end, if anything is."""

    def word(self, table: str, n: int) -> str:
        """The ``n``-th word of a table."""
        return self.w.load_scalar("i64", self.w.element(table, n, "i64"))

    def one_tile(self, row: str, tile: str) -> None:
        """One tile of one row, all channels."""
        w, a, lanes = self.w, self.a, self.k.lanes
        outs = [w.offset(w.offset(a[self.outer], self.word(tile, 0)), self.word(row, 0))]
        for _ in range(self.k.tile.outputs - 1):
            outs.append(w.offset(outs[-1], a[f"{self.outer}_pixel"]))
        count, first = self.word(row, 1), w.offset(a["elements_at"], self.word(row, 2))
        self.note(tile, row, count)
        whole = w.loop("whole", w.subtract(a["channels"], lanes - 1), {"w": ("ptr", a[self.inner])}, step=lanes)
        self.channels(outs, whole.index, count, whole["w"], first, None)
        whole.close({"w": w.offset(whole["w"], a[f"{self.inner}_vector"])})
        if self.k.edge == "masked":
            rest = w.subtract(a["channels"], whole.index)
            mask = w.lanes_below(self.kind, rest)
            some = w.value(f"icmp sgt i64 {rest}, 0")
            w.when(some, lambda: self.channels(outs, whole.index, count, whole["w"], first, mask))

    def note(self, tile: str, row: str, count: str) -> None:
        """Work out where the samples of every kernel row and position lie."""
        w, a = self.w, self.a
        kind = Vector(AT_ONCE, "i64")
        zeros, fill, x = (w.value(f"ptrtoint ptr {a[name]} to i64") for name in ("zeros", "fill", "x"))
        zeros, fill = w.fill(kind, zeros), w.fill(kind, fill)
        found: list[tuple[str, str, str]] = []
        marks, fills = w.fill(kind, str(FILL)), w.fill(kind, str(FILL))
        for n in range(0, self.words, AT_ONCE):
            columns = w.load(kind, w.element(tile, 1 + n, "i64"))
            marked = w.value(f"icmp sle {kind} {columns}, {marks}")
            filled = w.value(f"icmp eq {kind} {columns}, {fills}")
            blank = w.value(f"select {kind.mask} {filled}, {kind} {fill}, {kind} {zeros}")
            found.append((columns, marked, blank))
        loop = w.loop("kernel_row", count, {"to": ("ptr", a["places"])})
        at = w.load_scalar("i64", w.element(w.element(row, HEAD, "i64"), loop.index, "i64"))
        filled = w.value(f"icmp eq i64 {at}, {FILL}")
        blank_row = w.value(f"select i1 {filled}, {kind} {fill}, {kind} {zeros}")
        first = w.fill(kind, w.value(f"add i64 {x}, {at}"))

        def write(samples: bool) -> None:
            for n, (columns, marked, blank) in enumerate(found):
                there = w.value(f"add {kind} {first}, {columns}") if samples else blank_row
                # The last axis's mark counts.
                held_ = w.value(f"select {kind.mask} {marked}, {kind} {blank}, {kind} {there}")
                w.store(kind, held_, w.element(loop["to"], n * AT_ONCE, "i64"))

        w.when(w.value(f"icmp sle i64 {at}, {FILL}"), lambda: write(False), lambda: write(True))
        loop.close({"to": w.element(loop["to"], self.words, "i64")})

    @abstractmethod
    def channels(self, outs: list[str], channel: str, count: str, inner: str, first: str, mask: str | None) -> None:
        """One vector of channels of one tile: ``count`` kernel rows, from the ``first`` entry of their table on."""

    def fetch(self, channel: str, count: str) -> None:
        """Ask for what the next tile meets first: samples in the last kernel rows of this one, moved along."""
        w, rows = self.w, self.k.tile.stride
        last = w.call("i64", "llvm.smax.i64", ("i64", w.subtract(count, rows)), ("i64", "0"))
        places = w.element(self.a["places"], w.multiply(last, self.words), "i64")
        for row in range(rows):
            for n in range(len(self.positions)):
                place = w.load_scalar("ptr", w.element(places, row * self.words + n, "i64"))
                w.ask(w.offset(w.element(place, channel, self.samples.scalar), self.a["ahead"]), stays=2)

    def products(self, places: str, channel: str, mask: str | None) -> Iterator[tuple[str, int, int]]:
        """The samples of one kernel row, each with an output and a kernel element that it is needed for."""
        w = self.w
        for n, position in enumerate(self.positions):
            place = w.load_scalar("ptr", w.element(places, n, "i64"))
            samples = self.samples.load(w, self.k.lanes, w.element(place, channel, self.samples.scalar), mask)
            for pixel, j in self.k.tile.meetings(position):
                yield samples, pixel, j

    def row_of(self, inner: str, entry: str) -> list[str]:
        """Where the vectors of the kernel row lie that an entry of the table names."""
        at = self.w.offset(inner, self.w.load_scalar("i64", entry))
        return [self.w.offset(at, j * self.spacing * self.kind.bytes) for j in range(self.k.tile.elements)]
