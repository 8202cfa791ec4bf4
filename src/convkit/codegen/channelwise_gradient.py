"""The gradient of depthwise weights with channels side by side: outputs' are held, sums are brought up to date."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.channelwise_nest import PixelKernel, PixelNest
from convkit.codegen.numbers import named
from convkit.codegen.step import Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "g x sums rows_at tiles_at elements_at places zeros fill",
    "rows row_step tiles channels g_pixel sums_vector ahead",
)
"""As those of `convkit.codegen.channelwise`: ``g``, the gradient of the outputs, lies where these would, and ``sums``
as weights do."""


@dataclass(frozen=True, slots=True)
class ChannelwiseGradient(PixelKernel):
    """``sums[k, j, c] += sum_(r,i) g[r, i, c] * x[row[r, k] + position[i*stride + j*dilation], c]``.

    ::

        for each row of outputs: for each tile of them:
            note where the samples of all its positions lie
            for each vector of channels: load the gradient of the tile's outputs; for each kernel row:
                load its vectors of sums; for each position: load its samples; multiply-add; store the sums
    """

    @property
    def name(self) -> str:
        """``channelwise_gradient_<arithmetic>_<lanes>l_<tile>_<edge>_<reads>_<types>``."""
        shape = f"{self.lanes}l_{self.tile.name}_{self.edge}_{self.reads}"
        return named(f"channelwise_gradient_{self.arithmetic}_{shape}", self.types)

    def nest(self, target: Target) -> PixelNest:
        """What writes its loops."""
        return _Nest(self, target)


class _Nest(PixelNest):
    arguments, outer, inner = ARGUMENTS, "g", "sums"

    def channels(self, outs: list[str], channel: str, count: str, inner: str, first: str, mask: str | None) -> None:
        """One vector of channels: the gradient of the tile is held, the sums of one kernel row after another."""
        w, lanes, scalar = self.w, self.k.lanes, self.outputs.scalar
        gradient = [self.outputs.load(w, lanes, w.element(out, channel, scalar), mask) for out in outs]
        loop = w.loop("sum", count, {"places": ("ptr", self.a["places"]), "entry": ("ptr", first)})
        at = self.row_of(inner, loop["entry"])
        sums = [w.load(self.kind, place) for place in at]
        for samples, pixel, j in self.products(loop["places"], channel, mask):
            sums[j] = self.arithmetic.multiply_add(w, self.k.lanes, samples, gradient[pixel], sums[j])
        for place, total in zip(at, sums, strict=True):
            w.store(self.kind, total, place)
        loop.close({
            "places": w.element(loop["places"], self.words, "i64"), "entry": w.element(loop["entry"], 1, "i64"),
        })  # fmt: skip
        if self.k.reads == "ahead":
            self.fetch(channel, count)
            onwards = w.multiply(self.a["g_pixel"], len(outs))
            for out in outs:
                w.ask(w.offset(w.element(out, channel, scalar), onwards), stays=2)
