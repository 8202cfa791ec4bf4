"""Depthwise convolution with channels side by side: every lane of a vector is a channel with a kernel of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.builder import Loop, Vector, Writer
from convkit.codegen.epilogue import NO_ENDING, Ending, ended
from convkit.codegen.pack import FILL
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "out x w rows_at tiles_at places zeros fill bias", "rows row_step tiles channels out_pixel w_vector ahead"
)
"""``rows_at``: for each row of outputs, ``row_step`` bytes apart: how far it lies from ``out``, how many kernel rows it
meets, how far the first one's weights lie from ``w``, and then how far the samples of each kernel row lie from ``x``,
or a mark of `pack`. ``tiles_at``: for each tile of outputs how far it lies from its row, and how far the samples of
each of its positions lie from theirs, or a mark; these fill whole groups of `AT_ONCE`. ``zeros`` and ``fill``:
what marks stand for, a number for each channel. ``places``: memory for the addresses of a tile's samples. ``w``: for
each vector of channels, ``w_vector`` bytes apart, a vector for each kernel element. ``ahead``: how far on the samples
of the next tile lie. ``bias``: a number for each channel, as many as fill vectors. All are in bytes but for counts."""

AT_ONCE = 8
"""Addresses that are worked out together."""

HEAD = 3
"""Words of a row before those of its kernel rows."""

MOST_PIXELS = 14, 10
"""Outputs of a tile at most; and where samples have to be loaded before they are multiplied."""


def positions(pixels: int, columns: int, stride: int, dilation: int) -> list[int]:
    """Where, counted from the first, the samples stand that neighbouring outputs of one row need, each once."""
    return sorted({p * stride + k * dilation for p in range(pixels) for k in range(columns)})


def held(count: int) -> int:
    """Words of a table for so many positions."""
    return -(-count // AT_ONCE) * AT_ONCE


def most_pixels(target: Target, columns: int) -> int:
    """Outputs of a tile at most: their sums stay in registers with a row of weights and one vector of samples."""
    return min(MOST_PIXELS[target.vector_bytes == 16], target.registers - columns - 2)


@dataclass(frozen=True, slots=True)
class Channelwise:
    """``out[r, i, c] = sum_k sum_j x[row[r, k] + position[i*stride + j*dilation], c] * w[k, j, c]``.

    ::

        for each row of outputs: for each tile of `pixels` of them:
            note where the samples of all its positions lie
            for each vector of channels: for each kernel row:
                load `columns` vectors of weights
                for each position: load its samples; multiply-add with every weight they meet

    Samples and results are read and written where they lie, their channels side by side: in the arrays themselves or in
    scratch memory. Rows and positions are found by tables, so that every boundary, stride and dilation is the same to
    the loop; kernel rows that meet zeros alone may be left out.

    Attributes
    ----------
    arithmetic : str
        What samples, weights and sums are: a name of `convkit.codegen.arithmetic`.
    lanes : int
        Numbers in a vector.
    pixels : int
        Outputs of a tile, each a vector of sums.
    columns, stride, dilation : int
        Elements of a kernel row; how far neighbouring outputs stand apart, and neighbouring elements.
    edge : {"whole", "masked"}
        Whether the last channels may be fewer than a vector holds.
    reads : {"plain", "ahead"}
        Whether samples are asked for a tile before they are needed, where they come from beyond the caches.
    results : {"cached", "streamed"}
        Streamed results are written past the caches; they begin at a multiple of a vector's bytes.
    ending : Ending
        What becomes of sums before they are stored; a bias lies along the ``channel``.
    """

    arithmetic: str
    lanes: int
    pixels: int
    columns: int
    stride: int = 1
    dilation: int = 1
    edge: Literal["whole", "masked"] = "whole"
    reads: Literal["plain", "ahead"] = "plain"
    results: Literal["cached", "streamed"] = "cached"
    ending: Ending = NO_ENDING

    @property
    def name(self) -> str:
        """``channelwise_<arithmetic>_<lanes>l_<pixels>_<columns>_<stride>_<dilation>_<edge>_...``."""
        shape = f"{self.pixels}_{self.columns}_{self.stride}_{self.dilation}"
        ways = f"{self.edge}_{self.reads}_{self.results}_{self.ending.name}"
        return f"channelwise_{self.arithmetic}_{self.lanes}l_{shape}_{ways}"

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, a row of weights, samples."""
        return self.pixels + self.columns + 1

    @property
    def positions(self) -> list[int]:
        """The positions of a tile."""
        return positions(self.pixels, self.columns, self.stride, self.dilation)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the tile does not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return _ForwardNest(self, target).module()


