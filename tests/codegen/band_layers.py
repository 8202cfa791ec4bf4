"""Layers for the tests of bands: problems in a row, their arrays, and what their plans make of them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.algorithms.support.bands import Bands
from convkit.codegen import pool
from convkit.planner.bands import Part
from convkit.planner.finishing import Operands
from convkit.planner.plan import Plan, Prepared, plan_for
from convkit.planner.problem import Problem
from convkit.spec.epilogue import Epilogue
from convkit.spec.window import Window


@dataclass(frozen=True)
class Axis:
    """A kernel along one axis."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    pads: tuple[int, int] = (0, 0)
    sides: tuple[Any, Any] = ("zero", "zero")

    def window(self, size: int) -> Window:
        """On so many samples."""
        count = (size + sum(self.pads) - self.dilation * (self.kernel - 1) - 1) // self.stride + 1
        return Window(size, self.kernel, count, -self.pads[0], self.stride, self.dilation, sides=self.sides)


@dataclass(frozen=True)
class Spec:
    """A layer: ``channels`` outputs that see all inputs, or 0 for a kernel for each channel."""

    axes: tuple[Axis, ...]
    channels: int = 0
    epilogue: Epilogue | None = None
    fill: float = 0.0


def problems(specs: Sequence[Spec], batch: int, channels: int, sizes: Sequence[int], dtype: str) -> list[Problem]:
    """The layers one after another."""
    found: list[Problem] = []
    for spec in specs:
        windows = tuple(axis.window(size) for axis, size in zip(spec.axes, sizes, strict=True))
        split = {"groups": channels} if not spec.channels else {"in_channels": channels, "out_channels": spec.channels}
        found.append(
            Problem(
                windows, batch=batch, input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype, fill=spec.fill,
                epilogue=spec.epilogue, **split,
            )
        )  # fmt: skip
        channels, sizes = spec.channels or channels, [window.count for window in windows]
    return found


def beside(problem: Problem, numbers: np.ndarray) -> np.ndarray:
    """Memory (batch, *space, channels) as batch x group x channel x space."""
    moved = np.moveaxis(numbers, -1, 1)
    return moved.reshape((len(moved), problem.groups, -1, *moved.shape[2:]))


def plan_of(problem: Problem) -> Plan:
    """The way that can be done in rows."""
    return plan_for(problem, "depthwise" if problem.groups > 1 else "implicit-gemm")


class Layers:
    """Layers with weights and biases, and everything that they are done to."""

    def __init__(
        self, specs: Sequence[Spec], batch: int, channels: int, sizes: Sequence[int], dtype: str = "float32",
        planes: bool = False,
    ) -> None:  # fmt: skip
        source = np.random.default_rng(len(specs) + channels)

        def normal(shape: Sequence[int]) -> np.ndarray:
            return source.standard_normal(tuple(shape)).astype(dtype)

        self.problems = problems(specs, batch, channels, sizes, dtype)
        first, last = self.problems[0], self.problems[-1]
        self.x = normal(first.input_shape) if planes else beside(first, normal((batch, *sizes, channels)))
        self.add = self.results(last)
        self.add[...] = normal(self.add.shape)
        if last.epilogue is None or not last.epilogue.add:
            self.add = None
        self.ready: list[tuple[Plan, Prepared, np.ndarray | None]] = []
        for problem in self.problems:
            plan, w = plan_of(problem), normal(problem.kernel_shape)
            bias = None
            if problem.epilogue is not None and problem.epilogue.bias:
                bias = normal((problem.groups, problem.out_channels))
            self.ready.append((plan, plan.prepare(w), bias))

    @staticmethod
    def results(problem: Problem) -> np.ndarray:
        """Room for a layer's results, which are NaN so far."""
        batch, groups, channels, *space = problem.output_shape
        return beside(problem, np.full((batch, *space, groups * channels), np.nan, problem.compute_dtype))

    def one_by_one(self) -> np.ndarray:
        """What the layers make, each of what the one before has made."""
        x = self.x
        for problem, (plan, prepared, bias) in zip(self.problems, self.ready, strict=True):
            add = self.add if problem is self.problems[-1] else None
            out = self.results(problem)
            plan.run(prepared, x.reshape(problem.input_shape), out, Operands(bias, add))
            x = out
        return x

    def bands(self) -> Bands:
        """The layers as one."""
        return Bands(tuple(part.rows for part in self.parts()))

    def parts(self) -> list[Part]:
        """The layers, each as it can be joined with others."""
        parts = [plan.in_rows(prepared, bias) for plan, prepared, bias in self.ready]
        assert all(part is not None for part in parts)
        assert all(part.rows.follows for part in parts[1:])
        return parts

    def together(self, out: np.ndarray | None = None, threads: int = 1) -> np.ndarray:
        """What they make as one."""
        out = self.results(self.problems[-1]) if out is None else out
        calls = self.bands().calls(self.parts(), self.x, out, self.add)
        assert calls is not None
        for call in calls:
            pool.run(call.program, call.bases, threads)
        return out


def inverted(
    wide: int, narrow: int, rows: Axis, columns: Axis, end: Epilogue | None = None, fill: float = 0.0
) -> list[Spec]:
    """A layer that widens, one for each channel, and one that narrows."""
    point, cut = (Axis(),) * 2, Epilogue(True, False, "relu6")
    return [Spec(point, wide, cut), Spec((rows, columns), 0, cut, fill), Spec(point, narrow, end)]
