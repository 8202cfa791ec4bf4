"""Conv and ConvTranspose: the network verbs under ONNX's names, with what was joined to them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from convkit import verbs
from convkit.compat.onnx.elementwise import activated
from convkit.compat.onnx.operation import Array, Operation, Results, wide
from convkit.compat.onnx.windows import Windows, entries, form_of, halves, windows_of
from convkit.errors import by
from convkit.spec.sizes import reach


def laid(node: Operation, x: Array, w: Array, attributes: dict[str, Any]) -> Windows:
    """The windows of a convolution node, whose kernel's size is that of its weights.

    Raises
    ------
    OnnxError
        ``onnx.rank``, ``onnx.kernel-shape``, and those of `windows_of`.
    """
    if x.ndim < 3 or w.ndim != x.ndim:
        raise node.wrong("rank", input=by(x.shape), weights=by(w.shape))
    sizes = tuple(attributes.get("kernel_shape") or w.shape[2:])
    if sizes != w.shape[2:]:
        raise node.wrong("kernel-shape", given=by(sizes), weights=by(w.shape), expected=by(w.shape[2:]))
    names = ("strides", "dilations", "pads", "auto_pad")
    return windows_of(node, x.shape[2:], sizes, *(attributes.get(name) for name in names))


class Layer(Operation):
    """A convolution, and the activation that was joined to it.

    Attributes
    ----------
    activation : str, optional
        As in ``ck.conv``.
    """

    activation: str | None = None


class Conv(Layer):
    """``ck.conv``; a fourth input is added to the sums before the activation."""

    def _run(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        add: Array | None = None,
        *,
        group: int = 1,
        **attributes: Any,
    ) -> Results:
        windows = laid(self, x, w, attributes)
        bias = None if b is None else wide(b)
        call = partial(verbs.conv, wide(x), wide(w), bias, groups=group, **windows.options)
        if add is None:
            y = call(activation=self.activation)
        elif add.shape == (x.shape[0], w.shape[0], *windows.counts(x.shape[2:])):
            y = call(activation=self.activation, add=wide(add))
        else:  # a sum that is broadcast, one way or the other
            y = activated(call() + wide(add), self.activation)
        return (y.astype(x.dtype, copy=False),)


class ConvTranspose(Layer):
    """``ck.conv_transpose``; an ``output_shape`` says how much is cut off."""

    def _run(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        group: int = 1,
        output_padding: Sequence[int] | None = None,
        output_shape: Sequence[int] | None = None,
        auto_pad: str | None = None,
        pads: Sequence[int] | None = None,
        **attributes: Any,
    ) -> Results:
        windows = laid(self, x, w, attributes)
        rank = x.ndim - 2
        extra = entries(self, "output_padding", output_padding or [0] * rank, rank)
        form = form_of(self, auto_pad)
        wished: tuple[int, ...] | None = None
        if output_shape:
            wished = entries(self, "output_shape", list(output_shape)[-rank:], rank)
        elif form.startswith("SAME"):
            wished = tuple(n * s for n, s in zip(x.shape[2:], windows.stride, strict=True))
        if wished is not None:
            padding, extra = _cut(x, windows, extra, wished, form)
        elif form == "VALID":
            padding = ((0, 0),) * rank
        else:
            given = entries(self, "pads", pads or [0] * (2 * rank), 2 * rank)
            padding = tuple(zip(given[:rank], given[rank:], strict=True))
        y = verbs.conv_transpose(
            wide(x), wide(w), None if b is None else wide(b), stride=windows.stride, dilation=windows.dilation,
            groups=group, padding=padding, output_padding=extra, activation=self.activation,
        )  # fmt: skip
        return (y.astype(x.dtype, copy=False),)


def _cut(
    x: Array, windows: Windows, extra: tuple[int, ...], wished: tuple[int, ...], form: str
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """The padding that leaves outputs of the size wished; what is missing is added at the end."""
    # ONNX halves what is cut off the other way round for transposed convolutions: the larger part stands at the
    # beginning unless SAME_UPPER is said.
    turned = "SAME_UPPER" if form == "SAME_UPPER" else "SAME_LOWER"
    padding: list[tuple[int, int]] = []
    added: list[int] = []
    rows = zip(x.shape[2:], windows.kernel, windows.stride, windows.dilation, extra, wished, strict=True)
    for n, k, s, d, more, size in rows:
        total = (n - 1) * s + reach(k, d) + more - size
        padding.append(halves(max(0, total), turned))
        added.append(more + max(0, -total))
    return tuple(padding), tuple(added)
