"""Kernels made ready for Winograd's filtering: transformed along both axes in double precision, rounded once."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.winograd_forms import Forms
from convkit.codegen.winograd_points import TAPS, transforms

ARGUMENTS = Arguments.of("to x", "outputs x_output depth to_channel x_channel x_row x_column to_frequency")
"""``outputs``: output channels that are there, as many as a vector of double precision holds at most; the lanes of
others become zero."""


AHEAD = 4
"""Channels before whose turn their elements are asked for: those of a gradient's lie a page apart, which the processor
does not foresee."""


@dataclass(frozen=True, slots=True)
class WinogradKernel:
    """``to[f, g, c, o] = sum_ij G[f, i] G[g, j] x[o, c, i, j]``.

    ::

        for channel: gather the elements of a vector of output channels; transform; store every frequency

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    outputs : int
        Outputs of a tile along each axis.
    taps : int
        Kernel elements along each axis.
    """

    number: str
    outputs: int
    taps: int = TAPS

    @property
    def name(self) -> str:
        """``winograd_kernel_<number>_<outputs>_<taps>``."""
        return f"winograd_kernel_{self.number}_{self.outputs}_{self.taps}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w, element = Writer(), Element(self.number)
        wide = Vector(target.vector_bytes // 8, "double")
        kind = Vector(wide.lanes, element.stored)
        forms, matrix = Forms(w, wide), transforms(self.outputs, self.taps).kernel
        a = ARGUMENTS.read(w)
        steps = Vector(kind.lanes, "i64")
        numbers = ", ".join(f"i64 {n}" for n in range(kind.lanes))
        lanes_at = w.value(f"mul {steps} {w.fill(steps, a['x_output'])}, <{numbers}>")
        there = w.lanes_below(Vector(kind.lanes, "i32"), a["outputs"])
        loop = w.loop("channel", a["depth"], {"to": ("ptr", a["to"]), "x": ("ptr", a["x"])})

        def element_at(i: int, j: int) -> str:
            at = w.offset(w.offset(loop["x"], w.multiply(a["x_row"], i)), w.multiply(a["x_column"], j))
            places = w.value(f"getelementptr i8, ptr {at}, {steps} {lanes_at}")
            found = w.call(
                str(kind), f"llvm.masked.gather.{kind.suffix}.v{kind.lanes}p0",
                (f"<{kind.lanes} x ptr>", places), ("i32", "1"), (kind.mask, there), (str(kind), "zeroinitializer"),
            )  # fmt: skip
            return found if kind.scalar == "double" else w.value(f"fpext {kind} {found} to {wide}")

        ahead = w.offset(loop["x"], w.multiply(a["x_channel"], AHEAD))
        for _ in range(kind.lanes):
            w.ask(ahead)
            ahead = w.offset(ahead, a["x_output"])
        elements = [[element_at(i, j) for j in range(self.taps)] for i in range(self.taps)]
        to = loop["to"]
        for row in matrix:
            columns = [forms.linear(row, lambda i, j=j: elements[i][j]) for j in range(self.taps)]
            for other in matrix:
                value = forms.linear(other, lambda j, columns=columns: columns[j])
                if kind.scalar != "double":
                    value = w.value(f"fptrunc {wide} {value} to {kind}")
                w.store(kind, value, to)
                to = w.offset(to, a["to_frequency"])
        loop.close({"to": w.offset(loop["to"], a["to_channel"]), "x": w.offset(loop["x"], a["x_channel"])})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)
