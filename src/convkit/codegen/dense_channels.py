"""Channels summed, output channels side by side: single samples times vectors of weights, sums held in registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.builder import Vector, Writer
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("sums x w offsets rows_at", "depth blocks sums_row w_vector tiles last_tiles")
"""``offsets`` and ``rows_at``: how far, in bytes, the sample of a term and of a row lies from ``x``. Weights of
one tile lie term by term; all terms of one vector take ``w_vector`` bytes, and a tile as many times that as it has
vectors. ``sums_row``: bytes from row to row. ``tiles`` of ``vectors`` vectors, then ``last_tiles`` of one fewer."""

MOST_ROWS = 9
"""Rows of the register tile at most: each has an address of its own, and there are 15 registers for all addresses."""


@dataclass(frozen=True, slots=True)
class DenseChannels:
    """The kernel and how much of each loop it does at once.

    ::

        for each tile of `vectors` vectors of channels: for each block of `rows` rows:
            for each term: load `vectors` vectors of weights; load `rows` samples; rows * vectors multiply-adds

    ``sums[r, o] += sum_k x[row[r] + offset[k]] * w[k, o]``. Rows are pixels and terms input channels and kernel
    elements; or, for the gradient of weights, rows are input channels and kernel elements and terms are pixels.

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
    """

    arithmetic: str
    lanes: int
    rows: int
    vectors: int
    start: Literal["zero", "sums"] = "zero"

    @property
    def name(self) -> str:
        """``dense_channels_<arithmetic>_<lanes>l_<rows>x<vectors>_<start>``."""
        return f"dense_channels_{self.arithmetic}_{self.lanes}l_{self.rows}x{self.vectors}_{self.start}"

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, weights, one sample."""
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


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, dense: DenseChannels) -> None:
        self.d, self.w = dense, Writer()
        self.arithmetic = ARITHMETIC[dense.arithmetic]
        self.samples = Vector(dense.lanes, self.arithmetic.sample)
        self.weights = Vector(dense.lanes, self.arithmetic.weight)
        self.sums = Vector(dense.lanes, self.arithmetic.sum)

    def module(self) -> str:
        w, d = self.w, self.d
        self.a = a = ARGUMENTS.read(w)
        sums, weights = self.tiles(a["sums"], a["w"], a["tiles"], d.vectors)
        if d.vectors > 1:
            self.tiles(sums, weights, a["last_tiles"], d.vectors - 1)
        w.line("ret void")
        return w.function(d.name, SIGNATURE)

    def tiles(self, sums: str, weights: str, count: str, vectors: int) -> tuple[str, str]:
        """Tiles of ``vectors`` vectors; where the next one begins."""
        w = self.w
        loop = w.loop("tile", count, {"sums": ("ptr", sums), "w": ("ptr", weights)})
        self.blocks(loop["sums"], loop["w"], vectors)
        loop.close({
            "sums": w.offset(loop["sums"], vectors * self.sums.bytes),
            "w": w.offset(loop["w"], w.multiply(self.a["w_vector"], vectors)),
        })  # fmt: skip
        return loop["sums"], loop["w"]

    def blocks(self, sums: str, weights: str, vectors: int) -> None:
        """All rows of one tile, block after block."""
        w, a, d = self.w, self.a, self.d
        loop = w.loop("block", a["blocks"], {"sums": ("ptr", sums), "rows_at": ("ptr", a["rows_at"])})
        rows, samples = [loop["sums"]], []
        for r in range(d.rows):
            rows.append(w.offset(rows[-1], a["sums_row"]))
            samples.append(w.offset(a["x"], w.load_scalar("i64", w.element(loop["rows_at"], r, "i64"))))
        places = [w.offset(row, v * self.sums.bytes) for row in rows[:-1] for v in range(vectors)]
        starts = ["zeroinitializer"] * len(places)
        if d.start == "sums":
            starts = [w.load(self.sums, place) for place in places]
        for total, place in zip(self.terms(samples, weights, starts, vectors), places, strict=True):
            w.store(self.sums, total, place)
        loop.close({"sums": rows[-1], "rows_at": w.element(loop["rows_at"], d.rows, "i64")})

    def terms(self, samples: Sequence[str], weights: str, starts: Sequence[str], vectors: int) -> list[str]:
        """One register tile: what its sums become."""
        w, a = self.w, self.a
        names = [f"s{n}" for n in range(len(starts))]
        carried = {"w": ("ptr", weights), **{n: (str(self.sums), start) for n, start in zip(names, starts)}}
        loop = w.loop("term", a["depth"], carried)
        offset = w.load_scalar("i64", w.element(a["offsets"], loop.index, "i64"))
        held = [w.load(self.weights, w.offset(loop["w"], v * self.weights.bytes)) for v in range(vectors)]
        sums = [loop[name] for name in names]
        for r, row in enumerate(samples):
            sample = w.splat(self.samples, w.offset(row, offset))
            for v in range(vectors):
                n = r * vectors + v
                sums[n] = self.arithmetic.multiply_add(w, self.d.lanes, sample, held[v], sums[n])
        loop.close({"w": w.offset(loop["w"], vectors * self.weights.bytes), **dict(zip(names, sums))})
        return [loop[name] for name in names]
