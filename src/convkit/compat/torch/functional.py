"""torch.nn.functional's convolutions under their own names and signatures.

Computed and differentiated by convkit. Write ``from convkit.compat.torch import conv2d`` in place of
``from torch.nn.functional import conv2d``. Like PyTorch's, these are correlations: no kernel is flipped.
"""

from __future__ import annotations

import torch

from convkit import verbs
from convkit.compat.torch import arguments
from convkit.compat.torch.errors import TorchError, TorchTypeError
from convkit.errors import by

Sizes = int | tuple[int, ...] | list[int]


def conv1d(
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Correlate a batch of signals with a bank of kernels, as ``torch.nn.functional.conv1d`` does.

    ``out[b, o, i] = bias[o] + sum_c,j input[b, c, i*stride - padding + j*dilation] * weight[o, c, j]``, the
    channels c of the group of o. Integers are exact and wrap where they leave their type, as PyTorch's do.

    Parameters
    ----------
    input : Tensor, (batch, channels, time) or (channels, time)
    weight : Tensor, (outputs, channels/groups, kernel)
    bias : Tensor, (outputs,), optional
    stride, dilation : int or sequence of 1
    padding : int, sequence of 1, "valid" or "same"
        Zeros on both sides; ``"same"`` keeps the size, a spare zero stands at the end.
    groups : int
        Number of groups that do not see each other's channels.

    Returns
    -------
    Tensor, (batch, outputs, time) or (outputs, time)
        ``floor((size + 2*padding - dilation*(kernel-1) - 1)/stride) + 1`` along each axis.

    Raises
    ------
    TorchError
        ``torch.input-rank``, ``torch.weight-rank``, ``torch.weight-groups``, ``torch.weight-empty``,
        ``torch.channels``, ``torch.bias-shape``, ``torch.types-differ``, ``torch.wrong-count``,
        ``torch.out-of-range``, ``torch.kernel-too-large``, ``torch.strided-same``, ``torch.unknown-padding``.
    TorchTypeError
        ``torch.not-a-tensor``, ``torch.not-whole-numbers``.
    TorchUnsupportedError
        ``torch.element-type``.

    Examples
    --------
    >>> conv1d(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.tensor([[[1.0, 2.0]]]))
    tensor([[[ 5.,  8., 11.]]])
    """
    return _forward(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Correlate a batch of images with a bank of kernels, as ``torch.nn.functional.conv2d`` does.

    ``out[b, o, i] = bias[o] + sum_c,j input[b, c, i*stride - padding + j*dilation] * weight[o, c, j]``, the
    channels c of the group of o. Integers are exact and wrap where they leave their type, as PyTorch's do.

    Parameters
    ----------
    input : Tensor, (batch, channels, rows, columns) or (channels, rows, columns)
    weight : Tensor, (outputs, channels/groups, kernel rows, kernel columns)
    bias : Tensor, (outputs,), optional
    stride, dilation : int or sequence of 2
    padding : int, sequence of 2, "valid" or "same"
        Zeros on both sides; ``"same"`` keeps the size, a spare zero stands at the end.
    groups : int
        Number of groups that do not see each other's channels.

    Returns
    -------
    Tensor, (batch, outputs, rows, columns) or (outputs, rows, columns)
        ``floor((size + 2*padding - dilation*(kernel-1) - 1)/stride) + 1`` along each axis.

    Raises
    ------
    TorchError
        ``torch.input-rank``, ``torch.weight-rank``, ``torch.weight-groups``, ``torch.weight-empty``,
        ``torch.channels``, ``torch.bias-shape``, ``torch.types-differ``, ``torch.wrong-count``,
        ``torch.out-of-range``, ``torch.kernel-too-large``, ``torch.strided-same``, ``torch.unknown-padding``.
    TorchTypeError
        ``torch.not-a-tensor``, ``torch.not-whole-numbers``.
    TorchUnsupportedError
        ``torch.element-type``.

    Examples
    --------
    >>> conv2d(torch.arange(9.0).reshape(1, 1, 3, 3), torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]))
    tensor([[[[19., 25.],
              [37., 43.]]]])
    """
    return _forward(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Correlate a batch of volumes with a bank of kernels, as ``torch.nn.functional.conv3d`` does.

    ``out[b, o, i] = bias[o] + sum_c,j input[b, c, i*stride - padding + j*dilation] * weight[o, c, j]``, the
    channels c of the group of o. Integers are exact and wrap where they leave their type, as PyTorch's do.

    Parameters
    ----------
    input : Tensor, (batch, channels, depth, rows, columns) or (channels, depth, rows, columns)
    weight : Tensor, (outputs, channels/groups, kernel depth, kernel rows, kernel columns)
    bias : Tensor, (outputs,), optional
    stride, dilation : int or sequence of 3
    padding : int, sequence of 3, "valid" or "same"
        Zeros on both sides; ``"same"`` keeps the size, a spare zero stands at the end.
    groups : int
        Number of groups that do not see each other's channels.

    Returns
    -------
    Tensor, (batch, outputs, depth, rows, columns) or (outputs, depth, rows, columns)
        ``floor((size + 2*padding - dilation*(kernel-1) - 1)/stride) + 1`` along each axis.

    Raises
    ------
    TorchError
        ``torch.input-rank``, ``torch.weight-rank``, ``torch.weight-groups``, ``torch.weight-empty``,
        ``torch.channels``, ``torch.bias-shape``, ``torch.types-differ``, ``torch.wrong-count``,
        ``torch.out-of-range``, ``torch.kernel-too-large``, ``torch.strided-same``, ``torch.unknown-padding``.
    TorchTypeError
        ``torch.not-a-tensor``, ``torch.not-whole-numbers``.
    TorchUnsupportedError
        ``torch.element-type``.

    Examples
    --------
    >>> conv3d(torch.ones(1, 1, 3, 4, 5), torch.ones(2, 1, 2, 2, 2), stride=2).shape
    torch.Size([1, 2, 1, 2, 2])
    """
    return _forward(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> torch.Tensor:
    """The transposed convolution of a batch of signals, as ``torch.nn.functional.conv_transpose1d`` gives it.

    Every input sample lays a scaled copy of the kernel at ``i*stride - padding``: the adjoint of `conv1d`.

    Parameters
    ----------
    input : Tensor, (batch, channels, time) or (channels, time)
    weight : Tensor, (channels, outputs/groups, kernel)
    bias : Tensor, (outputs,), optional
    stride, padding, dilation : int or sequence of 1
    output_padding : int or sequence of 1
        Further samples at the end, less than the stride or the dilation.
    groups : int

    Returns
    -------
    Tensor, (batch, outputs, time) or (outputs, time)
        ``(size-1)*stride - 2*padding + dilation*(kernel-1) + 1 + output_padding`` along each axis.

    Raises
    ------
    TorchError
        As `conv1d`, and ``torch.output-padding``, ``torch.negative-output``, ``torch.input-empty``.
    TorchTypeError, TorchUnsupportedError
        As `conv1d`.

    Examples
    --------
    >>> conv_transpose1d(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.0, 10.0, 100.0]]]), stride=2)
    tensor([[[  1.,  10., 102.,  20., 200.]]])
    """
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> torch.Tensor:
    """The transposed convolution of a batch of images, as ``torch.nn.functional.conv_transpose2d`` gives it.

    Every input sample lays a scaled copy of the kernel at ``i*stride - padding``: the adjoint of `conv2d`.

    Parameters
    ----------
    input : Tensor, (batch, channels, rows, columns) or (channels, rows, columns)
    weight : Tensor, (channels, outputs/groups, kernel rows, kernel columns)
    bias : Tensor, (outputs,), optional
    stride, padding, dilation : int or sequence of 2
    output_padding : int or sequence of 2
        Further samples at the end, less than the stride or the dilation.
    groups : int

    Returns
    -------
    Tensor, (batch, outputs, rows, columns) or (outputs, rows, columns)
        ``(size-1)*stride - 2*padding + dilation*(kernel-1) + 1 + output_padding`` along each axis.

    Raises
    ------
    TorchError
        As `conv2d`, and ``torch.output-padding``, ``torch.negative-output``, ``torch.input-empty``.
    TorchTypeError, TorchUnsupportedError
        As `conv2d`.

    Examples
    --------
    >>> conv_transpose2d(torch.ones(1, 1, 2, 2), torch.ones(1, 3, 2, 2), stride=2, output_padding=1).shape
    torch.Size([1, 3, 5, 5])
    """
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> torch.Tensor:
    """The transposed convolution of a batch of volumes, as ``torch.nn.functional.conv_transpose3d`` gives it.

    Every input sample lays a scaled copy of the kernel at ``i*stride - padding``: the adjoint of `conv3d`.

    Parameters
    ----------
    input : Tensor, (batch, channels, depth, rows, columns) or (channels, depth, rows, columns)
    weight : Tensor, (channels, outputs/groups, kernel depth, kernel rows, kernel columns)
    bias : Tensor, (outputs,), optional
    stride, padding, dilation : int or sequence of 3
    output_padding : int or sequence of 3
        Further samples at the end, less than the stride or the dilation.
    groups : int

    Returns
    -------
    Tensor, (batch, outputs, depth, rows, columns) or (outputs, depth, rows, columns)
        ``(size-1)*stride - 2*padding + dilation*(kernel-1) + 1 + output_padding`` along each axis.

    Raises
    ------
    TorchError
        As `conv3d`, and ``torch.output-padding``, ``torch.negative-output``, ``torch.input-empty``.
    TorchTypeError, TorchUnsupportedError
        As `conv3d`.

    Examples
    --------
    >>> conv_transpose3d(torch.ones(1, 2, 2, 3, 4), torch.ones(2, 1, 2, 2, 2)).shape
    torch.Size([1, 1, 3, 4, 5])
    """
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def _forward(
    rank: int,
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
) -> torch.Tensor:
    call = f"conv{rank}d"
    arguments.tensors(call, input, weight, bias)
    count = arguments.shapes(call, rank, input, weight, bias, groups, "forward")
    steps = arguments.several(call, "stride", stride, rank)
    spread = arguments.several(call, "dilation", dilation, rank)
    pads: tuple[int, ...] | str
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise TorchError("unknown-padding", padding=padding)
        if padding == "same" and max(steps) > 1:
            raise TorchError("strided-same", stride=by(steps))
        pads = padding
    else:
        pads = arguments.several(call, "padding", padding, rank)
    if pads != "same":
        arguments.fits(input, weight, (0,) * rank if isinstance(pads, str) else pads, spread)
    batched = input if input.ndim == rank + 2 else input.unsqueeze(0)
    result = verbs.conv(
        batched, weight, bias, stride=steps, padding=pads, dilation=spread, groups=count, **_overflow(input)
    )
    return result if input.ndim == rank + 2 else result.squeeze(0)


def _transposed(
    rank: int,
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: object,
    padding: object,
    output_padding: object,
    groups: object,
    dilation: object,
) -> torch.Tensor:
    call = f"conv_transpose{rank}d"
    arguments.tensors(call, input, weight, bias)
    count = arguments.shapes(call, rank, input, weight, bias, groups, "transposed")
    steps = arguments.several(call, "stride", stride, rank)
    spread = arguments.several(call, "dilation", dilation, rank)
    if isinstance(padding, str):
        raise TorchTypeError("not-whole-numbers", call=call, option="padding", value=repr(padding), rank=rank)
    pads = arguments.several(call, "padding", padding, rank)
    extra = arguments.several(call, "output_padding", output_padding, rank)
    for axis in range(rank):
        if extra[axis] >= max(steps[axis], spread[axis]):
            raise TorchError("output-padding", value=extra[axis], axis=axis, stride=steps[axis], dilation=spread[axis])
    if 0 in input.shape[-rank:]:
        raise TorchError("input-empty", input=by(tuple(input.shape)))
    outputs = [
        (size - 1) * s - 2 * p + d * (k - 1) + 1 + o
        for size, k, s, p, d, o in zip(input.shape[-rank:], weight.shape[2:], steps, pads, spread, extra, strict=True)
    ]
    if min(outputs) < 0:
        raise TorchError("negative-output", output=by(outputs), padding=by(pads))
    batched = input if input.ndim == rank + 2 else input.unsqueeze(0)
    if min(outputs) == 0:
        # The padding cuts away all there is; PyTorch gives an empty result.
        result = batched.new_zeros((batched.shape[0], weight.shape[1] * count, *outputs))
    else:
        result = verbs.conv_transpose(
            batched,
            weight,
            bias,
            stride=steps,
            padding=pads,
            output_padding=extra,
            dilation=spread,
            groups=count,
            **_overflow(input),
        )
    return result if input.ndim == rank + 2 else result.squeeze(0)


def _overflow(input: torch.Tensor) -> dict[str, str]:  # noqa: A002 - PyTorch's name
    """PyTorch's integers keep their type and wrap."""
    if input.is_floating_point() or input.is_complex():
        return {}
    return {"dtype": str(input.dtype).removeprefix("torch."), "overflow": "wrap"}
