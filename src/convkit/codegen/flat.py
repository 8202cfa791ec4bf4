"""Kernels over numbers side by side, wherever in arrays of more axes these stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.codegen.library import address_of
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import Arguments
from convkit.codegen.target import Target


@dataclass(frozen=True, slots=True)
class Flat(ABC):
    """A kernel that knows nothing of its numbers but their type.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        By NumPy's name.
    """

    dtype: str

    @property
    def name(self) -> str:
        """``<kernel>_<dtype>``."""
        return f"{type(self).__name__.lower()}_{self.dtype}"

    @abstractmethod
    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""

    def program(self, arguments: Arguments, count: int, at_once: int, arrays: dict[str, int], **same: Any) -> Program:
        """A task for every ``at_once`` of ``count`` ``numbers``.

        ``arrays``: the base of each that is gone through with them; ``same``: what is the same for all tasks.
        """
        first = np.arange(0, count, at_once, dtype=np.int64)
        at = first * np.dtype(self.dtype).itemsize
        moving = {name: (base, at) for name, base in arrays.items()}
        numbers = np.minimum(at_once, count - first)
        steps = arguments.steps(address_of(self), len(first), numbers=numbers, **moving, **same)
        return join([[steps]], Tables().array(), 64)
