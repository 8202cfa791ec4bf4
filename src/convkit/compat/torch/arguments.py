"""Checking the arguments of torch.nn.functional's convolutions; refusals name the shapes at fault."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch

from convkit.compat.torch.errors import TorchError, TorchTypeError, TorchUnsupportedError
from convkit.errors import by

TYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
)
"""The element types that PyTorch convolves on a processor."""

LEAST = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
"""The least value of each option."""


def tensors(call: str, input: object, weight: object, bias: object) -> None:  # noqa: A002 - PyTorch's name
    """Refuse what is not a tensor, and tensors of different or unsupported element types."""
    for name, value in (("input", input), ("weight", weight), ("bias", bias)):
        if not isinstance(value, torch.Tensor) and not (name == "bias" and value is None):
            raise TorchTypeError("not-a-tensor", call=call, argument=name, kind=type(value).__name__)
    assert isinstance(input, torch.Tensor)
    if input.dtype not in TYPES:
        raise TorchUnsupportedError("element-type", call=call, dtype=_name(input), allowed=", ".join(map(_word, TYPES)))
    for name, value in (("weight", weight), ("bias", bias)):
        if isinstance(value, torch.Tensor) and value.dtype != input.dtype:
            raise TorchError("types-differ", argument=name, input=_name(input), other=_name(value))


def several(call: str, option: str, value: object, rank: int) -> tuple[int, ...]:
    """One whole number for each of ``rank`` axes, from a number, or a sequence of one or ``rank``."""
    items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        numbers = [operator.index(item) for item in items]  # type: ignore[arg-type]
    except TypeError:
        raise TorchTypeError("not-whole-numbers", call=call, option=option, value=repr(value), rank=rank) from None
    if len(numbers) not in (1, rank):
        raise TorchError("wrong-count", option=option, value=numbers, count=len(numbers), rank=rank)
    least = LEAST[option]
    if min(numbers) < least:
        raise TorchError("out-of-range", option=option, value=numbers, worst=min(numbers), least=least)
    return tuple(numbers) if len(numbers) == rank else tuple(numbers * rank)


def shapes(
    call: str,
    rank: int,
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    groups: object,
    direction: str,
) -> int:
    """Refuse ranks, channels and groups that do not go together; return the number of groups."""
    try:
        count = operator.index(groups)  # type: ignore[arg-type]
    except TypeError:
        raise TorchTypeError("not-whole-numbers", call=call, option="groups", value=repr(groups), rank=1) from None
    if count < 1:
        raise TorchError("out-of-range", option="groups", value=count, worst=count, least=1)
    if input.ndim not in (rank + 1, rank + 2):
        raise TorchError("input-rank", call=call, input=_size(input), unbatched=rank + 1, batched=rank + 2)
    if weight.ndim != rank + 2:
        raise TorchError("weight-rank", call=call, weight=_size(weight), rank=rank + 2)
    if weight.shape[0] == 0 or weight.shape[0] % count:
        raise TorchError("weight-groups", weight=_size(weight), first=weight.shape[0], groups=count)
    if 0 in weight.shape[2:]:
        raise TorchError("weight-empty", weight=_size(weight))
    channels = input.shape[-rank - 1]
    wished = weight.shape[1] * count if direction == "forward" else weight.shape[0]
    if channels != wished:
        raise TorchError(
            "channels",
            input=_size(input),
            weight=_size(weight),
            groups=count,
            channels=channels,
            wished=wished,
        )
    outputs = weight.shape[0] if direction == "forward" else weight.shape[1] * count
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise TorchError("bias-shape", weight=_size(weight), bias=_size(bias), outputs=outputs)
    return count


def fits(
    input: torch.Tensor,  # noqa: A002 - PyTorch's name
    weight: torch.Tensor,
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> None:
    """Refuse a kernel that does not fit the padded input."""
    rank = len(padding)
    padded = [size + 2 * pad for size, pad in zip(input.shape[-rank:], padding, strict=True)]
    reach = [step * (size - 1) + 1 for size, step in zip(weight.shape[2:], dilation, strict=True)]
    short = [axis for axis in range(rank) if reach[axis] > padded[axis]]
    if short:
        most = max(reach[axis] - padded[axis] for axis in short)
        raise TorchError("kernel-too-large", padded=by(padded), reach=by(reach), more=-(-most // 2))


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _name(tensor: torch.Tensor) -> str:
    return _word(tensor.dtype)


def _size(tensor: torch.Tensor) -> str:
    return by(tuple(tensor.shape))
