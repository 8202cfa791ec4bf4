"""Products of spectra, summed over channels in registers: what stands between a layer's transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.fourier_butterflies import Complex
from convkit.codegen.numbers import STORED
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "sums x w scale",
    "vectors depth panels last_panels boxes last_boxes row sums_vector x_vector w_vector",
)
"""A vector of frequencies takes ``x_vector`` bytes of samples, ``w_vector`` of weights, ``sums_vector`` of sums. In
these, complex vectors are neighbours: of samples by channel and tile, of sums by output and tile, where ``row`` is the
bytes of all tiles; of weights panel by panel, there by channel and output. ``panels`` of ``outputs`` outputs, then
``last_panels`` of one fewer; ``boxes`` of ``tiles`` tiles, then ``last_boxes`` of one fewer. ``scale``: one number."""


LINE = 64
"""Bytes of a cache line."""


@dataclass(frozen=True, slots=True)
class Products:
    """``sums[f, o, t] = scale * sum_c x[f, c, t] * conj(w[f, c, o])`` over complex numbers.

    ::

        for vector of frequencies: for panel of `outputs` outputs: for box of `tiles` tiles:
            for channel: load `outputs` complex vectors of weights and `tiles` of samples; 4 multiply-adds for each pair

    Vectors lie along the frequencies, so that nothing is spread over lanes or turned around. The conjugate makes a
    correlation of it.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        The type of the parts.
    outputs, tiles : int
        How many are summed at once.
    """

    dtype: str
    outputs: int
    tiles: int

    @property
    def name(self) -> str:
        """``fourier_products_<dtype>_<outputs>x<tiles>``."""
        return f"fourier_products_{self.dtype}_{self.outputs}x{self.tiles}"

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, weights, one complex vector of samples."""
        return 2 * (self.outputs * self.tiles + self.outputs + 1)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the sums do not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, products: Products, target: Target) -> None:
        self.p, self.w = products, Writer()
        scalar = STORED[products.dtype]
        self.kind = Vector(target.vector_bytes // ITEM_BYTES[scalar], scalar)
        self.pair = 2 * self.kind.bytes

    def module(self) -> str:
        w, p = self.w, self.p
        self.a = a = ARGUMENTS.read(w)
        loop = w.loop("vector", a["vectors"], {name: ("ptr", a[name]) for name in ("sums", "x", "w")})
        sums, weights = self.panels(loop["sums"], loop["x"], loop["w"], a["panels"], p.outputs)
        if p.outputs > 1:
            self.panels(sums, loop["x"], weights, a["last_panels"], p.outputs - 1)
        loop.close({name: w.offset(loop[name], a[f"{name}_vector"]) for name in ("sums", "x", "w")})
        w.line("ret void")
        return w.function(p.name, SIGNATURE)

    def panels(self, sums: str, x: str, weights: str, count: str, outputs: int) -> tuple[str, str]:
        """Panels of so many outputs; where the next one begins."""
        w, p, a = self.w, self.p, self.a
        loop = w.loop("panel", count, {"sums": ("ptr", sums), "w": ("ptr", weights)})
        to, samples = self.boxes(loop["sums"], x, loop["w"], a["boxes"], outputs, p.tiles)
        if p.tiles > 1:
            self.boxes(to, samples, loop["w"], a["last_boxes"], outputs, p.tiles - 1)
        loop.close({
            "sums": w.offset(loop["sums"], w.multiply(a["row"], outputs)),
            "w": w.offset(loop["w"], w.multiply(a["depth"], outputs * self.pair)),
        })  # fmt: skip
        return loop["sums"], loop["w"]

    def boxes(self, sums: str, x: str, weights: str, count: str, outputs: int, tiles: int) -> tuple[str, str]:
        """Boxes of so many tiles; where the next one begins."""
        w = self.w
        loop = w.loop("box", count, {"sums": ("ptr", sums), "x": ("ptr", x)})
        rows = [loop["sums"]]
        for _ in range(1, outputs):
            rows.append(w.offset(rows[-1], self.a["row"]))
        places = [w.offset(row, t * self.pair) for row in rows for t in range(tiles)]
        found = self.channels(loop["x"], weights, outputs, tiles)
        scale = w.splat(self.kind, self.a["scale"])  # read when the channels are done with the registers
        for (re, im), place in zip(found, places, strict=True):
            for part, value in enumerate((re, im)):
                scaled = w.value(f"fmul {self.kind} {value}, {scale}")
                w.store(self.kind, scaled, w.offset(place, part * self.kind.bytes))
        loop.close({name: w.offset(loop[name], tiles * self.pair) for name in ("sums", "x")})
        return loop["sums"], loop["x"]

    def channels(self, x: str, weights: str, outputs: int, tiles: int) -> list[Complex]:
        """All channels of some outputs and tiles."""
        w, count = self.w, outputs * tiles
        following = w.offset(weights, w.multiply(self.a["depth"], outputs * self.pair))
        names = [(f"re{n}", f"im{n}") for n in range(count)]
        zeros = {name: (str(self.kind), "zeroinitializer") for pair in names for name in pair}
        places = {"x": ("ptr", x), "w": ("ptr", weights), "following": ("ptr", following)}
        loop = w.loop("channel", self.a["depth"], {**places, **zeros})
        self.fetch(loop["following"], outputs)
        found = self.terms(loop["x"], loop["w"], [(loop[re], loop[im]) for re, im in names], outputs)
        sums = {name: value for pair, both in zip(names, found, strict=True) for name, value in zip(pair, both)}
        loop.close({
            "x": w.offset(loop["x"], self.a["row"]),
            **{name: w.offset(loop[name], outputs * self.pair) for name in ("w", "following")}, **sums,
        })  # fmt: skip
        return [(loop[re], loop[im]) for re, im in names]

    def fetch(self, weights: str, outputs: int) -> None:
        """Ask for weights of the next panel, one channel's: each is met once, and should leave no trace in a cache."""
        for line in range(0, outputs * self.pair, LINE):
            self.w.ask(self.w.offset(weights, line), stays=0)

    def terms(self, x: str, weights: str, sums: Sequence[Complex], outputs: int) -> list[Complex]:
        """One channel: every tile's samples meet every output's weights."""
        w, kind, tiles = self.w, self.kind, len(sums) // outputs
        held = [self.complex(weights, o) for o in range(outputs)]
        found = list(sums)
        for t in range(tiles):
            xr, xi = self.complex(x, t)
            turned = w.value(f"fneg {kind} {xr}")
            for o, (wr, wi) in enumerate(held):
                re, im = found[o * tiles + t]
                re, im = w.fma(kind, xr, wr, re), w.fma(kind, xi, wr, im)
                found[o * tiles + t] = w.fma(kind, xi, wi, re), w.fma(kind, turned, wi, im)
        return found

    def complex(self, place: str, n: int) -> Complex:
        """Complex vector ``n`` from a place on."""
        w, kind = self.w, self.kind
        return w.load(kind, w.offset(place, n * self.pair)), w.load(kind, w.offset(place, n * self.pair + kind.bytes))
