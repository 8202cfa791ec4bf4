"""Layers that follow one another as one: whoever can do several together, a few rows at a time, registers here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from convkit.planner.algorithm import Array, Call


class InRows(Protocol):
    """A layer that can be done a few rows at a time."""

    @property
    def reads_planes(self) -> bool:
        """Whether its samples may lie in any way, and need not have their channels side by side."""
        ...


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


Joiner = Callable[[Sequence[Any]], "Joined | None"]
"""From layers as `Plan.in_rows` gives them, the results of each but the last read by the next one alone."""

_joiners: list[Joiner] = []


def register(joiner: Joiner) -> None:
    """Have ``joiner`` asked."""
    _joiners.append(joiner)


def joined(layers: Sequence[InRows]) -> Joined | None:
    """The layers as one, if somebody can do them so and gains by it."""
    return next((found for joiner in _joiners if (found := joiner(layers)) is not None), None)
