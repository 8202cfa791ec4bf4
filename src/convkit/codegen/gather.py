"""Numbers from anywhere, laid down side by side: how weights of any layout are put into the order they are read in."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("to x rows_at terms_at", "planes to_plane x_plane terms rows width")
"""``rows_at`` and ``terms_at``: how far, in bytes, a row and a term lie from ``x``. Of the ``width`` numbers of a term,
those beyond ``rows`` become zero."""


@dataclass(frozen=True, slots=True)
class Gather:
    """``to[p, k, r] = x[p*x_plane + rows_at[r] + terms_at[k]]`` for ``r < rows``, zero for the other ``r < width``.

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    """

    number: str

    @property
    def name(self) -> str:
        """``gather_<number>``."""
        return f"gather_{self.number}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w, element = Writer(), Element(self.number)
        one = Vector(1, element.stored)
        a = ARGUMENTS.read(w)
        line = w.multiply(a["width"], element.bytes)
        planes = w.loop("plane", a["planes"], {"to": ("ptr", a["to"]), "x": ("ptr", a["x"])})
        terms = w.loop("term", a["terms"], {"to": ("ptr", planes["to"])})
        x = w.offset(planes["x"], w.load_scalar("i64", w.element(a["terms_at"], terms.index, "i64")))
        rows = w.loop("row", a["rows"])
        at = w.load_scalar("i64", w.element(a["rows_at"], rows.index, "i64"))
        w.store(one, w.load(one, w.offset(x, at)), w.element(terms["to"], rows.index, element.stored))
        rows.close()
        rest = w.loop("rest", w.subtract(a["width"], a["rows"]))
        w.store(one, "zeroinitializer", w.element(terms["to"], w.add(a["rows"], rest.index), element.stored))
        rest.close()
        terms.close({"to": w.offset(terms["to"], line)})
        planes.close({"to": w.offset(planes["to"], a["to_plane"]), "x": w.offset(planes["x"], a["x_plane"])})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)
