"""Depthwise convolution with channels side by side: every lane of a vector is a channel with a kernel of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import Loop
from convkit.codegen.channelwise_nest import PixelKernel, PixelNest
from convkit.codegen.epilogue import NO_ENDING, Ending, ended
from convkit.codegen.numbers import named
from convkit.codegen.step import Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "out x w rows_at tiles_at elements_at places zeros fill bias",
    "rows row_step tiles channels out_pixel w_vector ahead",
)
"""``rows_at``: for each row of outputs, ``row_step`` bytes apart: how far it lies from ``out``, how many kernel rows it
meets, where the first of them stands in ``elements_at``, and then how far the samples of each kernel row lie from
``x``, or a mark of `pack`. ``elements_at``: how far the weights of each kernel row lie from ``w``. ``tiles_at``: for
each tile of outputs how far it lies from its row, and how far the samples of each of its positions lie from theirs, or
a mark; these fill whole groups of `AT_ONCE`. ``zeros`` and ``fill``: what marks stand for, a number for each channel.
``places``: memory for the addresses of a tile's samples. ``w``: for each vector of channels, ``w_vector`` bytes apart,
a vector for each kernel element. ``ahead``: how far on the samples of the next tile lie. ``bias``: a number for each
channel, as many as fill vectors. All are in bytes but for counts."""


@dataclass(frozen=True, slots=True)
class Channelwise(PixelKernel):
    """``out[r, i, c] = sum_k sum_j x[row[r, k] + position[i*stride + j*dilation], c] * w[k, j, c]``.

    ::

        for each row of outputs: for each tile of them, or the other way round:
            note where the samples of all its positions lie
            for each vector of channels: for each kernel row:
                load its vectors of weights
                for each position: load its samples; multiply-add with every weight they meet

    Samples and results are read and written where they lie, their channels side by side: in the arrays themselves or in
    scratch memory. Rows and positions are found by tables, so that every boundary, stride and dilation is the same to
    the loop; kernel rows that meet zeros alone may be left out.

    Attributes
    ----------
    spacing : int
        How many elements apart those of a kernel row lie among the weights.
    results : {"cached", "streamed"}
        Streamed results are written past the caches; they begin at a multiple of a vector's bytes.
    ending : Ending
        What becomes of sums before they are stored; a bias lies along the ``channel``.
    """

    spacing: int = 1
    results: Literal["cached", "streamed"] = "cached"
    ending: Ending = NO_ENDING

    @property
    def name(self) -> str:
        """``channelwise_<arithmetic>_<lanes>l_<tile>_<spacing>_<edge>_<reads>_<results>_<ending>_<types>``."""
        ways = f"{self.spacing}_{self.edge}_{self.reads}_{self.results}_{self.ending.name}"
        return named(f"channelwise_{self.arithmetic}_{self.lanes}l_{self.tile.name}_{ways}", self.types)

    def nest(self, target: Target) -> PixelNest:
        """What writes its loops."""
        return _Nest(self, target)


class _Nest(PixelNest):
    arguments, outer, inner = ARGUMENTS, "out", "w"

    def __init__(self, kernel: Channelwise, target: Target) -> None:
        super().__init__(kernel, target)
        self.results, self.ending, self.spacing = kernel.results, kernel.ending, kernel.spacing
        self.sums = [f"s{n}" for n in range(kernel.tile.outputs)]
        if kernel.reads == "plain":  # rows of a strip meet the same samples; far memory is read in its own order
            self.order = ("tile", "row")

    def end(self) -> None:
        if self.results == "streamed" and self.target.triple.startswith(("x86_64", "amd64")):
            self.w.call("void", "llvm.x86.sse.sfence")  # streamed results are seen by others only after it

    def channels(self, outs: list[str], channel: str, count: str, inner: str, first: str, mask: str | None) -> None:
        """One vector of channels: all kernel rows, then the sums are stored."""
        w = self.w
        carried = {"places": ("ptr", self.a["places"]), "entry": ("ptr", first)}
        sums = {name: (str(self.kind), "zeroinitializer") for name in self.sums}
        loop = w.loop("sum", count, {**carried, **sums})
        found = self.kernel_row(loop, inner, channel, mask)
        loop.close({
            "places": w.element(loop["places"], self.words, "i64"), "entry": w.element(loop["entry"], 1, "i64"),
            **dict(zip(self.sums, found, strict=True)),
        })  # fmt: skip
        if self.k.reads == "ahead":
            self.fetch(channel, count)
        bias = None
        if self.ending.bias:
            bias = w.load(self.kind, w.element(self.a["bias"], channel, self.kind.scalar))
        for name, out in zip(self.sums, outs, strict=True):
            place = w.element(out, channel, self.outputs.scalar)
            value = ended(w, self.kind, self.ending, loop[name], bias)
            if self.results == "streamed" and mask is None:
                w.stream(self.kind, value, place)
            else:
                self.outputs.store(w, self.k.lanes, value, place, mask)

    def kernel_row(self, loop: Loop, inner: str, channel: str, mask: str | None) -> list[str]:
        """One kernel row: every vector of samples meets all its weights."""
        w = self.w
        weights = [w.load(self.kind, place) for place in self.row_of(inner, loop["entry"])]
        sums = [loop[name] for name in self.sums]
        for samples, pixel, j in self.products(loop["places"], channel, mask):
            sums[pixel] = self.arithmetic.multiply_add(w, self.k.lanes, samples, weights[j], sums[pixel])
        return sums
