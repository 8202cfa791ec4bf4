"""The products of Winograd's filtering: for every frequency a matrix of tiles times one of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convkit.codegen.builder import Writer
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.winograd_register import FrequencyTile

ARGUMENTS = Arguments.of(
    "sums x w",
    "frequencies w_frequency w_vector w_begin panels last_panels tiles last_tiles depth x_block sums_block",
)
"""``depth`` channels, as many in a block as a vector holds; blocks of samples are ``x_block`` bytes apart, those of
sums ``sums_block``. Weights of one frequency lie panel by panel, there channel by channel; all channels of one vector
take ``w_vector`` bytes, ``w_begin`` of them before the first channel. ``panels`` of ``vectors`` vectors, then
``last_panels`` of one fewer; ``tiles`` register tiles of ``rows`` rows, then ``last_tiles`` of one fewer."""

MOST_ROWS = 14
"""Rows of the register tile at most: with two vectors of weights they fill the registers."""


@dataclass(frozen=True, slots=True)
class WinogradProducts(FrequencyTile):
    """``sums[t, f, o] += sum_c x[t, f, c] * w[f, c, o]``, channels in blocks as `winograd_input` leaves them.

    ::

        for frequency: for panel of `vectors` vectors of output channels: for `rows` tiles:
            for channel: load `vectors` vectors of weights; load `rows` samples; rows * vectors multiply-adds

    A tile's numbers for one frequency lie a fixed distance from the next tile's, so that one address serves all rows.
    """

    kind = "winograd_products"

    def _written(self, target: Target) -> str:
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, products: WinogradProducts, target: Target) -> None:
        self.p, self.w, self.kind = products, Writer(), products.vector(target)
        self.tile = products.size**2 * self.kind.bytes

    def module(self) -> str:
        w, p = self.w, self.p
        self.a = a = ARGUMENTS.read(w)
        places = {name: ("ptr", a[name]) for name in ("sums", "x", "w")}
        loop = w.loop("frequency", a["frequencies"], places)
        sums, weights = self.panels(loop["sums"], loop["x"], loop["w"], a["panels"], p.vectors)
        if p.vectors > 1:
            self.panels(sums, loop["x"], weights, a["last_panels"], p.vectors - 1)
        loop.close({
            "sums": w.offset(loop["sums"], self.kind.bytes), "x": w.offset(loop["x"], self.kind.bytes),
            "w": w.offset(loop["w"], a["w_frequency"]),
        })  # fmt: skip
        w.line("ret void")
        return w.function(p.name, SIGNATURE)

    def panels(self, sums: str, x: str, weights: str, count: str, vectors: int) -> tuple[str, str]:
        """Panels of ``vectors`` vectors; where the next one begins."""
        w, p, a = self.w, self.p, self.a
        loop = w.loop("panel", count, {"sums": ("ptr", sums), "w": ("ptr", weights)})
        begin = w.offset(loop["w"], w.multiply(a["w_begin"], vectors))
        to, samples = self.tiles(loop["sums"], x, begin, a["tiles"], p.rows, vectors)
        if p.rows > 1:
            self.tiles(to, samples, begin, a["last_tiles"], p.rows - 1, vectors)
        loop.close({
            "sums": w.offset(loop["sums"], w.multiply(a["sums_block"], vectors)),
            "w": w.offset(loop["w"], w.multiply(a["w_vector"], vectors)),
        })  # fmt: skip
        return loop["sums"], loop["w"]

    def tiles(self, sums: str, x: str, weights: str, count: str, rows: int, vectors: int) -> tuple[str, str]:
        """Register tiles of ``rows`` rows; where the next one begins."""
        w = self.w
        loop = w.loop("tile", count, {"sums": ("ptr", sums), "x": ("ptr", x)})
        blocks = [loop["sums"]]
        for _ in range(1, vectors):
            blocks.append(w.offset(blocks[-1], self.a["sums_block"]))
        places = [w.offset(block, r * self.tile) for r in range(rows) for block in blocks]
        starts = ["zeroinitializer"] * len(places)
        if self.p.start == "sums":
            starts = [w.load(self.kind, place) for place in places]
        for total, place in zip(self.blocks(loop["x"], weights, starts, rows), places, strict=True):
            w.store(self.kind, total, place)
        loop.close({name: w.offset(loop[name], rows * self.tile) for name in ("sums", "x")})
        return loop["sums"], loop["x"]

    def blocks(self, x: str, weights: str, starts: Sequence[str], rows: int) -> list[str]:
        """All channels of one register tile, block by block; what its sums become."""
        w, names = self.w, [f"s{n}" for n in range(len(starts))]
        kinds = {name: (str(self.kind), start) for name, start in zip(names, starts, strict=True)}
        loop = w.loop("channels", self.a["depth"], {"x": ("ptr", x), "w": ("ptr", weights), **kinds}, self.kind.lanes)
        count = w.smallest(w.subtract(self.a["depth"], loop.index), self.kind.lanes)
        inner = {name: (kind, loop[name]) for name, (kind, _) in kinds.items()}
        terms = w.loop("term", count, {"w": ("ptr", loop["w"]), **inner})
        sample = w.element(loop["x"], terms.index, self.kind.scalar)
        found = self.term(sample, terms["w"], [terms[name] for name in names], rows)
        vectors = len(starts) // rows
        terms.close({"w": w.offset(terms["w"], vectors * self.kind.bytes), **dict(zip(names, found, strict=True))})
        loop.close({
            "x": w.offset(loop["x"], self.a["x_block"]), "w": terms["w"], **{name: terms[name] for name in names},
        })  # fmt: skip
        return [loop[name] for name in names]

    def term(self, x: str, weights: str, sums: list[str], rows: int) -> list[str]:
        """One channel: every row's sample meets every vector of weights."""
        w, vectors = self.w, len(sums) // rows
        held = [w.load(self.kind, w.offset(weights, v * self.kind.bytes)) for v in range(vectors)]
        found: list[str] = []
        for r in range(rows):
            sample = w.splat(self.kind, w.offset(x, r * self.tile))
            found += [w.fma(self.kind, sample, held[v], sums[r * vectors + v]) for v in range(vectors)]
        return found
