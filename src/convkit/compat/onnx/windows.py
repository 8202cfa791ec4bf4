"""Where windows stand: ONNX's kernel_shape, strides, dilations, pads and auto_pad as pairs of paddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convkit.compat.onnx.operation import Operation
from convkit.errors import by
from convkit.spec.sizes import reach

FORMS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
"""The words of ``auto_pad``."""


@dataclass(frozen=True, slots=True)
class Windows:
    """One entry an axis: the kernel's size, the distances, and the padding before and after."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    def counts(self, space: Sequence[int]) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        rows = zip(space, self.kernel, self.stride, self.dilation, self.padding, strict=True)
        return tuple((n + sum(pads) - reach(k, d)) // s + 1 for n, k, s, d, pads in rows)

    @property
    def options(self) -> dict[str, Any]:
        """The options of a verb."""
        return {"stride": self.stride, "dilation": self.dilation, "padding": self.padding}


def windows_of(
    node: Operation,
    space: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str | None,
) -> Windows:
    """The windows over an input of size ``space``.

    ``SAME_UPPER`` and ``SAME_LOWER`` give ``ceil(size/stride)`` windows, the spare sample of padding standing at the
    end or at the beginning.

    Raises
    ------
    OnnxError
        ``onnx.count`` if an attribute has not one entry for each axis (``pads``: two), ``onnx.auto-pad``.
    """
    rank = len(space)
    sizes = entries(node, "kernel_shape", kernel, rank)
    stride = entries(node, "strides", strides or [1] * rank, rank)
    dilation = entries(node, "dilations", dilations or [1] * rank, rank)
    form = form_of(node, auto_pad)
    if form == "NOTSET":
        given = entries(node, "pads", pads or [0] * (2 * rank), 2 * rank)
        return Windows(sizes, stride, dilation, tuple(zip(given[:rank], given[rank:], strict=True)))
    totals = [0] * rank
    if form != "VALID":
        totals = [
            max(0, (-(-n // s) - 1) * s + reach(k, d) - n)
            for n, s, k, d in zip(space, stride, sizes, dilation, strict=True)
        ]
    return Windows(sizes, stride, dilation, tuple(halves(total, form) for total in totals))


def form_of(node: Operation, auto_pad: str | None) -> str:
    """``auto_pad`` as one of its words."""
    form = auto_pad or "NOTSET"
    if form not in FORMS:
        raise node.wrong("auto-pad", value=form, allowed=", ".join(FORMS))
    return form


def halves(total: int, form: str) -> tuple[int, int]:
    """A padding shared between beginning and end: the larger part at the end, but for ``SAME_LOWER``."""
    small, large = total // 2, total - total // 2
    return (large, small) if form == "SAME_LOWER" else (small, large)


def entries(node: Operation, name: str, value: Sequence[int], count: int) -> tuple[int, ...]:
    """An attribute's whole numbers, one for each axis."""
    if len(value) != count:
        raise node.wrong("count", attribute=name, value=by(value), count=len(value), expected=count)
    return tuple(int(item) for item in value)
