"""The one way in which kernels are called: two pointers, to bases and to a step's words.

A step is an array of 64-bit words that holds a kernel's arguments in a fixed order. A number takes one word; a pointer
takes two, which base and how many bytes from it, so that a step can be written before the arrays are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convkit.codegen.builder import Writer

SIGNATURE = ("ptr %bases", "ptr %step")
SCRATCH, OUT, X, KERNEL, TABLES, STATUS, BIAS, ADD = range(8)
"""The bases: the running thread's own memory, the result, the input, the prepared kernel, tables of a program, a word
in which kernels say what they came upon, and the operands of a layer's epilogue."""

BASES = 12
"""Of which those beyond `ADD` are for programs of several layers, which have weights and biases of each."""
"""How many there may be."""

WORDS = 40
"""Words of a step: the kernel's address and its arguments."""

Steps = NDArray[np.int64]
Place = tuple[int, Any]
"""A base, and bytes from it: one number, or one for each step."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """A kernel's arguments by name, in the order of their words."""

    kinds: tuple[tuple[str, Literal["ptr", "i64"]], ...]

    @classmethod
    def of(cls, pointers: str, numbers: str) -> Arguments:
        """From names with spaces between them."""
        return cls((*((name, "ptr") for name in pointers.split()), *((name, "i64") for name in numbers.split())))

    @property
    def words(self) -> int:
        """How many words they take."""
        return sum(2 if kind == "ptr" else 1 for _, kind in self.kinds)

    def read(self, writer: Writer) -> dict[str, str]:
        """Write the instructions that read them, and give their values."""
        values: dict[str, str] = {}
        word = 0
        for name, kind in self.kinds:
            first = writer.load_scalar("i64", writer.element("%step", word, "i64"))
            word += 1
            if kind == "ptr":
                base = writer.load_scalar("ptr", writer.element("%bases", first, "ptr"))
                first = writer.offset(base, writer.load_scalar("i64", writer.element("%step", word, "i64")))
                word += 1
            values[name] = first
        return values

    def steps(self, address: int, count: int, **values: Any) -> Steps:
        """``count`` steps of the kernel at ``address``; each value is one for all steps, or an array of one for each.

        Pointers are given as pairs of a base and bytes from it.
        """
        steps = np.zeros((count, WORDS), np.int64)
        steps[:, 0] = address
        word = 1
        for name, kind in self.kinds:
            value = values.pop(name)
            if kind == "ptr":
                steps[:, word], steps[:, word + 1] = value
                word += 2
            else:
                steps[:, word] = value
                word += 1
        if values:
            raise TypeError(f"no such arguments: {', '.join(values)}")
        return steps
