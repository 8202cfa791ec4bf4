"""Numbers from anywhere, laid down side by side: how weights of any layout are put into the order they are read in."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import Writer
from convkit.codegen.numbers import Stored, named
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("to x rows_at terms_at", "planes to_plane x_plane terms rows to_row")
"""``rows_at`` and ``terms_at``: how far, in bytes, a row and a term lie from ``x``. Strides are in bytes; the numbers
of one term lie side by side, ``to_row`` bytes from those of the next."""


TERMS = 16
"""Terms that are done for every row before the next ones: what they are read from and written to stays in the cache."""


@dataclass(frozen=True, slots=True)
class Gather:
    """``to[p, k, r] = x[p*x_plane + rows_at[r] + terms_at[k]]``.

    ::

        for plane: for `TERMS` terms: for row: for each of these terms: one number


    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    source : str
        The type of what is read, if it is another.
    """

    number: str
    source: str = ""

    @property
    def name(self) -> str:
        """``gather_<number>_<source>``."""
        return named(f"gather_{self.number}", self.source)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w, numbers, samples = Writer(), Stored(self.number), Stored(self.number, self.source)
        a = ARGUMENTS.read(w)
        planes = w.loop("plane", a["planes"], {"to": ("ptr", a["to"]), "x": ("ptr", a["x"])})
        some = w.loop("some", a["terms"], {"to": ("ptr", planes["to"])}, step=TERMS)
        count = w.smallest(w.subtract(a["terms"], some.index), TERMS)
        places = w.element(a["terms_at"], some.index, "i64")
        rows = w.loop("row", a["rows"], {"to": ("ptr", some["to"])})
        x = w.offset(planes["x"], w.load_scalar("i64", w.element(a["rows_at"], rows.index, "i64")))
        terms = w.loop("term", count, {"to": ("ptr", rows["to"])})
        at = w.load_scalar("i64", w.element(places, terms.index, "i64"))
        numbers.store(w, 1, samples.load(w, 1, w.offset(x, at)), terms["to"])
        terms.close({"to": w.offset(terms["to"], a["to_row"])})
        rows.close({"to": w.offset(rows["to"], numbers.bytes)})
        some.close({"to": w.offset(some["to"], w.multiply(a["to_row"], TERMS))})
        planes.close({"to": w.offset(planes["to"], a["to_plane"]), "x": w.offset(planes["x"], a["x_plane"])})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)