class _Nest(ABC):
    """Writes the loops that both kernels have: the methods stand in their order, from the outside in."""

    arguments: Arguments
    names: tuple[str, str]
    """What lies where the outputs are, and what lies as weights do."""

    def __init__(self, kernel: Channelwise | ChannelwiseGradient, target: Target) -> None:
        self.k, self.w, self.target = kernel, Writer(), target
        self.arithmetic = ARITHMETIC[kernel.arithmetic]
        self.kind = Vector(kernel.lanes, self.arithmetic.sum)
        self.positions = kernel.positions
        self.words = held(len(self.positions))

    def module(self) -> str:
        w = self.w
        self.a = a = self.arguments.read(w)
        rows = w.loop("row", a["rows"], {"row": ("ptr", a["rows_at"])})
        tiles = w.loop("tile", a["tiles"], {"tile": ("ptr", a["tiles_at"])})
        self.tile(rows["row"], tiles["tile"])
        tiles.close({"tile": w.element(tiles["tile"], 1 + self.words, "i64")})
        rows.close({"row": w.offset(rows["row"], a["row_step"])})
        self.end()
        w.line("ret void")
        return w.function(self.k.name, SIGNATURE)

    def end(self) -> None:  # noqa: B027
        """What is left to do at the end, if anything is."""

    def word(self, table: str, n: int) -> str:
        return self.w.load_scalar("i64", self.w.element(table, n, "i64"))

    def tile(self, row: str, tile: str) -> None:
        """One tile of one row, all channels."""
        w, a, lanes = self.w, self.a, self.k.lanes
        pixels, weights = self.names
        outs = [w.offset(w.offset(a[pixels], self.word(tile, 0)), self.word(row, 0))]
        for _ in range(self.k.pixels - 1):
            outs.append(w.offset(outs[-1], a[f"{pixels}_pixel"]))
        count, first = self.word(row, 1), w.offset(a[weights], self.word(row, 2))
        self.note(tile, row, count)
        whole = w.loop("whole", w.subtract(a["channels"], lanes - 1), {"w": ("ptr", first)}, step=lanes)
        self.channels(outs, whole.index, count, whole["w"], None)
        whole.close({"w": w.offset(whole["w"], a[f"{weights}_vector"])})
        if self.k.edge == "masked":
            rest = w.subtract(a["channels"], whole.index)
            mask = w.lanes_below(self.kind, rest)
            some = w.value(f"icmp sgt i64 {rest}, 0")
            w.when(some, lambda: self.channels(outs, whole.index, count, whole["w"], mask))

    def note(self, tile: str, row: str, count: str) -> None:
        """Work out where the samples of every kernel row and position lie."""
        w, a = self.w, self.a
        kind = Vector(AT_ONCE, "i64")
        zeros, fill, x = (w.value(f"ptrtoint ptr {a[name]} to i64") for name in ("zeros", "fill", "x"))
        zeros, fill = w.fill(kind, zeros), w.fill(kind, fill)
        found: list[tuple[str, str, str]] = []
        marks, fills = w.fill(kind, str(FILL)), w.fill(kind, str(FILL))
        for n in range(0, self.words, AT_ONCE):
            columns = w.load(kind, w.element(tile, 1 + n, "i64"))
            marked = w.value(f"icmp sle {kind} {columns}, {marks}")
            filled = w.value(f"icmp eq {kind} {columns}, {fills}")
            blank = w.value(f"select {kind.mask} {filled}, {kind} {fill}, {kind} {zeros}")
            found.append((columns, marked, blank))
        loop = w.loop("kernel_row", count, {"to": ("ptr", a["places"])})
        at = w.load_scalar("i64", w.element(w.element(row, HEAD, "i64"), loop.index, "i64"))
        filled = w.value(f"icmp eq i64 {at}, {FILL}")
        blank_row = w.value(f"select i1 {filled}, {kind} {fill}, {kind} {zeros}")
        first = w.fill(kind, w.value(f"add i64 {x}, {at}"))

        def write(samples: bool) -> None:
            for n, (columns, marked, blank) in enumerate(found):
                there = w.value(f"add {kind} {first}, {columns}") if samples else blank_row
                # The last axis's mark counts.
                held_ = w.value(f"select {kind.mask} {marked}, {kind} {blank}, {kind} {there}")
                w.store(kind, held_, w.element(loop["to"], n * AT_ONCE, "i64"))

        w.when(w.value(f"icmp sle i64 {at}, {FILL}"), lambda: write(False), lambda: write(True))
        loop.close({"to": w.element(loop["to"], self.words, "i64")})

    @abstractmethod
    def channels(self, outs: list[str], channel: str, count: str, weights: str, mask: str | None) -> None:
        """One vector of channels of one tile, all kernel rows."""

    def fetch(self, channel: str, count: str) -> None:
        """Ask for what the next tile meets first: samples in the last kernel rows of this one, moved along."""
        w, rows = self.w, self.k.stride
        last = w.call("i64", "llvm.smax.i64", ("i64", w.subtract(count, rows)), ("i64", "0"))
        places = w.element(self.a["places"], w.multiply(last, self.words), "i64")
        for row in range(rows):
            for n in range(len(self.positions)):
                place = w.load_scalar("ptr", w.element(places, row * self.words + n, "i64"))
                at = w.offset(w.element(place, channel, self.kind.scalar), self.a["ahead"])
                w.call("void", "llvm.prefetch.p0", ("ptr", at), ("i32", "0"), ("i32", "2"), ("i32", "1"))

    def products(self, places: str, channel: str, mask: str | None) -> Iterator[tuple[str, int, int]]:
        """The samples of one kernel row, each with an output and a kernel element that it is needed for."""
        w, k = self.w, self.k
        for n, position in enumerate(self.positions):
            place = w.load_scalar("ptr", w.element(places, n, "i64"))
            samples = w.load(self.kind, w.element(place, channel, self.kind.scalar), mask)
            for j in range(k.columns):
                pixel, rest = divmod(position - j * k.dilation, k.stride)
                if rest == 0 and 0 <= pixel < k.pixels:
                    yield samples, pixel, j

    def row_of(self, at: str) -> list[str]:
        """Where the vectors of one kernel row lie."""
        return [self.w.offset(at, j * self.kind.bytes) for j in range(self.k.columns)]


