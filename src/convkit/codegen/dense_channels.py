"""Channels summed, output channels side by side: single samples times vectors of weights, sums held in registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from convkit.codegen.builder import Loop
from convkit.codegen.register_tile import Nest, Places, RegisterTile
from convkit.codegen.step import Arguments

ARGUMENTS = Arguments.of(
    "sums x w offsets rows_at sums_at bias add",
    "depth blocks w_vector w_row tiles last_tiles rest x_ahead w_ahead",
)  # fmt: skip
"""``offsets`` and ``rows_at``: how far, in bytes, the sample of a term and of a row lies from ``x``; ``sums_at``: how
far a row lies from ``sums``, and from ``add``. Weights of one tile lie term by term; all terms of one vector take
``w_vector`` bytes, and a tile as many times that as it has vectors. ``tiles`` of ``vectors`` vectors, then
``last_tiles`` of one fewer; ``rest``: numbers of the very last vector, where it is masked; its weights are whole.
Weights that lie in rows have all output channels of a term side by side, ``w_row`` bytes from term to term.
``bias``: one number for each output channel. With far rows every term asks for a line of what is read later,
``x_ahead`` bytes from its first row's sample and ``w_ahead`` from its weights."""

MOST_ROWS = 9
"""Rows of the register tile at most: each has an address of its own, and there are 15 registers for all addresses."""

MOST_FAR_ROWS = 7
"""The same where what far rows ask for takes two of these registers."""


@dataclass(frozen=True, slots=True)
class DenseChannels(RegisterTile):
    """The register tile whose rows are pixels and whose vectors hold output channels.

    ``sums[r, o] += sum_k x[row[r] + offset[k]] * w[k, o]``. Rows are pixels and terms input channels and kernel
    elements; or, for the gradient of weights, rows are input channels and kernel elements and terms are pixels.

    Attributes
    ----------
    weights : {"ordered", "rows", "far-rows"}
        Whether the weights of a tile lie one after another, or in rows that it reads a part of. Far rows, and samples
        with them, are short pieces of memory that the processor does not read ahead by itself.
    memory : {"near", "far"}
        Whether samples are: then the pixels behind a block's own are asked for, which the next one reads.
    """

    weights: Literal["ordered", "rows", "far-rows"] = "ordered"
    memory: Literal["near", "far"] = "near"

    kind: ClassVar[str] = "dense_channels"

    @property
    def of_kind(self) -> str:
        """``dense_channels``, with what distinguishes weights and memory."""
        weights = {"ordered": "", "rows": "_rows", "far-rows": "_far_rows"}[self.weights]
        return f"{self.kind}{weights}{'_far' if self.memory == 'far' else ''}"

    def nest(self) -> Nest:
        """What writes its loops."""
        return _Nest(self)


class _Nest(Nest):
    arguments, along = ARGUMENTS, ("sums", "w", "add", "bias")

    def __init__(self, tile: DenseChannels) -> None:
        super().__init__(tile)
        self.ordered, self.far_weights = tile.weights == "ordered", tile.weights == "far-rows"
        self.far_samples = tile.memory == "far"

    def width(self, name: str, vectors: int) -> str | int:
        if name == "w" and self.ordered:
            return self.w.multiply(self.a["w_vector"], vectors)
        return super().width(name, vectors)

    def blocks(self, at: dict[str, str], vectors: int, mask: str | None) -> None:
        w, a, d = self.w, self.a, self.d
        loop = w.loop("block", a["blocks"], {"rows_at": ("ptr", a["rows_at"]), "sums_at": ("ptr", a["sums_at"])})
        masks = [None] * (vectors - 1) + [mask]
        if self.far_weights:  # block after block asks for another line of what belongs to its tile
            line = w.multiply(w.value(f"urem i64 {loop.index}, {vectors}"), self.weights.bytes)
            w_ahead = w.add(a["w_ahead"], line)
        samples = [
            w.offset(a["x"], w.load_scalar("i64", w.element(loop["rows_at"], n, "i64"))) for n in range(d.rows)
        ]  # fmt: skip

        def places(name: str) -> Places:
            # Read again after the terms: there are not enough registers to keep these addresses too.
            rows = [
                w.offset(at[name], w.load_scalar("i64", w.element(loop["sums_at"], n, "i64"))) for n in range(d.rows)
            ]
            return [(w.offset(r, v * self.sums.bytes), masks[v]) for r in rows for v in range(vectors)]

        def multiply_adds(term: Loop, sums: list[str]) -> str:
            offset = w.load_scalar("i64", w.element(a["offsets"], term.index, "i64"))
            weights = [
                w.load(self.weights, w.offset(term["walk"], v * self.weights.bytes), None if self.ordered else masks[v])
                for v in range(vectors)
            ]
            if self.far_samples:
                # An address of this form takes no register: eight rows, which are one after another, as terms go by.
                w.ask(w.offset(samples[-1], w.multiply(offset, 8)), stays=2)
            if self.far_weights:
                w.ask(w.offset(w.offset(samples[0], a["x_ahead"]), offset), stays=2)
                w.ask(w.offset(term["walk"], w_ahead), stays=2)
            for n, row in enumerate(samples):
                self.meet(sums, n, w.splat(self.samples, w.offset(row, offset)), weights, "sample")
            return w.offset(term["walk"], vectors * self.weights.bytes if self.ordered else a["w_row"])

        def bias(n: int, v: int, held: str | None) -> str:
            return w.load(self.sums, w.offset(at["bias"], v * self.sums.bytes), held)

        self.block(vectors, places, at["w"], multiply_adds, bias)
        loop.close({name: w.element(loop[name], d.rows, "i64") for name in ("rows_at", "sums_at")})
