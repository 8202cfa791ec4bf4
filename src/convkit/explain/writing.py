"""A spec -> the same call in another library's words, or the reason why that library cannot say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from convkit.explain.meaning import Note
from convkit.explain.symbols import Size, Symbol, scalar_or_sequence, sequence
from convkit.spec import ConvSpec
from convkit.spec.dialects import LIBRARIES


@dataclass(frozen=True, slots=True)
class Written:
    """One library's call.

    Attributes
    ----------
    library : str
        The library, as in `convkit.spec.dialects.LIBRARIES`.
    code : str or None
        Source text whose value (or whose ``y``, where it has several lines) is the result.
    reason : Note or None
        Why there is no call.
    notes : tuple of Note
        What to keep in mind about it.
    composed : str
        ``"call"`` where one call says it, ``"calls"`` where padding or picking is done beside it.
    """

    library: str
    code: str | None = None
    reason: Note | None = None
    notes: tuple[Note, ...] = ()
    composed: str = "call"


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


def write(
    spec: ConvSpec,
    library: str,
    x: str = "x",
    k: str | None = None,
    bias: str | None = None,
    *,
    kernel_shape: Sequence[int] | None = None,
    input_shape: Sequence[int] | None = None,
) -> Written:
    """The call that computes ``spec`` in ``library``, or the reason why there is none.

    Parameters
    ----------
    spec : ConvSpec
        What is computed.
    library : str
        One of `convkit.spec.dialects.LIBRARIES`.
    x, k, bias : str
        Names of the arrays.
    kernel_shape, input_shape : sequence of int, optional
        Sizes along the convolved axes; without them the text holds expressions such as ``k.shape[0]``.

    Examples
    --------
    >>> write(ConvSpec.of_arrays(1, "correlation", "same", boundary="reflect"), "scipy.ndimage").code
    "scipy.ndimage.correlate(x, k, mode='mirror')"
    >>> print(write(ConvSpec.of_arrays(1), "opencv").reason)
    cv2.filter2D works along 2 axes, this is along 1
    """
    from convkit.explain.writing_arrays import WRITERS as arrays
    from convkit.explain.writing_networks import WRITERS as networks

    writers: Mapping[str, Callable[[Draft], str]] = {**arrays, **networks}
    draft = Draft(
        spec,
        x,
        k or ("w" if spec.mode is None else "k"),
        bias,
        None if kernel_shape is None else tuple(kernel_shape),
        None if input_shape is None else tuple(input_shape),
    )
    try:
        code = writers[library](draft)
    except CannotSay as refusal:
        return Written(library, reason=refusal.note)
    return Written(library, code, None, tuple(draft.notes), "calls" if draft.composed else "call")


def write_all(
    spec: ConvSpec,
    *,
    x: str = "x",
    k: str | None = None,
    bias: str | None = None,
    kernel_shape: Sequence[int] | None = None,
    input_shape: Sequence[int] | None = None,
) -> tuple[Written, ...]:
    """The call in every library, in the order of a passport."""
    return tuple(
        write(spec, library, x, k, bias, kernel_shape=kernel_shape, input_shape=input_shape) for library in LIBRARIES
    )


def convkit_code(spec: ConvSpec, x: str = "x", k: str | None = None, bias: str | None = None) -> str:
    """The call of our own verb.

    Examples
    --------
    >>> convkit_code(ConvSpec.of_arrays(2, "correlation", "same", boundary="edge", stride=(1, 2)))
    "ck.correlate(x, k, mode='same', boundary='edge', stride=(1, 2))"
    """
    network = spec.mode is None
    verb = "convolve" if spec.operation == "convolution" else "correlate"
    if network:
        verb = "conv" if spec.direction == "forward" else "conv_transpose"
    arguments = [x, k or ("w" if network else "k"), *([bias] if bias else [])]
    if network:
        if spec.operation != "correlation":
            arguments.append(f"operation='{spec.operation}'")
        if spec.padding == "same":
            arguments.append("padding='same'")
        elif any(pad != (0, 0) for pad in spec.padding or ()):
            arguments.append(f"padding={_pads(spec.padding or ())}")
        if any(spec.output_padding):
            arguments.append(f"output_padding={scalar_or_sequence(spec.output_padding)}")
        if spec.groups != 1:
            arguments.append(f"groups={spec.groups}")
    else:
        arguments.append(f"mode='{spec.mode}'")
    if any(name != "zero" for sides in spec.boundary for name in sides):
        arguments.append(f"boundary={_boundaries(spec)}")
        if any(name == "constant" for sides in spec.boundary for name in sides):
            arguments.append(f"fill={spec.fill!r}")
    for name, values in (("stride", spec.stride), ("dilation", spec.dilation)):
        if any(value != 1 for value in values):
            arguments.append(f"{name}={scalar_or_sequence(values)}")
    if spec.anchor is not None:
        anchors = set(spec.anchor)
        arguments.append(f"anchor={spec.anchor[0] if len(anchors) == 1 else spec.anchor}")
    for name, usual in (("dtype", None), ("overflow", "raise"), ("nan", "propagate"), ("accuracy", "norm")):
        if getattr(spec, name) != usual:
            arguments.append(f"{name}={getattr(spec, name)!r}")
    return f"ck.{verb}({', '.join(arguments)})"


def _pads(pads: Sequence[tuple[int, int]]) -> str:
    if all(before == after for before, after in pads):
        return scalar_or_sequence([before for before, _ in pads])
    return f"({', '.join(map(str, pads))}{',' if len(pads) == 1 else ''})"


def _boundaries(spec: ConvSpec) -> str:
    if len({name for sides in spec.boundary for name in sides}) == 1:
        return repr(spec.boundary[0][0])
    each = [repr(sides[0]) if sides[0] == sides[1] else repr(sides) for sides in spec.boundary]
    return f"({', '.join(each)}{',' if len(each) == 1 else ''})"