class _ForwardNest(_Nest):
    arguments, names = ARGUMENTS, ("out", "w")

    def __init__(self, kernel: Channelwise, target: Target) -> None:
        super().__init__(kernel, target)
        self.results, self.ending = kernel.results, kernel.ending
        self.sums = [f"s{n}" for n in range(kernel.pixels)]

    def end(self) -> None:
        if self.results == "streamed" and self.target.triple.startswith(("x86_64", "amd64")):
            self.w.call("void", "llvm.x86.sse.sfence")  # streamed results are seen by others only after it

    def channels(self, outs: list[str], channel: str, count: str, weights: str, mask: str | None) -> None:
        """One vector of channels: all kernel rows, then the sums are stored."""
        w = self.w
        carried = {"places": ("ptr", self.a["places"]), "w": ("ptr", weights)}
        sums = {name: (str(self.kind), "zeroinitializer") for name in self.sums}
        loop = w.loop("sum", count, {**carried, **sums})
        found = self.kernel_row(loop, channel, mask)
        loop.close({
            "places": w.element(loop["places"], self.words, "i64"),
            "w": w.offset(loop["w"], self.k.columns * self.kind.bytes),
            **dict(zip(self.sums, found, strict=True)),
        })  # fmt: skip
        if self.k.reads == "ahead":
            self.fetch(channel, count)
        bias = None
        if self.ending.bias:
            bias = w.load(self.kind, w.element(self.a["bias"], channel, self.kind.scalar))
        for name, out in zip(self.sums, outs, strict=True):
            place = w.element(out, channel, self.kind.scalar)
            value = ended(w, self.kind, self.ending, loop[name], bias)
            if self.results == "streamed" and mask is None:
                w.stream(self.kind, value, place)
            else:
                w.store(self.kind, value, place, mask)

    def kernel_row(self, loop: Loop, channel: str, mask: str | None) -> list[str]:
        """One kernel row: every vector of samples meets all its weights."""
        w = self.w
        weights = [w.load(self.kind, place) for place in self.row_of(loop["w"])]
        sums = [loop[name] for name in self.sums]
        for samples, pixel, j in self.products(loop["places"], channel, mask):
            sums[pixel] = self.arithmetic.multiply_add(w, self.k.lanes, samples, weights[j], sums[pixel])
        return sums


