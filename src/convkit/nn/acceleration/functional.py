"""Torch's functional convolutions on `ck.conv` and `ck.conv_transpose`, and models that call them."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.overrides import TorchFunctionMode

import convkit as ck


def conv(
    input: Tensor,  # noqa: A002  (torch names it so)
    weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """``torch.nn.functional.conv1d``, ``conv2d`` and ``conv3d``, with or without a batch axis."""
    if isinstance(weight, Proxy) or isinstance(input, Proxy):
        return _step(conv, input, weight, bias, stride, padding, dilation, groups)
    rank = weight.ndim - 2
    options = {"stride": each(stride, rank), "dilation": each(dilation, rank), "groups": groups}
    options["padding"] = padding if isinstance(padding, str) else tuple([(pad, pad) for pad in each(padding, rank)])
    if input.ndim == weight.ndim:
        return ck.conv(input, weight, bias, **options)
    return ck.conv(input.unsqueeze(0), weight, bias, **options).squeeze(0)


def conv_transpose(
    input: Tensor,  # noqa: A002  (torch names it so)
    weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """``torch.nn.functional.conv_transpose1d``, ``2d`` and ``3d``, with or without a batch axis."""
    if isinstance(weight, Proxy) or isinstance(input, Proxy):
        return _step(conv_transpose, input, weight, bias, stride, padding, output_padding, groups, dilation)
    rank = weight.ndim - 2
    options = {
        "stride": each(stride, rank), "padding": each(padding, rank), "output_padding": each(output_padding, rank),
        "dilation": each(dilation, rank), "groups": groups,
    }  # fmt: skip
    if input.ndim == weight.ndim:
        return ck.conv_transpose(input, weight, bias, **options)
    return ck.conv_transpose(input.unsqueeze(0), weight, bias, **options).squeeze(0)


def _step(function: Callable[..., Tensor], *arguments: Any) -> Any:
    """A call as one step of the graph that is being made, as when a model that holds it is copied or unpickled."""
    tracer = next(one.tracer for one in arguments if isinstance(one, Proxy))
    return tracer.create_proxy("call_function", function, arguments, {})


def each(value: Any, rank: int) -> tuple[int, ...]:
    """One number an axis, from a number, or a sequence that may hold one for all."""
    if isinstance(value, int):
        return (value,) * rank
    return tuple(value) * rank if len(value) == 1 else tuple(value)


FUNCTIONS: dict[Any, Callable[..., Tensor]] = {
    torch.conv1d: conv, torch.conv2d: conv, torch.conv3d: conv, torch.conv_transpose1d: conv_transpose,
    torch.conv_transpose2d: conv_transpose, torch.conv_transpose3d: conv_transpose,
}  # fmt: skip
"""By torch's own; `torch.nn.functional` has the same functions."""

_NAMES = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}


class OnConvkit(TorchFunctionMode):
    """Within it, torch's functional convolutions are convkit's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Torch's hook: called in place of every function."""
        ours: Any = FUNCTIONS.get(func) or func
        return ours(*args, **(kwargs or {}))


def _forward(self: nn.Module, *arguments: Any, **named: Any) -> Any:
    with OnConvkit():
        return type(self).forward(self, *arguments, **named)


def replace_functions(model: nn.Module) -> list[str]:
    """Have those modules of ``model`` whose code names functional convolutions call convkit's; returns their names."""
    found: list[str] = []
    for name, module in model.named_modules():
        if type(module).__module__.startswith(("torch.nn.", "convkit.nn.layers")):
            continue
        if any(_NAMES & set(_names(getattr(type(module), method))) for method in vars(type(module))):
            module.forward = MethodType(_forward, module)
            found.append(name)
    return found


def _names(method: Any) -> tuple[str, ...]:
    code = getattr(method, "__code__", None)
    return () if code is None else code.co_names
