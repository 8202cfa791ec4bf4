"""The register tile that sums over channels: what is the same whether its vectors hold pixels or output channels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.builder import ITEM_BYTES, Loop, Vector, Writer
from convkit.codegen.epilogue import NO_ENDING, Ending, ended
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target


@dataclass(frozen=True, slots=True)
class RegisterTile(ABC):
    """``rows`` times ``vectors`` vectors of sums, kept in registers while the terms go by.

    Attributes
    ----------
    arithmetic : str
        What samples, weights and sums are: a name of `convkit.codegen.arithmetic`.
    lanes : int
        Numbers in a vector.
    rows, vectors : int
        The register tile; there are tiles of one vector fewer too.
    start : {"zero", "sums"}
        Where sums begin: at zero, or at what memory holds.
    edge : {"whole", "masked"}
        Whether all vectors may be read and written whole, or the last tile's last one holds ``rest`` numbers only.
    ending : Ending
        What becomes of the sums before they are stored.
    results : {"cached", "streamed"}
        Whether whole vectors of sums are written past the caches; they begin at multiples of their bytes then.
    """

    arithmetic: str
    lanes: int
    rows: int
    vectors: int
    start: Literal["zero", "sums"] = "zero"
    edge: Literal["whole", "masked"] = "whole"
    ending: Ending = NO_ENDING
    results: Literal["cached", "streamed"] = "cached"

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """``<kind>_<arithmetic>_<lanes>l_<rows>x<vectors>_<start>_<edge>_<results>_<ending>``."""
        tile = f"{self.lanes}l_{self.rows}x{self.vectors}"
        return f"{self.of_kind}_{self.arithmetic}_{tile}_{self.start}_{self.edge}_{self.results}_{self.ending.name}"

    @property
    def of_kind(self) -> str:
        """The kind, and what is particular about it."""
        return self.kind

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, one vector for each column of them, one number."""
        return self.rows * self.vectors + self.vectors + 1

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the tile does not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return self.nest().module(target)

    @abstractmethod
    def nest(self) -> Nest:
        """What writes its loops."""


Places = list[tuple[str, str | None]]
"""Where each vector of a tile's sums lies, row by row, and its mask."""


class Nest(ABC):
    """Writes a kernel: the methods stand in the order of its loops, from the outside in.

    ::

        for each tile of `vectors` vectors: for each block of `rows` rows:
            for each term: load `vectors` vectors; load `rows` numbers; rows * vectors multiply-adds
    """

    arguments: Arguments
    along: tuple[str, ...]
    """The arguments that move from tile to tile."""

    def __init__(self, tile: RegisterTile) -> None:
        self.d, self.w = tile, Writer()
        self.arithmetic = ARITHMETIC[tile.arithmetic]
        self.samples = Vector(tile.lanes, self.arithmetic.sample)
        self.weights = Vector(tile.lanes, self.arithmetic.weight)
        self.sums = Vector(tile.lanes, self.arithmetic.sum)

    def module(self, target: Target) -> str:
        """The whole function."""
        w, d = self.w, self.d
        self.a = self.arguments.read(w)
        self.line({name: self.a[name] for name in self.along})
        if d.results == "streamed" and target.triple.startswith(("x86_64", "amd64")):
            w.call("void", "llvm.x86.sse.sfence")  # streamed results are seen by others only after it
        w.line("ret void")
        return w.function(d.name, SIGNATURE)

    def line(self, at: dict[str, str]) -> None:
        """All tiles of one row of vectors."""
        d = self.d
        at = self.tiles(at, self.a["tiles"], d.vectors)
        if d.vectors > 1:
            at = self.tiles(at, self.a["last_tiles"], d.vectors - 1)
        if d.edge == "masked":
            self.masked(at)

    def masked(self, at: dict[str, str]) -> None:
        """The tile whose last vector holds ``rest`` numbers, if there is one."""
        w, rest = self.w, self.a["rest"]
        there = w.value(f"icmp sgt i64 {rest}, 0")
        w.when(there, lambda: self.blocks(at, self.d.vectors, w.lanes_below(self.sums, rest)))

    def tiles(self, at: dict[str, str], count: str, vectors: int) -> dict[str, str]:
        """Tiles of ``vectors`` vectors; where the next one begins."""
        w = self.w
        loop = w.loop("tile", count, {name: ("ptr", place) for name, place in at.items()})
        here = {name: loop[name] for name in at}
        self.blocks(here, vectors, None)
        loop.close({name: w.offset(place, self.width(name, vectors)) for name, place in here.items()})
        return here

    def width(self, name: str, vectors: int) -> str | int:
        """Bytes that an argument moves on by for so many vectors."""
        return vectors * self.sums.bytes

    @abstractmethod
    def blocks(self, at: dict[str, str], vectors: int, mask: str | None) -> None:
        """All rows of one tile, block after block."""

    def block(
        self, vectors: int, places: Callable[[str], Places], walk: str, multiply_adds: Callable[[Loop, list[str]], str],
        bias: Callable[[int, int, str | None], str],
    ) -> None:  # fmt: skip
        """One register tile: its sums begun, every term added, the end given to them.

        ``places(name)`` finds its vectors in ``sums`` or ``add``; ``walk`` is what moves on from term to term, as
        ``multiply_adds`` says; ``bias(row, vector, mask)`` loads the bias of a vector.
        """
        w, d, a = self.w, self.d, self.a
        starts = ["zeroinitializer"] * (d.rows * vectors)
        if d.start == "sums":
            starts = [w.load(self.sums, place, held) for place, held in places("sums")]
        names = [f"s{n}" for n in range(len(starts))]
        carried = {"walk": ("ptr", walk), **{n: (str(self.sums), start) for n, start in zip(names, starts)}}
        loop = w.loop("term", a["depth"], carried)
        current = [loop[name] for name in names]
        following = multiply_adds(loop, current)
        loop.close({"walk": following, **dict(zip(names, current))})
        ending = d.ending
        adds = places("add") if ending.add else []
        for n, (place, held) in enumerate(places("sums")):
            addend = bias(n // vectors, n % vectors, held) if ending.bias else None
            other = w.load(self.sums, adds[n][0], held) if ending.add else None
            value = ended(w, self.sums, ending, loop[names[n]], addend, other)
            if d.results == "streamed" and held is None:
                w.stream(self.sums, value, place)
            else:
                w.store(self.sums, value, place, held)

    def meet(self, sums: list[str], row: int, number: str, vectors: Sequence[str], number_is: str) -> None:
        """Every vector's multiply-add with one row's number, which is a sample or a weight."""
        for v, vector in enumerate(vectors):
            n = row * len(vectors) + v
            sample, weight = (number, vector) if number_is == "sample" else (vector, number)
            sums[n] = self.arithmetic.multiply_add(self.w, self.d.lanes, sample, weight, sums[n])


def lanes_of(target: Target, arithmetic: str) -> int:
    """Numbers in a vector of ``target``."""
    return target.vector_bytes // ITEM_BYTES[ARITHMETIC[arithmetic].sum]
