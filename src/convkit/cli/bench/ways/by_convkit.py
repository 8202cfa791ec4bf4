"""convkit: the call that a user would write, with and without ``out=``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.ways.way import Results, Way


def ways(problem: Problem) -> Iterator[Way]:
    """``correlate`` for filters, ``conv`` and both gradients for layers."""
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
    settings: dict[str, Any] = {"stride": problem.stride, "padding": problem.padding, "groups": problem.groups}
    if problem.direction == "forward":
        yield Way("", lambda: verbs.conv(x, k, **settings))
        return

    def train() -> Results:
        y = verbs.conv(x, k, **settings)
        return (
            y,
            verbs.conv_input_gradient(y, k, x.shape, **settings),
            verbs.conv_weight_gradient(y, x, k.shape, **settings),
        )

    yield Way("", train, tuple)
