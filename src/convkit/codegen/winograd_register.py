"""The register tile of products in the domain of Winograd's transforms, whatever its rows stand for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from convkit.codegen.builder import Vector
from convkit.codegen.numbers import Element
from convkit.codegen.target import Target


@dataclass(frozen=True, slots=True)
class FrequencyTile(ABC):
    """``rows`` times ``vectors`` vectors of sums of one frequency, kept in registers while the terms go by.

    Attributes
    ----------
    number : {"float32", "float64"}
        The type of the numbers.
    size : int
        Frequencies of a tile along each axis.
    rows, vectors : int
        The register tile; there are tiles of one vector fewer too.
    start : {"zero", "sums"}
        Where sums begin: at zero, or at what memory holds.
    """

    number: str
    size: int
    rows: int
    vectors: int
    start: Literal["zero", "sums"] = "zero"

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """``<kind>_<number>_<size>_<rows>x<vectors>_<start>``."""
        return f"{self.kind}_{self.number}_{self.size}_{self.rows}x{self.vectors}_{self.start}"

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, one vector for each column of them, one number."""
        return self.rows * self.vectors + self.vectors + 1

    def vector(self, target: Target) -> Vector:
        """A vector of the numbers."""
        element = Element(self.number)
        return Vector(target.vector_bytes // element.bytes, element.stored)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the tile does not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return self._written(target)

    @abstractmethod
    def _written(self, target: Target) -> str: ...
