"""The algorithms that registered themselves, in the order in which reports list them."""

from __future__ import annotations

from convkit.errors import choose
from convkit.planner.algorithm import Algorithm

_algorithms: dict[str, Algorithm] = {}


def register(algorithm: Algorithm) -> None:
    """Add an algorithm; a second one of the same name takes its place."""
    _algorithms[algorithm.name] = algorithm


def algorithms() -> tuple[Algorithm, ...]:
    """All of them."""
    return tuple(_algorithms.values())


def algorithm(name: str) -> Algorithm:
    """The one called ``name``; an unknown name is an OptionError that lists the known ones."""
    return _algorithms[choose("method", name, ("auto", "measure", *_algorithms))]
