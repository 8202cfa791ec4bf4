"""A call that is being written: the spec, the names of its arrays, and what every library's writer asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from convkit.explain.meaning import Note
from convkit.explain.symbols import Size, Symbol, sequence
from convkit.spec import ConvSpec


class CannotSay(Exception):
    """A library has no words for a spec; carries the reason."""

    def __init__(self, key: str, **facts: object) -> None:
        super().__init__(key)
        self.note = Note(f"cannot.{key}", facts)


@dataclass(slots=True)
class Draft:
    """A spec about to be written: the names of its arrays, and their sizes where known."""

    spec: ConvSpec
    x: str = "x"
    k: str = "k"
    bias: str | None = None
    kernel_shape: tuple[int, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    notes: list[Note] = field(default_factory=list[Note])
    composed: bool = False

    @property
    def rank(self) -> int:
        """Convolved axes."""
        return self.spec.rank

    @property
    def network(self) -> bool:
        """Whether arrays carry batch and channels."""
        return self.spec.mode is None

    def kernel(self, axis: int) -> Size:
        """Kernel elements along an axis."""
        if self.kernel_shape is not None:
            return self.kernel_shape[axis]
        return Symbol(f"{self.k}.shape[{axis + (2 if self.network else 0)}]")

    def size(self, axis: int) -> Size:
        """Samples along an axis."""
        if self.input_shape is not None:
            return self.input_shape[axis]
        return Symbol(f"{self.x}.shape[{axis + (2 if self.network else 0)}]")

    def anchor(self, axis: int) -> Size:
        """The kernel element on the output sample."""
        given = None if self.spec.anchor is None else self.spec.anchor[axis]
        if given is not None:
            return given
        size = self.kernel(axis)
        return (size - 1) // 2 if self.spec.operation == "convolution" else size // 2

    def anchored_as(self, rule: str) -> bool:
        """Whether every anchor is the one that ``rule`` ("lower", "upper") gives."""
        halves = [(self.kernel(a) - 1) // 2 if rule == "lower" else self.kernel(a) // 2 for a in range(self.rank)]
        return all(self.anchor(axis) == half for axis, half in enumerate(halves))

    def pads(self) -> list[tuple[Size, Size]]:
        """Samples to put before and after each axis, so that the windows that then fit are the outputs."""
        pads: list[tuple[Size, Size]] = []
        for axis in range(self.rank):
            span = (self.kernel(axis) - 1) * self.spec.dilation[axis]
            if self.spec.mode == "full":
                pads.append((span, span))
            elif self.spec.mode == "valid":
                pads.append((0, 0))
            else:
                lead = self.anchor(axis) * self.spec.dilation[axis]
                pads.append((span - lead, lead) if self.spec.operation == "convolution" else (lead, span - lead))
        return pads

    def boundary(self) -> str:
        """The one boundary of all sides, ``"zero"`` for a constant of 0.

        Raises
        ------
        CannotSay
            Sides differ.
        """
        names = {self.name(name) for sides in self.spec.boundary for name in sides}
        if len(names) > 1:
            raise CannotSay("mixed-boundaries")
        return names.pop()

    def name(self, boundary: str) -> str:
        """A boundary's name, with a constant of 0 called ``"zero"``."""
        return "zero" if boundary == "constant" and self.spec.fill == 0 else boundary

    def plain_padding(self) -> bool:
        """Whether nothing but zeros stands outside."""
        return {self.name(name) for sides in self.spec.boundary for name in sides} <= {"zero"}

    def picked(self) -> str:
        """``[::2, ::3]`` where there are strides."""
        if all(step == 1 for step in self.spec.stride):
            return ""
        self.composed = True
        return "[" + ", ".join("::" + ("" if step == 1 else str(step)) for step in self.spec.stride) + "]"

    def refuse(self, *, dilation: str = "", network: str = "", ranks: Sequence[int] = (), function: str = "") -> None:
        """Refuse what a function has no words for."""
        if network and self.network:
            raise CannotSay("network", library=network)
        if ranks and self.rank not in ranks:
            raise CannotSay("rank", function=function, ranks=", ".join(map(str, ranks)), rank=self.rank)
        if dilation and any(step != 1 for step in self.spec.dilation):
            raise CannotSay("dilation", function=dilation)


def numpy_padded(draft: Draft, x: str | None = None) -> str:
    """``numpy.pad`` around the array, as the boundary says."""
    x = x or draft.x
    pads = draft.pads()
    if all(pad == (0, 0) for pad in pads):
        return x
    draft.composed = True
    each: list[str] = []
    for sides in draft.spec.boundary:
        names = {draft.name(side) for side in sides}
        if len(names) > 1:
            raise CannotSay("mixed-sides")
        each.append(names.pop())
    if len(set(each)) == 1:
        widths = sequence(list(pads[0])) if draft.rank == 1 else f"({', '.join(sequence(list(pad)) for pad in pads)})"
        return f"np.pad({x}, {widths}, {_pad_mode(each[0], draft.spec.fill)})"
    for axis, (pad, name) in enumerate(zip(pads, each, strict=True)):
        if pad == (0, 0):
            continue
        widths = ", ".join(sequence(list(pad)) if other == axis else "(0, 0)" for other in range(draft.rank))
        x = f"np.pad({x}, ({widths}), {_pad_mode(name, draft.spec.fill)})"
    return x


def _pad_mode(name: str, fill: complex) -> str:
    if name in ("zero", "constant"):
        return "mode='constant'" + (f", constant_values={fill!r}" if name == "constant" else "")
    return f"mode='{name}'"
