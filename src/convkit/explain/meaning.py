"""Meaning: what a call computes, in convkit's words; the spec it stands for and the equal ``ck`` call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convkit.catalogue import say
from convkit.errors import ConvError
from convkit.explain.symbols import Symbol
from convkit.spec import ConvSpec
from convkit.spec.dialects import AnchorRule, Dialect


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence of the catalogue, said in the language in force when it is printed."""

    key: str
    facts: Mapping[str, object] = field(default_factory=dict[str, object])

    def __str__(self) -> str:
        return say(f"explain.{self.key}", **{name: str(value) for name, value in self.facts.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What one call computes.

    Attributes
    ----------
    call : str
        The call as it was written.
    dialect : Dialect or None
        Whose words those are; None for convkit's own.
    verb : {"convolve", "correlate", "conv", "conv_transpose"}
        Our verb for it.
    rank : int
        Convolved axes; ``rank_known`` says whether the call tells.
    x, k, bias : str
        Source text of the arrays.
    options : mapping
        The verb's options, as values; ``anchor`` apart.
    anchor : AnchorRule, origin : tuple of int
        Which kernel element lies on the output sample, ``origin`` added.
    before, after : str
        Source text wrapped around our call, for layouts and scales.
    kernel_shape : tuple of int or None
        Sizes of the kernel along the convolved axes, where known.
    """

    call: str
    dialect: Dialect | None
    verb: str
    rank: int
    x: str
    k: str
    bias: str | None = None
    rank_known: bool = True
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    anchor: AnchorRule = "none"
    origin: tuple[int, ...] = ()
    before: str = ""
    after: str = ""
    kernel_shape: tuple[int, ...] | None = None
    notes: tuple[Note, ...] = ()

    @property
    def operation(self) -> str:
        """The word for whether the kernel is flipped."""
        if self.verb in ("conv", "conv_transpose"):
            return str(self.options.get("operation", "correlation"))
        return "convolution" if self.verb == "convolve" else "correlation"

    @property
    def spec(self) -> ConvSpec:
        """The spec of the call; an anchor that depends on the kernel's size needs that size.

        Raises
        ------
        MeaningError
            ``call.needs-kernel-size``: the call shifts by a fixed distance, and the kernel's size is not known.
        """
        known = {
            key: value for key, value in self.options.items()
            if key not in ("axes", "weights", "mask", "method", "out", "operation", "mode")
        }  # fmt: skip
        if self.verb in ("conv", "conv_transpose"):
            direction = "transposed" if self.verb == "conv_transpose" else "forward"
            return ConvSpec.of_network(self.rank, self.operation, direction=direction, **known)  # type: ignore[arg-type]
        mode = str(self.options.get("mode", "full"))
        if mode == "same" and self.anchor != "none":
            known["anchor"] = self._anchors_as_numbers()
        return ConvSpec.of_arrays(self.rank, self.operation, mode, **known)  # type: ignore[arg-type]

    def _anchors_as_numbers(self) -> tuple[int, ...] | None:
        if self.kernel_shape is None:
            if any(self.origin):
                raise MeaningError("needs-kernel-size", call=self.call)
            return None
        anchors = tuple(
            (size // 2 if self.anchor == "upper" else (size - 1) // 2) + shift
            for size, shift in zip(self.kernel_shape, self._origins(), strict=True)
        )
        usual = tuple((size - 1) // 2 if self.operation == "convolution" else size // 2 for size in self.kernel_shape)
        return None if anchors == usual else anchors

    def _origins(self) -> tuple[int, ...]:
        return self.origin or (0,) * self.rank

    def anchor_text(self) -> str | None:
        """The ``anchor=`` of our call as source text, or None where our default is the same."""
        usual = "lower" if self.operation == "convolution" else "upper"
        if self.options.get("mode") != "same" or self.anchor == "none":
            return None
        if self.kernel_shape is not None:
            numbers = self._anchors_as_numbers()
            if numbers is None:
                return None
            return str(numbers[0]) if len(set(numbers)) == 1 else str(numbers)
        if (self.anchor in (usual, "odd-only")) and not any(self.origin):
            return None
        if len(set(self.origin)) <= 1:
            size = Symbol("n")
            half = size // 2 if self.anchor == "upper" else (size - 1) // 2
            return f"[{half + (self.origin[0] if self.origin else 0)} for n in {self.k}.shape]"
        each = [Symbol(f"{self.k}.shape[{axis}]") for axis in range(self.rank)]
        halves = [size // 2 if self.anchor == "upper" else (size - 1) // 2 for size in each]
        return f"({', '.join(str(half + shift) for half, shift in zip(halves, self.origin, strict=True))})"

    @property
    def code(self) -> str:
        """The equal ``ck`` call as source text."""
        arguments = [self.x, self.k, *([self.bias] if self.bias else [])]
        for name, value in self.options.items():
            if name == "mode" or value != _DEFAULTS.get(name):
                arguments.append(f"{name}={value!r}")
        anchor = self.anchor_text()
        if anchor is not None:
            arguments.append(f"anchor={anchor}")
        return f"{self.before}ck.{self.verb}({', '.join(arguments)}){self.after}"


class MeaningError(ConvError):
    """A call whose meaning depends on something that is not written in it."""

    family = "call"


_DEFAULTS: Mapping[str, object] = {
    "boundary": "zero",
    "fill": 0,
    "stride": 1,
    "dilation": 1,
    "padding": 0,
    "output_padding": 0,
    "groups": 1,
    "operation": "correlation",
    "axes": None,
    "dtype": None,
    "overflow": "raise",
    "nan": "propagate",
    "accuracy": "norm",
    "method": "auto",
    "anchor": None,
    "weights": None,
    "mask": None,
    "out": None,
}
