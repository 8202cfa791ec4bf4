"""Tiles on their way out: sums of one plane, or of a real and an imaginary one, stored as the result has them."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element, narrow
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out sums imaginary", "planes out_plane sums_plane rows out_row sums_row columns out_step")
"""Strides are in bytes, of either sign for ``out``; sizes are counts. Complex results alone read ``imaginary``."""


@dataclass(frozen=True, slots=True)
class Unpack:
    """The kernel that stores sums of type ``source`` as ``target``, rounded once and saturated.

    ::

        for plane: for row: vector by vector

    Attributes
    ----------
    source, target : str
        Element types, by NumPy's names; of a complex result, its parts'.
    layout : {"contiguous", "strided", "complex", "strided-complex"}
        Whether columns of the result lie side by side or anywhere; complex ones are pairs of parts.
    """

    source: str
    target: str
    layout: str = "contiguous"

    @property
    def name(self) -> str:
        """``unpack_<source>_<target>_<layout>``."""
        return f"unpack_{self.source}_{self.target}_{self.layout.replace('-', '_')}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w = Writer()
        a = ARGUMENTS.read(w)
        carried = {"out": ("ptr", a["out"]), "sums": ("ptr", a["sums"]), "imaginary": ("ptr", a["imaginary"])}
        planes = w.loop("plane", a["planes"], carried)
        rows = w.loop("row", a["rows"], {name: ("ptr", planes[name]) for name in carried})
        self._row(w, a, rows["out"], rows["sums"], rows["imaginary"], target.vector_bytes)
        steps = {"out": "out", "sums": "sums", "imaginary": "sums"}
        rows.close({name: w.offset(rows[name], a[f"{of}_row"]) for name, of in steps.items()})
        planes.close({name: w.offset(planes[name], a[f"{of}_plane"]) for name, of in steps.items()})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)

    def _row(self, w: Writer, a: dict[str, str], out: str, sums: str, imaginary: str, vector_bytes: int) -> None:
        source, target = Element(self.source), Element(self.target)
        strided, pairs = self.layout.startswith("strided"), self.layout.endswith("complex")
        lanes = 1 if strided else vector_bytes // source.bytes
        have, want = Vector(lanes, source.stored), Vector(lanes, target.stored)

        def store(at: str, mask: str | None, below: str | None) -> None:
            value = narrow(w, w.load(have, w.element(sums, at, source.stored), mask), lanes, source, target)
            place = w.offset(out, w.multiply(at, a["out_step"] if strided else target.bytes))
            if not pairs:
                w.store(want, value, place, mask)
                return
            other = narrow(w, w.load(have, w.element(imaginary, at, source.stored), mask), lanes, source, target)
            if strided:
                w.store(want, value, place)
                w.store(want, other, w.offset(place, target.bytes))
                return
            for half in (0, 1):
                picked = [n // 2 + lanes * (n % 2) for n in range(half * lanes, (half + 1) * lanes)]
                place = w.element(out, w.add(w.multiply(at, 2), half * lanes), target.stored)
                held = None
                if below is not None:
                    held = w.lanes_below(Vector(lanes, "i32"), w.subtract(w.multiply(below, 2), half * lanes))
                w.store(want, w.shuffle(want, value, other, picked), place, held)

        loop = w.loop("whole", w.subtract(a["columns"], lanes - 1), step=lanes)
        store(loop.index, None, None)
        loop.close()
        if lanes == 1:
            return
        rest = w.subtract(a["columns"], loop.index)
        mask = w.lanes_below(Vector(lanes, "i32"), rest)
        w.when(w.value(f"icmp sgt i64 {rest}, 0"), lambda: store(loop.index, mask, rest))
