"""Memory cleared by all threads: what is larger than a core's cache takes one of them as long as a layer's tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from convkit.codegen.builder import Writer
from convkit.codegen.flat import Flat
from convkit.codegen.program import Program
from convkit.codegen.step import OUT, SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out", "numbers")
"""Numbers side by side."""

AT_ONCE = 1 << 18
"""Bytes that one task clears."""

SECONDS = 3e-11
"""What it takes to clear one."""


@dataclass(frozen=True, slots=True)
class Zeros(Flat):
    """The kernel that clears bytes (``"uint8"``), in whatever way the C library finds fastest here."""

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w = Writer()
        a = ARGUMENTS.read(w)
        w.call("void", "llvm.memset.p0.i64", ("ptr", a["out"]), ("i8", "0"), ("i64", a["numbers"]), ("i1", "false"))
        w.line("ret void")
        return w.function(self.name, SIGNATURE)


@lru_cache(maxsize=256)
def program(size: int) -> Program:
    """Clears ``size`` bytes."""
    return Zeros("uint8").program(ARGUMENTS, size, AT_ONCE, {"out": OUT})
