"""Tiles of samples on their way to the products of Winograd's filtering: transformed along both axes, in registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.winograd_forms import Forms, groups_of
from convkit.codegen.winograd_points import TAPS, transforms

ARGUMENTS = Arguments.of(
    "to x",
    "blocks to_block x_block images x_image tile_rows x_tile_row x_row tile_columns",
)
"""``blocks`` of as many channels as a vector holds; for each of them samples lie pixel by pixel, a vector each, and so
do the transformed tiles, frequency by frequency. ``x_row``: bytes from row to row; ``x_tile_row``: from the first row
of a tile to that of the next."""


@dataclass(frozen=True, slots=True)
class WinogradInput:
    """``to[b, t, f, g, c] = sum_ij B[f, i] B[g, j] x[b, i + m*row(t), j + m*column(t), c]``.

    ::

        for block of channels: for image: for row of tiles: for tile:
            for frequencies f that share their sums: transform all columns; transform the rows f; store

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    outputs : int
        Outputs of a tile along each axis, ``m``.
    of : {"samples", "upstream"}
        What tiles hold: samples, which overlap; or the ``m`` x ``m`` gradients of outputs, which are transformed by the
        transposed matrix of the sums.
    taps : int
        Kernel elements along each axis.
    """

    number: str
    outputs: int
    of: Literal["samples", "upstream"] = "samples"
    taps: int = TAPS

    @property
    def name(self) -> str:
        """``winograd_input_<number>_<outputs>_<taps>_<of>``."""
        return f"winograd_input_{self.number}_{self.outputs}_{self.taps}_{self.of}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, kernel: WinogradInput, target: Target) -> None:
        self.name, self.m, self.w = kernel.name, kernel.outputs, Writer()
        element = Element(kernel.number)
        self.kind = Vector(target.vector_bytes // element.bytes, element.stored)
        matrices = transforms(kernel.outputs, kernel.taps)
        self.matrix = matrices.inputs if kernel.of == "samples" else matrices.adjoint.kernel
        self.forms, self.reach = Forms(self.w, self.kind), len(self.matrix[0])
        self.groups = groups_of(self.matrix, target)

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        blocks = w.loop("block", a["blocks"], {"to": ("ptr", a["to"]), "x": ("ptr", a["x"])})
        images = w.loop("image", a["images"], {"to": ("ptr", blocks["to"]), "x": ("ptr", blocks["x"])})
        rows = w.loop("row", a["tile_rows"], {"to": ("ptr", images["to"]), "x": ("ptr", images["x"])})
        tiles = w.loop("tile", a["tile_columns"], {"to": ("ptr", rows["to"]), "x": ("ptr", rows["x"])})
        self.tile(tiles["to"], tiles["x"])
        tiles.close(
            {
                "to": w.offset(tiles["to"], len(self.matrix) ** 2 * self.kind.bytes),
                "x": w.offset(tiles["x"], self.m * self.kind.bytes),
            }
        )
        rows.close({"to": tiles["to"], "x": w.offset(rows["x"], a["x_tile_row"])})
        images.close({"to": rows["to"], "x": w.offset(images["x"], a["x_image"])})
        blocks.close({"to": w.offset(blocks["to"], a["to_block"]), "x": w.offset(blocks["x"], a["x_block"])})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)

    def tile(self, to: str, x: str) -> None:
        """One tile of one block of channels."""
        w, size = self.w, len(self.matrix)
        rows = [x]
        for _ in range(1, self.reach):
            rows.append(w.offset(rows[-1], self.a["x_row"]))
        for group in self.groups:
            columns = [self.forms.rows(self.matrix, group, self.column(rows, j)) for j in range(self.reach)]
            for f, row in zip(group, zip(*columns, strict=True), strict=True):
                for others in self.groups:
                    found = self.forms.rows(self.matrix, others, row.__getitem__)
                    for g, value in zip(others, found, strict=True):
                        w.store(self.kind, value, w.offset(to, (f * size + g) * self.kind.bytes))

    def column(self, rows: list[str], j: int) -> Callable[[int], str]:
        """The samples of one column, each loaded when it is first asked for."""
        return cache(lambda i: self.w.load(self.kind, self.w.offset(rows[i], j * self.kind.bytes)))
