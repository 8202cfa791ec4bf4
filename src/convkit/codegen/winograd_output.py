"""Sums of products on their way to the outputs of Winograd's filtering: transformed along both axes, in registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Literal

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.winograd_forms import Forms, groups_of
from convkit.codegen.winograd_points import TAPS, transforms

ARGUMENTS = Arguments.of(
    "to x found",
    "blocks to_block x_block images to_image tile_rows to_tile_row to_row tile_columns",
)
"""``blocks`` of as many output channels as a vector holds; for each of them sums lie tile by tile, frequency by
frequency, and outputs pixel by pixel, a vector each. ``found``: where a 1 is stored if an output may not be finite, and
nothing otherwise."""


@dataclass(frozen=True, slots=True)
class WinogradOutput:
    """``to[b, i + m*row(t), j + m*column(t), c] = sum_fg A[i, f] A[j, g] x[b, t, f, g, c]``.

    ::

        for block of channels: for image: for row of tiles: for tile:
            for output rows that share their sums: transform all columns; transform these rows; store

    All outputs are added up: the total is finite only if each of them is.

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    outputs : int
        Outputs of a tile along each axis, ``m``.
    of : {"outputs", "weights"}
        What sums become: outputs; or gradients of weights, by the transposed matrix of the kernel, so that a "tile" is
        the kernel of one input channel and ``m`` the kernel's size.
    taps : int
        Kernel elements along each axis.
    """

    number: str
    outputs: int
    of: Literal["outputs", "weights"] = "outputs"
    taps: int = TAPS

    @property
    def name(self) -> str:
        """``winograd_output_<number>_<outputs>_<taps>_<of>``."""
        return f"winograd_output_{self.number}_{self.outputs}_{self.taps}_{self.of}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, kernel: WinogradOutput, target: Target) -> None:
        self.name, self.w = kernel.name, Writer()
        element = Element(kernel.number)
        self.kind = Vector(target.vector_bytes // element.bytes, element.stored)
        matrices = transforms(kernel.outputs, kernel.taps)
        self.matrix = matrices.outputs if kernel.of == "outputs" else matrices.adjoint.outputs
        self.forms, self.m, self.size = Forms(self.w, self.kind), len(self.matrix), len(matrices.inputs)
        self.mirrored = groups_of(matrices.inputs, None)
        together = 2 if target.registers >= 32 else 1
        parities = [range(parity, self.m, 2) for parity in (0, 1)]
        self.groups = [rows[n : n + together] for rows in parities for n in range(0, len(rows), together)]

    def module(self) -> str:
        w, kind = self.w, self.kind
        self.a = a = ARGUMENTS.read(w)
        blocks = w.loop("block", a["blocks"], self.carried(a["to"], a["x"], "zeroinitializer"))
        images = w.loop("image", a["images"], self.carried(blocks["to"], blocks["x"], blocks["sum"]))
        rows = w.loop("row", a["tile_rows"], self.carried(images["to"], images["x"], images["sum"]))
        tiles = w.loop("tile", a["tile_columns"], self.carried(rows["to"], rows["x"], rows["sum"]))
        total = self.tile(tiles["to"], tiles["x"], tiles["sum"])
        x = w.offset(tiles["x"], self.size**2 * kind.bytes)
        tiles.close({"to": w.offset(tiles["to"], self.m * kind.bytes), "x": x, "sum": total})
        rows.close({"to": w.offset(rows["to"], a["to_tile_row"]), "x": tiles["x"], "sum": tiles["sum"]})
        images.close({"to": w.offset(images["to"], a["to_image"]), "x": rows["x"], "sum": rows["sum"]})
        blocks.close({
            "to": w.offset(blocks["to"], a["to_block"]), "x": w.offset(blocks["x"], a["x_block"]), "sum": images["sum"],
        })  # fmt: skip
        # A number less itself is zero, or no number if it is not finite.
        rest = self.forms.subtract(blocks["sum"], blocks["sum"])
        lost = w.value(f"fcmp uno {kind} {rest}, {rest}")
        any_lost = w.call("i1", f"llvm.vector.reduce.or.v{kind.lanes}i1", (kind.mask, lost))
        w.when(any_lost, lambda: w.line(f"store i64 1, ptr {a['found']}, align 8"))
        w.line("ret void")
        return w.function(self.name, SIGNATURE)

    def carried(self, to: str, x: str, total: str) -> dict[str, tuple[str, str]]:
        return {"to": ("ptr", to), "x": ("ptr", x), "sum": (str(self.kind), total)}

    def tile(self, to: str, x: str, total: str) -> str:
        """One tile of one vector of channels; what the total becomes."""
        w, a = self.w, self.a
        pixels = [to]
        for _ in range(1, self.m):
            pixels.append(w.offset(pixels[-1], a["to_row"]))
        for group in self.groups:
            columns = [self.sums(group, self.column(x, j)) for j in range(self.size)]
            for i, row in zip(group, zip(*columns, strict=True), strict=True):
                for parity in (0, 1):
                    found = self.sums(range(parity, self.m, 2), row.__getitem__)
                    for j, value in zip(range(parity, self.m, 2), found, strict=True):
                        w.store(self.kind, value, w.offset(pixels[i], j * self.kind.bytes))
                        total = self.forms.add(total, value)
        return total

    def column(self, x: str, j: int) -> Callable[[int], str]:
        """The sums of one column of frequencies, each loaded when it is first asked for."""
        return cache(lambda f: self.w.load(self.kind, self.w.offset(x, (f * self.size + j) * self.kind.bytes)))

    def sums(self, rows: range, values: Callable[[int], str]) -> list[str]:
        """Some rows of one parity times a column: numbers of mirrored points are added or subtracted once for all."""

        @cache
        def joined(n: int) -> str:
            group = self.mirrored[n]
            if len(group) == 1:
                return values(group[0])
            even = rows[0] % 2 == 0
            return (self.forms.add if even else self.forms.subtract)(values(group[0]), values(group[1]))

        found: list[str] = []
        for row in rows:
            coefficients: list[Fraction] = [self.matrix[row][group[0]] for group in self.mirrored]
            found.append(self.forms.linear(coefficients, joined))
        return found
