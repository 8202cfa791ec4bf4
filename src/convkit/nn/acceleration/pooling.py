"""Which of a traced model's steps are pooling that `ck.pool` does too, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.fx import Node
from torch.nn import functional

from convkit.arrays.layers import PoolOptions
from convkit.nn.pools import MaxPool1d, MaxPool2d, MaxPool3d
from convkit.spec.options import pad_pairs, per_axis

Spelled = Callable[[tuple[int, ...]], "PoolOptions | None"]
"""From the sizes of what is pooled to the options."""


def pooling(node: Node, module: nn.Module | None) -> tuple[int, Any, Spelled] | None:
    """How many axes a node pools, what it makes of windows, and these; None for a node that does something else."""
    if module is not None and type(module) in _MODULES and len(node.args) == 1 and not node.kwargs:
        rank, kind = _MODULES[type(module)]
        options = vars(module)
    elif node.op == "call_function" and node.target in _FUNCTIONS:
        rank, kind, names = _FUNCTIONS[node.target]
        options = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
        if any(isinstance(value, Node) for value in options.values()):
            return None
    else:
        return None
    if kind == "whole":
        return rank, "mean", _whole(options.get("output_size"))
    return rank, kind, _windows(options)


def _windows(options: dict[str, Any]) -> Spelled:
    """Windows as torch's pooling is told of them, by the names of its options."""

    def spelled(space: tuple[int, ...]) -> PoolOptions | None:
        rank, stride = len(space), options.get("stride")
        spread = set(per_axis("dilation", options.get("dilation", 1), rank, 1)) != {1}
        counted = options.get("count_include_pad", True) and options.get("divisor_override") is None
        if spread or not counted or options.get("return_indices"):
            return None
        sizes = per_axis("size", options["kernel_size"], rank, 1)
        steps = per_axis("stride", stride, rank, 1) if stride else sizes
        pads = tuple(n for pair in pad_pairs(options.get("padding", 0), rank) for n in pair)
        return PoolOptions(sizes, steps, pads, "ceil" if options.get("ceil_mode") else "floor")

    return spelled


def _whole(size: Any) -> Spelled:
    """The mean of everything, or of windows of one size that leave nothing out."""

    def spelled(space: tuple[int, ...]) -> PoolOptions | None:
        wished = size if isinstance(size, Sequence) else (size,) * len(space)
        counts = tuple(n if count is None else count for n, count in zip(space, wished, strict=True))
        if any(not count or n % count for n, count in zip(space, counts, strict=True)):
            return None
        sizes = tuple(n // count for n, count in zip(space, counts, strict=True))
        return PoolOptions(sizes, sizes, (0, 0) * len(space), "floor")

    return spelled


_MODULES: dict[type, tuple[int, str]] = {
    nn.MaxPool1d: (1, "max"), nn.MaxPool2d: (2, "max"), nn.MaxPool3d: (3, "max"),
    MaxPool1d: (1, "max"), MaxPool2d: (2, "max"), MaxPool3d: (3, "max"),
    nn.AvgPool1d: (1, "mean"), nn.AvgPool2d: (2, "mean"), nn.AvgPool3d: (3, "mean"),
    nn.AdaptiveAvgPool1d: (1, "whole"), nn.AdaptiveAvgPool2d: (2, "whole"), nn.AdaptiveAvgPool3d: (3, "whole"),
}  # fmt: skip
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_MEAN = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_FUNCTIONS: dict[Any, tuple[int, str, tuple[str, ...]]] = {
    getattr(where, f"{name}{rank}d"): (rank, kind, names)
    for where, name, kind, names in (
        (functional, "max_pool", "max", _MAX), (torch, "max_pool", "max", _MAX[:-1]),
        (functional, "avg_pool", "mean", _MEAN), (functional, "adaptive_avg_pool", "whole", ("output_size",)),
    )
    for rank in (1, 2, 3)
}  # fmt: skip
