"""Groups of a few channels whose numbers lie side by side: taken apart into vectors over groups, and put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Stored, named
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("to x", "rows to_row x_row pixels to_pixel x_pixel channel groups vector")
"""``channel``: bytes from one channel's vectors to the next channel's, ``vector``: from one vector of groups to the
next, both in scratch memory. Strides are in bytes."""


@dataclass(frozen=True, slots=True)
class Groups:
    """``apart``: ``to[r, p, c][g] = x[r, p][g*channels + c]``; ``together``: the other way round.

    ::

        for row: for pixel: for each vector of groups: `channels` vectors are read, every number is put in its place

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    channels : int
        Channels of a group.
    way : {"apart", "together"}
        From pixels to vectors over the groups, or back.
    stored : str
        The type of the numbers of pixels, if it is another.
    """

    number: str
    channels: int
    way: Literal["apart", "together"]
    stored: str = ""

    @property
    def name(self) -> str:
        """``groups_<number>_<channels>_<way>_<stored>``."""
        return named(f"groups_{self.number}_{self.channels}_{self.way}", self.stored)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w, numbers, pixel_of = Writer(), Stored(self.number), Stored(self.number, self.stored)
        kind = Vector(target.vector_bytes // numbers.bytes, numbers.scalar)
        a = ARGUMENTS.read(w)
        rows = w.loop("row", a["rows"], {"to": ("ptr", a["to"]), "x": ("ptr", a["x"])})
        pixels = w.loop("pixel", a["pixels"], {"to": ("ptr", rows["to"]), "x": ("ptr", rows["x"])})
        loop = w.loop("vector", a["groups"], {"to": ("ptr", pixels["to"]), "x": ("ptr", pixels["x"])}, step=kind.lanes)
        left = w.multiply(w.subtract(a["groups"], loop.index), self.channels)
        masks = [w.lanes_below(kind, w.subtract(left, n * kind.lanes)) for n in range(self.channels)]
        together = self.way == "together"
        pixel, vectors = (loop["to"], loop["x"]) if together else (loop["x"], loop["to"])
        neighbours = [w.offset(pixel, n * kind.lanes * pixel_of.bytes) for n in range(self.channels)]
        apart = [vectors]
        for _ in range(self.channels - 1):
            apart.append(w.offset(apart[-1], a["channel"]))
        if together:
            found = [w.load(kind, place) for place in apart]
        else:
            found = [pixel_of.load(w, kind.lanes, place, mask) for place, mask in zip(neighbours, masks, strict=True)]
        for n in range(self.channels):
            value = self.picked(w, kind, found, n)
            if together:
                pixel_of.store(w, kind.lanes, value, neighbours[n], masks[n])
            else:
                w.store(kind, value, apart[n])
        side = w.add(0, self.channels * kind.lanes * pixel_of.bytes)
        moves = {"to": side, "x": a["vector"]} if together else {"to": a["vector"], "x": side}
        loop.close({name: w.offset(loop[name], by) for name, by in moves.items()})
        pixels.close({name: w.offset(pixels[name], a[f"{name}_pixel"]) for name in ("to", "x")})
        rows.close({name: w.offset(rows[name], a[f"{name}_row"]) for name in ("to", "x")})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)

    def picked(self, w: Writer, kind: Vector, found: list[str], n: int) -> str:
        """One vector of the result: from each vector that was read the numbers that belong there."""
        places: list[tuple[int, int]] = []
        for lane in range(kind.lanes):
            number = lane * self.channels + n if self.way == "apart" else n * kind.lanes + lane
            # Which vector the number lies in, and where in it.
            if self.way == "apart":
                places.append((number // kind.lanes, number % kind.lanes))
            else:
                places.append((number % self.channels, number // self.channels))
        value = found[0]
        first = [at if vector == 0 else 0 for vector, at in places]
        value = w.shuffle(kind, value, value, first)
        for source in range(1, self.channels):
            taken = [kind.lanes + at if vector == source else lane for lane, (vector, at) in enumerate(places)]
            value = w.shuffle(kind, value, found[source], taken)
        return value
