"""torch: ``conv1d``, ``conv2d``, ``conv3d``, channels first and last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.ways.way import Way

FILTER_LIMIT = 1e10
"""Operations up to which filters take part; beyond it torch needs seconds, transforms milliseconds."""

TAPS_LIMIT = 2500
"""Kernel elements up to which filters take part: torch is made for small ones, and needs half a minute for 63 x 63."""

UNFOLDED_LIMIT = 2e9
"""Bytes up to which windows may be laid out: torch does that for every type but float32."""

PADS = {"edge": "replicate", "reflect": "reflect", "wrap": "circular", "zero": "constant"}


def ways(problem: Problem) -> Iterator[Way]:
    """Layers as they are, filters as layers of one channel."""
    rank = len(problem.taps)
    if rank > 3 or np.dtype(problem.dtype).kind not in "fc":
        return
    import torch

    call = getattr(torch.nn.functional, f"conv{rank}d")
    last = {2: torch.channels_last, 3: torch.channels_last_3d}.get(rank)
    layouts = {"": torch.contiguous_format}
    if last is not None:
        layouts = {"channels first": torch.contiguous_format, "channels last": last}
    for way, layout in layouts.items():
        turned = "_transpose" if problem.form == "transposed" else ""
        name = f"{way} conv{turned}{rank}d".strip()
        if problem.kind == "layer":
            yield _layer(problem, name, layout)
            continue
        if problem.axes or problem.boundary not in PADS:
            continue
        factors = problem.factors()
        if _possible(problem, problem.flops, float(np.prod(problem.taps))):
            yield _filter(problem, name, call, layout, [problem.arrays()[1]])
        if factors is not None and rank > 1 and _possible(problem, problem.factored_flops, max(problem.taps)):
            steps = [
                factor.reshape([-1 if a == axis else 1 for a in range(rank)]) for axis, factor in enumerate(factors)
            ]
            yield _filter(problem, f"{name} by factors", call, layout, steps)


def _possible(problem: Problem, flops: float, taps: float) -> bool:
    size = np.dtype(problem.dtype).itemsize
    unfolded = 0.0 if problem.dtype == "float32" else size * taps * float(np.prod(problem.output))
    return flops <= FILTER_LIMIT and taps <= TAPS_LIMIT and unfolded <= UNFOLDED_LIMIT


def _filter(problem: Problem, name: str, call: Callable[..., Any], layout: Any, kernels: list[np.ndarray]) -> Way:
    import torch
    from torch.nn import functional

    x = problem.arrays()[0][None, None]
    weights = [torch.from_numpy(np.ascontiguousarray(k.conj()))[None, None] for k in kernels]
    weights = [k.contiguous(memory_format=layout) for k in weights]
    # torch takes no negative strides, and copies others; that is part of the work then.
    ready = torch.from_numpy(x).contiguous(memory_format=layout) if problem.layout == "contiguous" else None
    step = problem.dilation

    def run() -> Any:
        with torch.no_grad():
            v = ready
            if v is None:
                v = torch.from_numpy(np.ascontiguousarray(x)).contiguous(memory_format=layout)
            for turn, k in enumerate(weights):
                sizes = list(k.shape[2:])
                before = [(taps // 2) * step for taps in sizes]
                after = [(taps - 1) * step - gone for taps, gone in zip(sizes, before)]
                stride = [problem.stride if len(weights) == 1 or axis == turn else 1 for axis in range(len(sizes))]
                padding: list[int] = before
                if problem.boundary != "zero" or before != after:
                    sides = [side for pair in zip(reversed(before), reversed(after)) for side in pair]
                    v, padding = functional.pad(v, sides, PADS[problem.boundary]), [0] * len(sizes)
                v = call(v, k, stride=stride, padding=padding, dilation=step)
            return v

    return Way(name, run, lambda value: (value.contiguous().numpy()[0, 0],))


def _layer(problem: Problem, name: str, layout: Any) -> Way:
    import torch
    from torch.nn import functional

    rank = len(problem.taps)
    arrays = problem.arrays() if problem.direction == "forward" else (*problem.arrays(), problem.upstream())
    x, k, *upstream = (torch.from_numpy(array).contiguous(memory_format=layout) for array in arrays)
    spread = {option: [value] * rank for option, value in problem.options.items() if option != "groups"}
    options: dict[str, Any] = {**spread, "groups": problem.groups}
    if problem.direction == "forward":
        call = getattr(functional, f"conv{'_transpose' if problem.form == 'transposed' else ''}{rank}d")

        def run() -> Any:
            with torch.no_grad():
                return call(x, k, **options)
    else:
        wished = [problem.direction == "input-gradient", problem.direction == "weight-gradient", False]
        settings = (
            spread.get("stride", [1] * rank), spread.get("padding", [0] * rank), spread.get("dilation", [1] * rank),
            problem.form == "transposed", [0] * rank, problem.groups, wished,
        )  # fmt: skip

        def run() -> Any:
            with torch.no_grad():
                grads = torch.ops.aten.convolution_backward(upstream[0], x, k, None, *settings)
            return grads[0] if wished[0] else grads[1]

    return Way(name, run, lambda value: (value.contiguous().numpy(),))
