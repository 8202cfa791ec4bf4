"""Channels summed: a matrix of weights times samples that are gathered by offsets, sums held in registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.builder import ITEM_BYTES, Loop, Vector, Writer
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("sums x w offsets", "depth blocks sums_row w_block tiles last_tiles rest")
"""``offsets``: for each of ``depth`` terms how far, in bytes, its samples lie from ``x``. ``w``: blocks of weights,
``w_block`` bytes apart, each term by term and there row by row. ``sums_row``: bytes from row to row. ``tiles`` of
``vectors`` vectors, then ``last_tiles`` of one fewer; ``rest``: numbers of the very last vector, where it is masked."""

MOST_ROWS, MOST_VECTORS = 14, 8
"""The largest register tile: more rows or vectors would not make it read less than it multiplies."""


@dataclass(frozen=True, slots=True)
class Dense:
    """The kernel and how much of each loop it does at once.

    ::

        for each tile of `vectors` vectors of pixels: for each block of `rows` rows:
            for each term: load `vectors` vectors of samples; load `rows` weights; rows * vectors multiply-adds

    ``sums[r, p] += sum_k w[k, r] * x[offset[k] + p]``, every sum by the same sequence of multiply-adds wherever it
    stands. Samples of one tile meet every row while they are in the first-level cache; weights stream past them.

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
    """

    arithmetic: str
    lanes: int
    rows: int
    vectors: int
    start: Literal["zero", "sums"] = "zero"
    edge: Literal["whole", "masked"] = "whole"

    @property
    def name(self) -> str:
        """``dense_<arithmetic>_<lanes>l_<rows>x<vectors>_<start>_<edge>``."""
        return f"dense_{self.arithmetic}_{self.lanes}l_{self.rows}x{self.vectors}_{self.start}_{self.edge}"

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, samples, one weight."""
        return self.rows * self.vectors + self.vectors + 1

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the tile does not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return _Nest(self).module()


def most_vectors(target: Target, rows: int) -> int:
    """Vectors of the widest register tile with so many rows.

    Where multiply-adds take no operand from memory, LLVM loads a few weights ahead.
    """
    ahead = 1 if target.triple.startswith(("x86_64", "amd64")) else 4
    return min(MOST_VECTORS, (target.registers - ahead) // (rows + 1))


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, dense: Dense) -> None:
        self.d, self.w = dense, Writer()
        self.arithmetic = ARITHMETIC[dense.arithmetic]
        self.samples = Vector(dense.lanes, self.arithmetic.sample)
        self.weights = Vector(dense.lanes, self.arithmetic.weight)
        self.sums = Vector(dense.lanes, self.arithmetic.sum)

    def module(self) -> str:
        w, d = self.w, self.d
        self.a = a = ARGUMENTS.read(w)
        sums, x = self.tiles(a["sums"], a["x"], a["tiles"], d.vectors)
        if d.vectors > 1:
            sums, x = self.tiles(sums, x, a["last_tiles"], d.vectors - 1)
        if d.edge == "masked":
            self.blocks(sums, x, d.vectors, w.lanes_below(self.sums, a["rest"]))
        w.line("ret void")
        return w.function(d.name, SIGNATURE)

    def tiles(self, sums: str, x: str, count: str, vectors: int) -> tuple[str, str]:
        """Tiles of ``vectors`` vectors; where the next one begins."""
        w = self.w
        loop = w.loop("tile", count, {"sums": ("ptr", sums), "x": ("ptr", x)})
        self.blocks(loop["sums"], loop["x"], vectors, None)
        loop.close({
            "sums": w.offset(loop["sums"], vectors * self.sums.bytes),
            "x": w.offset(loop["x"], vectors * self.samples.bytes),
        })  # fmt: skip
        return loop["sums"], loop["x"]

    def blocks(self, sums: str, x: str, vectors: int, mask: str | None) -> None:
        """All rows of one tile, block after block."""
        w, a = self.w, self.a
        loop = w.loop("block", a["blocks"], {"sums": ("ptr", sums), "w": ("ptr", a["w"])})
        rows = [loop["sums"]]
        for _ in range(1, self.d.rows):
            rows.append(w.offset(rows[-1], a["sums_row"]))
        places = [(w.offset(row, v * self.sums.bytes), self.mask(v, vectors, mask)) for row in rows
                  for v in range(vectors)]  # fmt: skip
        starts = ["zeroinitializer"] * len(places)
        if self.d.start == "sums":
            starts = [w.load(self.sums, place, held) for place, held in places]
        totals = self.terms(x, loop["w"], starts, vectors, mask)
        for total, (place, held) in zip(totals, places, strict=True):
            w.store(self.sums, total, place, held)
        loop.close({"sums": w.offset(rows[-1], a["sums_row"]), "w": w.offset(loop["w"], a["w_block"])})

    def terms(self, x: str, weights: str, starts: Sequence[str], vectors: int, mask: str | None) -> list[str]:
        """One register tile: what its sums become."""
        w, a = self.w, self.a
        names = [f"s{n}" for n in range(len(starts))]
        carried = {"w": ("ptr", weights), **{n: (str(self.sums), start) for n, start in zip(names, starts)}}
        loop = w.loop("term", a["depth"], carried)
        current = self.term(loop, x, [loop[name] for name in names], vectors, mask)
        loop.close({"w": w.element(loop["w"], self.d.rows, self.weights.scalar), **dict(zip(names, current))})
        return [loop[name] for name in names]

    def term(self, loop: Loop, x: str, sums: list[str], vectors: int, mask: str | None) -> list[str]:
        """One term: every vector of samples meets every row's weight."""
        w = self.w
        at = w.offset(x, w.load_scalar("i64", w.element(self.a["offsets"], loop.index, "i64")))
        samples = [
            w.load(self.samples, w.offset(at, v * self.samples.bytes), self.mask(v, vectors, mask))
            for v in range(vectors)
        ]
        for r in range(self.d.rows):
            weight = w.splat(self.weights, w.element(loop["w"], r, self.weights.scalar))
            for v in range(vectors):
                n = r * vectors + v
                sums[n] = self.arithmetic.multiply_add(w, self.d.lanes, samples[v], weight, sums[n])
        return sums

    def mask(self, v: int, vectors: int, mask: str | None) -> str | None:
        """The last vector's mask is the tile's."""
        return mask if v == vectors - 1 else None


def lanes_of(target: Target, arithmetic: str) -> int:
    """Numbers in a vector of ``target``."""
    return target.vector_bytes // ITEM_BYTES[ARITHMETIC[arithmetic].sum]
