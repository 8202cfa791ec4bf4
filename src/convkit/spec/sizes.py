"""The size algebra, in both directions, each answer with the rule and the numbers that gave it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from convkit.errors import ShapeError, by


@dataclass(frozen=True, slots=True)
class Size:
    """A size together with its reason.

    Attributes
    ----------
    value : int
        The size.
    rule : str
        The formula in the field's names.
    numbers : str
        The same formula with the numbers put in.
    """

    value: int
    rule: str
    numbers: str

    def __str__(self) -> str:
        return f"{self.rule} = {self.numbers} = {self.value}"


def reach(kernel: int, dilation: int = 1) -> int:
    """Input positions that a dilated kernel covers: ``dilation*(kernel-1) + 1``."""
    return dilation * (kernel - 1) + 1


def padded_size(size: int, kernel: int, stride: int = 1, dilation: int = 1, pad: tuple[int, int] = (0, 0)) -> Size:
    """Outputs of a kernel laid only where it fits the padded input; the division rounds down.

    Examples
    --------
    >>> padded_size(14, 5).value
    10
    """
    before, after = pad
    room = size + before + after - reach(kernel, dilation)
    return Size(
        room // stride + 1 if room >= 0 else 0,
        "floor((input + padding - (dilation*(kernel-1)+1)) / stride) + 1",
        f"floor(({size} + {before}+{after} - ({dilation}*({kernel}-1)+1)) / {stride}) + 1",
    )


def full_size(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> Size:
    """Outputs of mode ``full``: every position where kernel and input touch."""
    return Size(
        -(-(size + reach(kernel, dilation) - 1) // stride),
        "ceil((input + dilation*(kernel-1)) / stride)",
        f"ceil(({size} + {dilation}*({kernel}-1)) / {stride})",
    )


def same_size(size: int, stride: int = 1) -> Size:
    """Outputs of mode ``same`` and of network padding ``"same"``: one for every ``stride``-th input."""
    return Size(-(-size // stride), "ceil(input / stride)", f"ceil({size} / {stride})")


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Padding that a network's ``"same"`` needs; a spare pad stands at the end.

    Examples
    --------
    >>> same_padding(7, 4), same_padding(7, 3, stride=2)
    ((1, 2), (1, 1))
    """
    total = max(0, (same_size(size, stride).value - 1) * stride + reach(kernel, dilation) - size)
    return total // 2, total - total // 2


def transposed_size(
    size: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    pad: tuple[int, int] = (0, 0),
    output_padding: int = 0,
) -> Size:
    """Outputs of a transposed convolution: the input size that the forward one would have come from.

    Examples
    --------
    >>> transposed_size(4, 3, stride=2, pad=(1, 1), output_padding=1).value
    8
    """
    before, after = pad
    return Size(
        (size - 1) * stride + reach(kernel, dilation) - before - after + output_padding if size else 0,
        "(input-1)*stride + dilation*(kernel-1)+1 - padding + output_padding",
        f"({size}-1)*{stride} + {dilation}*({kernel}-1)+1 - {before}-{after} + {output_padding}",
    )


def input_sizes(
    output: int, kernel: int, stride: int = 1, dilation: int = 1, pad: tuple[int, int] = (0, 0)
) -> tuple[Size, Size]:
    """The smallest and the largest input that give ``output`` outputs: ``stride`` sizes share one answer.

    Examples
    --------
    >>> [size.value for size in input_sizes(10, 5)], [size.value for size in input_sizes(3, 3, stride=2)]
    ([14, 14], [7, 8])
    """
    if output < 1:
        raise ShapeError("no-such-output", output=output)
    before, after = pad
    least = (output - 1) * stride + reach(kernel, dilation) - before - after
    rule = "(output-1)*stride + dilation*(kernel-1)+1 - padding"
    numbers = f"({output}-1)*{stride} + {dilation}*({kernel}-1)+1 - {before}-{after}"
    return (
        Size(max(least, 0), rule, numbers),
        Size(least + stride - 1, f"{rule} + stride-1", f"{numbers} + {stride}-1"),
    )


def pooled_size(size: int, window: int, stride: int, pad: tuple[int, int] = (0, 0), rounding: str = "floor") -> Size:
    """Windows of a pooling layer; with ``ceil`` a last one may hang over the end, if it starts inside.

    Examples
    --------
    >>> pooled_size(5, 2, 2).value, pooled_size(5, 2, 2, rounding="ceil").value
    (2, 3)
    """
    before, after = pad
    room = size + before + after - window
    numbers = f"{rounding}(({size} + {before}+{after} - {window}) / {stride}) + 1"
    count = (room // stride if rounding == "floor" else -(-room // stride)) + 1
    if rounding == "ceil" and room % stride and (count - 1) * stride >= size + before:
        count -= 1
    return Size(count if count > 0 else 0, f"{rounding}((input + padding - window) / stride) + 1", numbers)


def receptive_field(layers: Iterable[tuple[int, int, int]]) -> Size:
    """Input samples that one output sees through a stack of (kernel, stride, dilation) layers, first layer first.

    Examples
    --------
    >>> receptive_field([(3, 1, 1), (3, 2, 1), (3, 1, 1)]).value
    9
    """
    field, jump, terms = 1, 1, ["1"]
    for kernel, stride, dilation in layers:
        field += (reach(kernel, dilation) - 1) * jump
        terms.append(f"{dilation}*({kernel}-1)*{jump}")
        jump *= stride
    return Size(field, "1 + sum of dilation*(kernel-1)*(product of the strides before)", " + ".join(terms))


def check_fit(sizes: tuple[int, ...], kernels: tuple[int, ...], dilations: tuple[int, ...]) -> None:
    """Raise unless the dilated kernel fits the (padded) sizes on every axis.

    Raises
    ------
    ShapeError
        ``shape.kernel-does-not-fit``, with the padding and the largest kernel that would do.
    """
    reaches = tuple(map(reach, kernels, dilations))
    short = [axis for axis, size in enumerate(sizes) if reaches[axis] > size]
    if not short:
        return
    axis = short[0]
    raise ShapeError(
        "kernel-does-not-fit",
        kernel=by(kernels),
        input=by(sizes),
        left=reaches[axis],
        right=sizes[axis],
        axes=", ".join(map(str, short)),
        pad=max(-(-(reaches[i] - sizes[i]) // 2) for i in short),
        largest=by([max(0, (size - 1) // dilation + 1) if size else 0 for size, dilation in zip(sizes, dilations)]),
    )
