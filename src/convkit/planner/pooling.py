"""Faster ways of pooling than NumPy's, which register here: the verb asks them in turn."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from convkit.planner.algorithm import Call
from convkit.spec.window import Window

Array = NDArray[Any]
Kind = Literal["max", "mean"]


class Pooler(Protocol):
    """A way of pooling some arrays."""

    def pool(self, kind: Kind, x: Array, windows: tuple[Window, ...], ends: tuple[int, ...]) -> Array | None:
        """The largest number or the mean of each window of the last axes; None for arrays that it cannot do.

        ``ends``: where what is counted ends along each axis. The result lies in memory as ``x`` does.
        """
        ...

    def call(
        self, kind: Kind, x: Array, out: Array, windows: tuple[Window, ...], ends: tuple[int, ...]
    ) -> Call | None:  # fmt: skip
        """The same into ``out``, which lies in memory as ``x`` does, as a call that may be made later and again."""
        ...

    def largest_gradient(self, x: Array, g: Array, windows: tuple[Window, ...]) -> Array | None:
        """``g`` added up where the largest numbers stand, the first of equals; None for arrays that it cannot do."""
        ...


_poolers: list[Pooler] = []


def register(pooler: Pooler) -> None:
    """Have ``pooler`` asked."""
    _poolers.append(pooler)


def pool(kind: Kind, x: Array, windows: tuple[Window, ...], ends: tuple[int, ...]) -> Array | None:
    """What the first one that can gives; None if none can."""
    for pooler in _poolers:
        found = pooler.pool(kind, x, windows, ends)
        if found is not None:
            return found
    return None


def call(kind: Kind, x: Array, out: Array, windows: tuple[Window, ...], ends: tuple[int, ...]) -> Call | None:
    """What the first one that can gives; None if none can."""
    for pooler in _poolers:
        found = pooler.call(kind, x, out, windows, ends)
        if found is not None:
            return found
    return None


def largest_gradient(x: Array, g: Array, windows: tuple[Window, ...]) -> Array | None:
    """What the first one that can gives; None if none can."""
    for pooler in _poolers:
        found = pooler.largest_gradient(x, g, windows)
        if found is not None:
            return found
    return None


class KeptPooler(Protocol):
    """A way of pooling by the largest that remembers which of each window it was, for the gradient."""

    def largest(self, x: Array, windows: tuple[Window, ...]) -> tuple[Array, Array] | None:
        """The largest numbers of ``x`` (batch, channels, ...), and their places; None for arrays that it cannot do."""
        ...

    def gradient(self, g: Array, places: Array, space: tuple[int, ...], windows: tuple[Window, ...]) -> Array:
        """``g`` added up at those places of arrays whose last axes are ``space``."""
        ...


_kept: list[KeptPooler] = []


def register_kept(pooler: KeptPooler) -> None:
    """Have ``pooler`` asked where places are to be kept."""
    _kept.append(pooler)


def largest_kept(x: Array, windows: tuple[Window, ...]) -> tuple[Array, Array] | None:
    """What the one that is there gives."""
    return _kept[0].largest(x, windows) if _kept else None


def kept_gradient(g: Array, places: Array, space: tuple[int, ...], windows: tuple[Window, ...]) -> Array:
    """The gradient for places that `largest_kept` gave."""
    return _kept[0].gradient(g, places, space, windows)
