"""Some rows of a layer that sums over channels, as steps of a larger task: see `convkit.algorithms.support.bands`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from convkit.algorithms.support import dense_tiles
from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.dense_blocks import blocking
from convkit.algorithms.support.dense_samples import Layout, Side, inside
from convkit.algorithms.support.dense_tiles import Results, tile_of
from convkit.algorithms.support.dense_weights import Weights
from convkit.algorithms.support.planes import Box, with_rows
from convkit.algorithms.support.strips import Bases, Strip
from convkit.codegen.program import Tables
from convkit.codegen.step import Steps
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem
from convkit.spec.window import Window


@dataclass(frozen=True)
class DenseRows:
    """A layer whose results have their channels side by side; see `bands.InRows`."""

    problem: Problem

    @classmethod
    def of(cls, problem: Problem) -> DenseRows | None:
        """None for layers whose results are not formed where they stand, channels side by side."""
        same = {problem.input_dtype, problem.compute_dtype, problem.result_dtype or problem.compute_dtype}
        plain = problem.groups == 1 and problem.out_channels > 1 and len(same) == 1
        return cls(problem) if plain and _in_place(problem, "channels") else None

    @property
    def windows(self) -> tuple[Window, ...]:
        """Of all axes, two at least."""
        return with_rows(self.problem.windows)

    @property
    def follows(self) -> bool:
        """Whether samples may lie in a strip: they are read where they lie, and outputs read those of their place."""
        windows = self.windows
        whole = tuple((0, window.count) for window in windows)
        pointwise = all((w.kernel, w.stride, w.start) == (1, 1, 0) for w in windows)
        return pointwise and inside(self.problem, windows, whole)

    @property
    def reads_planes(self) -> bool:
        """Samples are found by tables, or laid down."""
        return _in_place(self.problem, "pixels")

    def of_batch(self, samples: int) -> DenseRows:
        """The same for another number of samples."""
        return replace(self, problem=self.problem.derive(batch=samples))

    def kernel(self, weights: Weights, source: Strip) -> Array:
        """Weights in the order in which they are read."""
        return weights.ordered(self.problem, _cut(self.problem, self._side(source)).blocks)

    def room(self, rows: Range, source: Strip) -> int:
        """Bytes of scratch memory that the steps for so many rows of outputs take."""
        side, box = self._side(source), self._box(rows)
        cut = _cut(self.problem, side)
        layout = Layout(side, "channels")
        return tile_of(self.problem, cut, Tables(), box, self._strides(source), layout).laid.bytes

    def steps(
        self, tables: Tables, rows: Range, source: Strip, target: Strip, bases: tuple[int, int], results: Results
    ) -> list[Steps]:  # fmt: skip
        """Steps that make some rows of outputs; ``bases``: those of weights and bias."""
        side = self._side(source)
        cut, layout = _cut(self.problem, side), Layout(side, "channels")
        x, out = self._strides(source), self._strides(target)
        found: list[Steps] = []
        for lo, hi in (part for some in target.unbroken(rows) for part in source.unbroken(some)):
            places = Bases(source.origin(lo), target.origin(lo), *bases)
            tile = tile_of(self.problem, cut, tables, self._box((lo, hi)), x, layout, None, places)
            blocks = 0, sum(count for _, count in cut.blocks)
            found += tile.steps(x, out, self.problem.compute_dtype, blocks, results)
        return found

    def _box(self, rows: Range) -> Box:
        return rows, *((0, window.count) for window in self.windows[1:])

    def _side(self, source: Strip) -> Side:
        item = np.dtype(self.problem.input_dtype).itemsize
        many = self.problem.in_channels > 1 and source.channel == item != source.along[-1]
        return "channels" if many else "pixels"

    @staticmethod
    def _strides(strip: Strip) -> tuple[int, ...]:
        return strip.sample, 0, strip.channel, *strip.along


def _in_place(problem: Problem, side: Side) -> bool:
    """Whether vectors hold output channels, so that results are formed where they stand."""
    return _cut(problem, side).vectors_of == "channels"


def _cut(problem: Problem, side: Side) -> dense_tiles.Blocking:
    return blocking(problem, Layout(side, "channels"))
