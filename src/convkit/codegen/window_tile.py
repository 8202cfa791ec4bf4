"""Neighbouring outputs along one axis and the elements that each is summed over: which sample meets what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WindowTile:
    """Output ``i`` meets element ``j`` at position ``i*stride + j*dilation``, counted from the first.

    Attributes
    ----------
    outputs : int
        Neighbouring outputs.
    elements : int
        Kernel elements that each of them meets.
    stride, dilation : int
        How far neighbouring outputs stand apart, and neighbouring elements.
    """

    outputs: int
    elements: int
    stride: int = 1
    dilation: int = 1

    @property
    def name(self) -> str:
        """``<outputs>_<elements>_<stride>_<dilation>``."""
        return f"{self.outputs}_{self.elements}_{self.stride}_{self.dilation}"

    @property
    def registers(self) -> int:
        """Vector registers that hold a vector for each output, one for each element, and one of samples."""
        return self.outputs + self.elements + 1

    @property
    def positions(self) -> list[int]:
        """Where samples stand that any output meets, each once, in order."""
        outputs, elements = range(self.outputs), range(self.elements)
        return sorted({i * self.stride + j * self.dilation for i in outputs for j in elements})

    def meetings(self, position: int) -> Iterator[tuple[int, int]]:
        """The outputs that meet the sample at a position, each with the element by which it does."""
        for element in range(self.elements):
            output, rest = divmod(position - element * self.dilation, self.stride)
            if rest == 0 and 0 <= output < self.outputs:
                yield output, element
