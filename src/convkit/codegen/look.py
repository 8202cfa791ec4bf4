"""A look for numbers that are not finite."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.flat import Flat
from convkit.codegen.program import Program
from convkit.codegen.step import SIGNATURE, STATUS, Arguments, X
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("x status", "numbers")
"""Numbers side by side; the status, a 64-bit word, is set to 1 where one of them is NaN or infinite."""

AT_ONCE = 1 << 14
"""Numbers that one task looks at."""

SECONDS = 5e-11
"""What it takes to look at one."""

UNROLLED = 4
"""Vectors looked at in a turn."""

_BITS = {"float32": ("i32", 0x7F800000), "float64": ("i64", 0x7FF0000000000000)}
"""Integers of the same size, and the exponent that no finite number has."""


@dataclass(frozen=True, slots=True)
class Look(Flat):
    """The kernel that looks at numbers of one type."""

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w = Writer()
        a = ARGUMENTS.read(w)
        scalar, exponent = _BITS[self.dtype]
        kind = Vector(target.vector_bytes * 8 // int(scalar[1:]), scalar)
        worst = w.fill(kind, str(exponent))

        def seen(found: str, at: str, mask: str | None = None) -> str:
            bits = w.value(f"and {kind} {w.load(kind, w.element(a['x'], at, scalar), mask)}, {worst}")
            return w.value(f"or {kind.mask} {found}, {w.value(f'icmp eq {kind} {bits}, {worst}')}")

        none = {"found": (kind.mask, "zeroinitializer")}
        turns = w.loop("turn", w.subtract(a["numbers"], UNROLLED * kind.lanes - 1), none, UNROLLED * kind.lanes)
        found = turns["found"]
        for n in range(UNROLLED):
            found = seen(found, w.add(turns.index, n * kind.lanes))
        turns.close({"found": found})
        left = w.subtract(a["numbers"], turns.index)
        rest = w.loop("rest", left, {"found": (kind.mask, turns["found"])}, kind.lanes)
        mask = w.lanes_below(kind, w.subtract(left, rest.index))
        rest.close({"found": seen(rest["found"], w.add(turns.index, rest.index), mask)})
        any_ = w.call("i1", f"llvm.vector.reduce.or.v{kind.lanes}i1", (kind.mask, rest["found"]))
        w.when(any_, lambda: w.line(f"store i64 1, ptr {a['status']}, align 8"))
        w.line("ret void")
        return w.function(self.name, SIGNATURE)


@lru_cache(maxsize=256)
def program(dtype: str, count: int) -> Program:
    """Looks at ``count`` numbers side by side."""
    return Look(dtype).program(ARGUMENTS, count, AT_ONCE, {"x": X}, status=(STATUS, 0))
