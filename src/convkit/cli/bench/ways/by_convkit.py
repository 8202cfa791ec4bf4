"""convkit: the call that a user would write, with and without ``out=``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.ways.way import Run, Way


def ways(problem: Problem) -> Iterator[Way]:
    """``correlate`` for filters; ``conv``, ``conv_transpose`` and their gradients for layers, on arrays and tensors."""
    from convkit import verbs

    x, k = problem.arrays()
    if problem.kind == "filter":
        options: dict[str, Any] = {
            "stride": problem.stride,
            "dilation": problem.dilation,
            "boundary": problem.boundary,
            "axes": problem.axes or None,
            "dtype": problem.out_dtype if problem.dtype == "uint8" or problem.result else None,
            "accuracy": problem.tolerance or "norm",
        }
        plain = {"stride": 1, "dilation": 1, "boundary": "zero", "axes": None, "dtype": None, "accuracy": "norm"}
        options = {name: value for name, value in options.items() if value != plain[name]}
        out = np.empty(problem.output, problem.out_dtype)
        yield Way("", lambda: verbs.correlate(x, k, "same", **options))
        yield Way("out=", lambda: verbs.correlate(x, k, "same", out=out, **options))
        return
    yield Way("", _layer(problem, x, k, None if problem.direction == "forward" else problem.upstream()))
    if importlib.util.find_spec("torch") is not None:
        yield from _on_tensors(problem, x, k)


def _on_tensors(problem: Problem, x: np.ndarray, k: np.ndarray) -> Iterator[Way]:
    """The same call on tensors, which tell when weights change; in memory order, and with channels as neighbours."""
    import torch

    layouts = {"channels first": torch.contiguous_format}
    if len(problem.taps) > 1:
        layouts["channels last"] = torch.channels_last if len(problem.taps) == 2 else torch.channels_last_3d
    arrays = [x, k] if problem.direction == "forward" else [x, k, problem.upstream()]
    for name, layout in layouts.items():
        tensors: list[Any] = [torch.from_numpy(array).contiguous(memory_format=layout) for array in arrays]
        call = _layer(problem, *tensors, *[None] * (3 - len(tensors)))
        yield Way(name, call, lambda value: (value.contiguous().numpy(),), threads="torch")


def _layer(problem: Problem, x: Any, k: Any, g: Any) -> Run:
    """The verb that does a layer; a transposed one is the adjoint of the layer from its outputs to its inputs."""
    from convkit import verbs

    options: dict[str, Any] = problem.options
    if problem.form == "conv":
        calls: dict[str, Run] = {
            "forward": lambda: verbs.conv(x, k, **options),
            "input-gradient": lambda: verbs.conv_input_gradient(g, k, tuple(x.shape), **options),
            "weight-gradient": lambda: verbs.conv_weight_gradient(g, x, tuple(k.shape), **options),
        }
    else:
        calls = {
            "forward": lambda: verbs.conv_transpose(x, k, **options),
            "input-gradient": lambda: verbs.conv(g, k, **options),
            "weight-gradient": lambda: verbs.conv_weight_gradient(x, g, tuple(k.shape), **options),
        }
    return calls[problem.direction]
