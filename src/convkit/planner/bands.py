"""Layers that follow one another as one: whoever can do several together, a few rows at a time, registers here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from convkit.planner.algorithm import Array, Call


class InRows(Protocol):
    """A layer that can be done a few rows at a time: all about it but its arrays."""

    @property
    def reads_planes(self) -> bool:
        """Whether its samples may lie in any way, and need not have their channels side by side."""
        ...


class Part(NamedTuple):
    """Such a layer with its arrays.

    Attributes
    ----------
    rows : InRows
        How it is done; hashable, and the same for layers of the same shapes.
    weights : object
        Its weights, as its algorithm made them ready.
    bias : ndarray, optional
        As many numbers as it reads.
    """

    rows: InRows
    weights: Any
    bias: Array | None


class Joined(Protocol):
    """Layers as they are done together."""

    @property
    def gain(self) -> float:
        """Seconds that it saves, roughly."""
        ...

    def calls(self, x: Array, out: Array, add: Array | None) -> Sequence[Call] | None:
        """All of them: from the first one's samples to the last one's results, with what is added to these.

        None for arrays that lie in another way.
        """
        ...


Joiner = Callable[[Sequence[Part]], "Joined | None"]
"""From layers, the results of each but the last read by the next one alone."""

_joiners: list[Joiner] = []


def register(joiner: Joiner) -> None:
    """Have ``joiner`` asked."""
    _joiners.append(joiner)


def joined(layers: Sequence[Part]) -> Joined | None:
    """The layers as one, if somebody can do them so and gains by it."""
    return next((found for joiner in _joiners if (found := joiner(layers)) is not None), None)
