"""Compiled batch norms, which register here: where none is, or none can, the caller leaves them to another library."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]
Layout = Literal["planes", "pixels"]


class Form(NamedTuple):
    """How the numbers of a batch lie in one piece of memory.

    Attributes
    ----------
    layout : {"planes", "pixels"}
        Whether a channel's numbers lie side by side, or channels.
    batch, channels, numbers : int
        Samples, their channels, and how many numbers each of these has.
    """

    layout: Layout
    batch: int
    channels: int
    numbers: int


class Ending(NamedTuple):
    """What follows a norm: ``activation(norm + add)``.

    Attributes
    ----------
    activation : {"", "relu", "relu6"}
        The activation.
    add : {"none", "array"}
        Whether an array of the same shape is added before it.
    """

    activation: str = ""
    add: Literal["none", "array"] = "none"


class Normaliser(Protocol):
    """The four passes over float32 that lies as a form says.

    Constants are float32 of shape (5, channels): scale, shift, mean, slope, rest, see `convkit.codegen.normalisation`.
    """

    def able(self) -> bool:
        """Whether kernels can be compiled here."""
        ...

    def sums(self, form: Form, x: Array) -> Array:
        """``sum x`` and ``sum x*x`` of each channel: float64, (2, channels)."""
        ...

    def apply(self, form: Form, ending: Ending, x: Array, add: Array | None, constants: Array, out: Array) -> None:
        """``activation(x*scale + shift + add)`` into ``out``."""
        ...

    def gradient_sums(
        self, form: Form, ending: Ending, x: Array, g: Array, y: Array | None, constants: Array
    ) -> Array:  # fmt: skip
        """``sum h`` and ``sum h*(x - mean)`` of each channel, ``h`` being ``g`` where the activation lets it pass.

        ``y``: what was written, where something was added before the activation.
        """
        ...

    def gradient(
        self, form: Form, ending: Ending, x: Array, g: Array, y: Array | None, constants: Array, out: Array,
        second: Array | None,
    ) -> None:  # fmt: skip
        """``scale*h + slope*(x - mean) + rest`` into ``out``, and ``h`` into ``second`` if there is one."""
        ...


_normalisers: list[Normaliser] = []


def register(normaliser: Normaliser) -> None:
    """Have ``normaliser`` asked."""
    _normalisers.append(normaliser)


def normaliser() -> Normaliser | None:
    """The first that can; None if none can."""
    return next((one for one in _normalisers if one.able()), None)
