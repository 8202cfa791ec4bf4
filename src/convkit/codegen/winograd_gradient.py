"""The products of a Winograd weight gradient: for every frequency, tiles of samples times tiles of gradients."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import Writer
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.winograd_register import FrequencyTile

ARGUMENTS = Arguments.of(
    "sums x g", "frequencies channels panels last_panels depth sums_block x_block g_block"
)  # fmt: skip
"""``channels`` input channels, as many in a block as a vector holds, and ``depth`` tiles; blocks of samples are
``x_block`` bytes apart, those of gradients ``g_block``, those of sums ``sums_block``. ``panels`` of ``vectors`` blocks
of output channels, then ``last_panels`` of one fewer."""


@dataclass(frozen=True, slots=True)
class WinogradGradient(FrequencyTile):
    """``sums[c, f, o] += sum_t x[t, f, c] * g[t, f, o]``, both in blocks of channels as `winograd_input` leaves them.

    ::

        for frequency: for panel of `vectors` vectors of output channels: for block of input channels: for `rows` of it:
            for tile: load `vectors` vectors of gradients; load `rows` samples; rows * vectors multiply-adds

    Sums lie as those of a layer do, one input channel where one tile is there. Of the last block of channels as many
    are computed as whole register tiles have; there is room for them. Rows divide the lanes of a vector.
    """

    kind = "winograd_gradient"

    def _written(self, target: Target) -> str:
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, kernel: WinogradGradient, target: Target) -> None:
        self.k, self.w, self.kind = kernel, Writer(), kernel.vector(target)
        self.item = self.kind.bytes // self.kind.lanes
        self.tile = kernel.size**2 * self.kind.bytes

    def module(self) -> str:
        w, k = self.w, self.k
        self.a = a = ARGUMENTS.read(w)
        loop = w.loop("frequency", a["frequencies"], {name: ("ptr", a[name]) for name in ("sums", "x", "g")})
        sums, g = self.panels(loop["sums"], loop["x"], loop["g"], a["panels"], k.vectors)
        if k.vectors > 1:
            self.panels(sums, loop["x"], g, a["last_panels"], k.vectors - 1)
        loop.close({name: w.offset(loop[name], self.kind.bytes) for name in ("sums", "x", "g")})
        w.line("ret void")
        return w.function(k.name, SIGNATURE)

    def panels(self, sums: str, x: str, g: str, count: str, vectors: int) -> tuple[str, str]:
        """Panels of ``vectors`` vectors; where the next one begins."""
        w, a = self.w, self.a
        loop = w.loop("panel", count, {"sums": ("ptr", sums), "g": ("ptr", g)})
        self.channels(loop["sums"], x, loop["g"], vectors)
        loop.close({
            name: w.offset(loop[name], w.multiply(a[f"{name}_block"], vectors)) for name in ("sums", "g")
        })  # fmt: skip
        return loop["sums"], loop["g"]

    def channels(self, sums: str, x: str, g: str, vectors: int) -> None:
        """All input channels, block by block, as many at a time as the register tile has rows."""
        w, k, lanes = self.w, self.k, self.kind.lanes
        blocks = w.loop("block", self.a["channels"], {"sums": ("ptr", sums), "x": ("ptr", x)}, lanes)
        count = w.smallest(w.subtract(self.a["channels"], blocks.index), lanes)
        rows = w.loop("rows", count, {"sums": ("ptr", blocks["sums"]), "x": ("ptr", blocks["x"])}, k.rows)
        self.terms(rows["sums"], rows["x"], g, vectors)
        rows.close({"sums": w.offset(rows["sums"], k.rows * self.tile), "x": w.offset(rows["x"], k.rows * self.item)})
        blocks.close({
            "sums": w.offset(blocks["sums"], lanes * self.tile), "x": w.offset(blocks["x"], self.a["x_block"]),
        })  # fmt: skip

    def terms(self, sums: str, x: str, g: str, vectors: int) -> None:
        """One register tile: its sums begun, all tiles added, stored."""
        w, k, a, kind = self.w, self.k, self.a, self.kind
        blocks = [sums]
        for _ in range(1, vectors):
            blocks.append(w.offset(blocks[-1], a["sums_block"]))
        places = [w.offset(block, r * self.tile) for r in range(k.rows) for block in blocks]
        starts = ["zeroinitializer"] * len(places) if k.start == "zero" else [w.load(kind, place) for place in places]
        names = [f"s{n}" for n in range(len(places))]
        kinds = {name: (str(kind), start) for name, start in zip(names, starts, strict=True)}
        loop = w.loop("tile", a["depth"], {"x": ("ptr", x), "g": ("ptr", g), **kinds})
        held = [w.load(kind, w.offset(loop["g"], w.multiply(a["g_block"], v) if v else 0)) for v in range(vectors)]
        found: list[str] = []
        for r in range(k.rows):
            sample = w.splat(kind, w.offset(loop["x"], r * self.item))
            found += [w.fma(kind, sample, held[v], loop[names[r * vectors + v]]) for v in range(vectors)]
        loop.close({
            "x": w.offset(loop["x"], self.tile), "g": w.offset(loop["g"], self.tile),
            **dict(zip(names, found, strict=True)),
        })  # fmt: skip
        for name, place in zip(names, places, strict=True):
            w.store(kind, loop[name], place)
