"""Sums that were formed in parts, added in order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.library import address_of
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import OUT, SIGNATURE, Arguments, X
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out x", "numbers parts x_part")
"""``out[i] = x[0, i] + x[1, i] + ...``, numbers side by side; ``x_part``: bytes from one part to the next."""

AT_ONCE = 1 << 13
"""Numbers of a result that one task adds."""

SECONDS = 1e-10
"""What it takes to add one."""

_SCALARS = {"float32": "float", "float64": "double"}


@dataclass(frozen=True, slots=True)
class Parts:
    """The kernel that adds parts of one type.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        By NumPy's name.
    """

    dtype: str

    @property
    def name(self) -> str:
        """``parts_<dtype>``."""
        return f"parts_{self.dtype}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w = Writer()
        a = ARGUMENTS.read(w)
        scalar = _SCALARS[self.dtype]
        kind = Vector(target.vector_bytes // ITEM_BYTES[scalar], scalar)

        def added(at: str, mask: str | None) -> None:
            first = w.element(a["x"], at, scalar)
            carried = {"sum": (str(kind), w.load(kind, first, mask)), "x": ("ptr", w.offset(first, a["x_part"]))}
            parts = w.loop("part", w.subtract(a["parts"], 1), carried)
            total = w.value(f"fadd {kind} {parts['sum']}, {w.load(kind, parts['x'], mask)}")
            parts.close({"sum": total, "x": w.offset(parts["x"], a["x_part"])})
            w.store(kind, parts["sum"], w.element(a["out"], at, scalar), mask)

        whole = w.loop("whole", w.subtract(a["numbers"], kind.lanes - 1), step=kind.lanes)
        added(whole.index, None)
        whole.close()
        left = w.subtract(a["numbers"], whole.index)
        some = w.value(f"icmp sgt i64 {left}, 0")
        w.when(some, lambda: added(whole.index, w.lanes_below(kind, left)))
        w.line("ret void")
        return w.function(self.name, SIGNATURE)


@lru_cache(maxsize=256)
def program(dtype: str, parts: int, count: int) -> Program:
    """Adds ``parts`` parts of ``count`` numbers each, which follow one another."""
    first = np.arange(0, count, AT_ONCE, dtype=np.int64)
    item = np.dtype(dtype).itemsize
    steps = ARGUMENTS.steps(
        address_of(Parts(dtype)), len(first), out=(OUT, first * item), x=(X, first * item), parts=parts,
        numbers=np.minimum(AT_ONCE, count - first), x_part=count * item,
    )  # fmt: skip
    return join([[steps]], Tables().array(), 64)
