"""Steps that many tasks have in common, written once and run from each of them."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import Writer
from convkit.codegen.step import BASES, OUT, SIGNATURE, WORDS, Arguments, X
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("steps given out x", "length times given_step out_step x_step")
"""``steps``: where they stand, with the words that each has in a program. ``given``, ``out``, ``x``: what they find
under `GIVEN`, ``OUT`` and ``X`` the first time, and so many bytes further each time after."""

GIVEN = BASES - 1
"""The base that differs from task to task."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """The kernel that runs ``length`` steps in order, ``times`` over, as a task does, which has one step for them.

    ::

        for time: for step: call its kernel
    """

    @property
    def name(self) -> str:
        """``sequence``."""
        return "sequence"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w = Writer()
        bases = w.value(f"alloca [{BASES} x ptr]")
        a = ARGUMENTS.read(w)
        size = ("i64", str(8 * BASES))
        w.call("void", "llvm.memcpy.p0.p0.i64", ("ptr", bases), ("ptr", "%bases"), size, ("i1", "0"))
        moving = {"given": GIVEN, "out": OUT, "x": X}
        times = w.loop("time", a["times"], {name: ("ptr", a[name]) for name in moving})
        for name, base in moving.items():
            w.line(f"store ptr {times[name]}, ptr {w.element(bases, base, 'ptr')}")
        loop = w.loop("step", a["length"], {"at": ("ptr", a["steps"])})
        kernel = w.load_scalar("ptr", loop["at"])
        w.line(f"call void {kernel}(ptr {bases}, ptr {w.element(loop['at'], 1, 'i64')})")
        loop.close({"at": w.element(loop["at"], WORDS, "i64")})
        times.close({name: w.offset(times[name], a[f"{name}_step"]) for name in moving})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)
