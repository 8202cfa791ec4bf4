"""A spec -> the same call in another library's words, or the reason why that library cannot say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from convkit.explain import writing_arrays, writing_networks
from convkit.explain.draft import CannotSay, Draft
from convkit.explain.meaning import Note
from convkit.explain.symbols import scalar_or_sequence
from convkit.spec import ConvSpec
from convkit.spec.dialects import LIBRARIES

WRITERS: Mapping[str, Callable[[Draft], str]] = {**writing_arrays.WRITERS, **writing_networks.WRITERS}
"""What writes a call, library by library."""


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
    number of convolved axes: cv2.filter2D takes 2, here it is 1
    """
    draft = Draft(
        spec,
        x,
        k or ("w" if spec.mode is None else "k"),
        bias,
        None if kernel_shape is None else tuple(kernel_shape),
        None if input_shape is None else tuple(input_shape),
    )
    try:
        code = WRITERS[library](draft)
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
