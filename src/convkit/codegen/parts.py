"""Sums that were formed in parts, added in order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.flat import Flat
from convkit.codegen.numbers import STORED
from convkit.codegen.program import Program
from convkit.codegen.step import OUT, SIGNATURE, Arguments, X
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out x", "numbers parts x_part")
"""``out[i] = x[0, i] + x[1, i] + ...``, numbers side by side; ``x_part``: bytes from one part to the next."""

AT_ONCE = 1 << 13
"""Numbers of a result that one task adds."""

SECONDS = 1e-10
"""What it takes to add one."""


@dataclass(frozen=True, slots=True)
class Parts(Flat):
    """The kernel that adds parts of one type."""

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w = Writer()
        a = ARGUMENTS.read(w)
        scalar = STORED[self.dtype]
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
    x_part = count * np.dtype(dtype).itemsize
    return Parts(dtype).program(ARGUMENTS, count, AT_ONCE, {"out": OUT, "x": X}, parts=parts, x_part=x_part)
