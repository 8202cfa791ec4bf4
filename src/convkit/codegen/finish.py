"""A layer's epilogue on sums that lie in memory, where they stand or on their way out of scratch memory."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.epilogue import Ending, ended
from convkit.codegen.numbers import Stored, named
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "out sums add bias",
    "planes out_plane sums_plane add_plane bias_plane rows out_row sums_row add_row columns",
)  # fmt: skip
"""``out`` and ``sums`` may be one. Strides are in bytes, of any sign. ``bias``: the first plane's number (``plane``),
or the first column's (``column``); ``bias_plane``: bytes to the next plane's."""


@dataclass(frozen=True, slots=True)
class Finish:
    """``out[p, r, i] = activation(sums[p, r, i] + bias[p] + add[p, r, i])``, or with ``bias[i]``.

    ::

        for plane: for row: vector by vector

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of all numbers.
    ending : Ending
        What is done; its bias is of a ``"plane"`` or of a ``"column"``.
    stored : str
        The type of the result, if it is another.
    """

    number: str
    ending: Ending
    stored: str = ""

    @property
    def name(self) -> str:
        """``finish_<number>_<ending>_<stored>``."""
        return named(f"finish_{self.number}_{self.ending.name}", self.stored)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w, numbers = Writer(), Stored(self.number)
        result, other = Stored(self.number, self.stored), Stored(self.number, self.ending.added)
        lanes = target.vector_bytes // numbers.bytes
        kind = Vector(lanes, numbers.scalar)
        a = ARGUMENTS.read(w)
        planes = w.loop("plane", a["planes"], {name: ("ptr", a[name]) for name in ("out", "sums", "add", "bias")})
        bias = w.splat(kind, planes["bias"]) if self.ending.bias == "plane" else None
        rows = w.loop("row", a["rows"], {name: ("ptr", planes[name]) for name in ("out", "sums", "add")})

        def some(at: str, mask: str | None) -> None:
            sums, add = numbers.load(w, lanes, w.element(rows["sums"], at, numbers.scalar), mask), None
            if self.ending.add:
                add = other.load(w, lanes, w.element(rows["add"], at, other.scalar), mask)
            each = bias
            if self.ending.bias == "column":
                each = w.load(kind, w.element(planes["bias"], at, numbers.scalar), mask)
            place = w.element(rows["out"], at, result.scalar)
            result.store(w, lanes, ended(w, kind, self.ending, sums, each, add), place, mask)

        loop = w.loop("whole", w.subtract(a["columns"], lanes - 1), step=lanes)
        some(loop.index, None)
        loop.close()
        rest = w.subtract(a["columns"], loop.index)
        mask = w.lanes_below(Vector(lanes, "i32"), rest)
        w.when(w.value(f"icmp sgt i64 {rest}, 0"), lambda: some(loop.index, mask))
        rows.close({name: w.offset(rows[name], a[f"{name}_row"]) for name in ("out", "sums", "add")})
        planes.close({name: w.offset(planes[name], a[f"{name}_plane"]) for name in ("out", "sums", "add", "bias")})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)
