"""What becomes of a layer's sums before they are stored: a bias and another array added, an activation taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Activation = Literal["relu", "relu6", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "gelu", "gelu_tanh"]

ACTIVATIONS: tuple[str, ...] = get_args(Activation)
"""Every activation's name, as torch spells it; ``gelu_tanh`` is ``gelu(x, approximate="tanh")``."""

WHOLE: tuple[str, ...] = ("relu", "relu6")
"""Those that give whole numbers for whole numbers."""


@dataclass(frozen=True, slots=True)
class Epilogue:
    """``activation(sums + bias + add)``, in this order, each step rounded once.

    Attributes
    ----------
    bias : bool
        Whether each output channel has a number of its own that is added.
    add : bool
        Whether an array of the result's shape is added: a residual connection.
    activation : str, optional
        What is then taken of every number, one of `ACTIVATIONS`.
    added : str
        The type that the added array is stored in, if it is another than that of the sums.
    pool : tuple of int
        Outputs along each axis of a window whose largest number alone is stored, at last; windows follow one another,
        and what is left behind the last whole one is dropped. Empty where every number is stored.
    """

    bias: bool = False
    add: bool = False
    activation: Activation | None = None
    added: str = ""
    pool: tuple[int, ...] = ()

    @property
    def addends(self) -> int:
        """Numbers added to each sum."""
        return self.bias + self.add

    @property
    def empty(self) -> bool:
        """Whether nothing is done."""
        return not self.addends and self.activation is None