GRADIENT_ARGUMENTS = Arguments.of(
    "g x sums rows_at tiles_at places zeros fill", "rows row_step tiles channels g_pixel sums_vector ahead"
)
"""As `ARGUMENTS`: ``g``, the gradient of the outputs, lies where these would, and ``sums`` as weights do."""


@dataclass(frozen=True, slots=True)
class ChannelwiseGradient:
    """``sums[k, j, c] += sum_(r,i) g[r, i, c] * x[row[r, k] + position[i*stride + j*dilation], c]``.

    ::

        for each row of outputs: for each tile of `pixels` of them:
            note where the samples of all its positions lie
            for each vector of channels: load the gradient of `pixels` outputs; for each kernel row:
                load `columns` vectors of sums; for each position: load its samples; multiply-add; store the sums

    Attributes
    ----------
    arithmetic, lanes, pixels, columns, stride, dilation, edge, reads
        As in `Channelwise`.
    """

    arithmetic: str
    lanes: int
    pixels: int
    columns: int
    stride: int = 1
    dilation: int = 1
    edge: Literal["whole", "masked"] = "whole"
    reads: Literal["plain", "ahead"] = "plain"

    @property
    def name(self) -> str:
        """``channelwise_gradient_<arithmetic>_<lanes>l_<pixels>_<columns>_<stride>_<dilation>_<edge>_<reads>``."""
        shape = f"{self.pixels}_{self.columns}_{self.stride}_{self.dilation}"
        return f"channelwise_gradient_{self.arithmetic}_{self.lanes}l_{shape}_{self.edge}_{self.reads}"

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums of a kernel row, the gradient, samples."""
        return self.pixels + self.columns + 1

    @property
    def positions(self) -> list[int]:
        """The positions of a tile."""
        return positions(self.pixels, self.columns, self.stride, self.dilation)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the tile does not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return _GradientNest(self, target).module()


class _GradientNest(_Nest):
    arguments, names = GRADIENT_ARGUMENTS, ("g", "sums")

    def channels(self, outs: list[str], channel: str, count: str, weights: str, mask: str | None) -> None:
        """One vector of channels: the gradient of the tile is held, the sums of one kernel row after another."""
        w, scalar = self.w, self.kind.scalar
        gradient = [w.load(self.kind, w.element(out, channel, scalar), mask) for out in outs]
        loop = w.loop("sum", count, {"places": ("ptr", self.a["places"]), "w": ("ptr", weights)})
        at = self.row_of(loop["w"])
        sums = [w.load(self.kind, place) for place in at]
        for samples, pixel, j in self.products(loop["places"], channel, mask):
            sums[j] = self.arithmetic.multiply_add(w, self.k.lanes, samples, gradient[pixel], sums[j])
        for place, total in zip(at, sums, strict=True):
            w.store(self.kind, total, place)
        loop.close({
            "places": w.element(loop["places"], self.words, "i64"),
            "w": w.offset(loop["w"], self.k.columns * self.kind.bytes),
        })  # fmt: skip
        if self.k.reads == "ahead":
            self.fetch(channel, count)
