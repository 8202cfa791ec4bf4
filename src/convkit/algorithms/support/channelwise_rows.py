"""Some rows of a depthwise layer, as steps of a larger task: see `convkit.algorithms.support.bands`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.channelwise_tiles import Tile
from convkit.algorithms.support.channelwise_ways import AHEAD, Ways, halved
from convkit.algorithms.support.dense_tiles import Results
from convkit.algorithms.support.packing import LINE, item_bytes
from convkit.algorithms.support.planes import Box, with_rows
from convkit.algorithms.support.strips import Bases, Strip
from convkit.codegen.library import this_machine
from convkit.codegen.program import Tables
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import Steps, X
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem
from convkit.spec.window import Window


class Packed(Protocol):
    """Weights that may be put in the order of vectors over groups."""

    @property
    def packed(self) -> Array:
        """In this order."""
        ...


@dataclass(frozen=True)
class ChannelwiseRows:
    """A layer of one channel a group, read and written where channels lie side by side; see `bands.InRows`."""

    problem: Problem
    follows: bool = True

    @property
    def windows(self) -> tuple[Window, ...]:
        """Of all axes, two at least."""
        return with_rows(self.problem.windows)

    @property
    def reads_planes(self) -> bool:
        """Vectors of channels are read."""
        return False

    def of_batch(self, samples: int) -> ChannelwiseRows:
        """The same for another number of samples."""
        return replace(self, problem=self.problem.derive(batch=samples))

    def kernel(self, weights: Packed, source: Strip) -> Array:
        """Weights in the order in which they are read."""
        return weights.packed

    def room(self, rows: Range, source: Strip) -> int:
        """Bytes of scratch memory that the steps for so many rows of outputs take."""
        strip = Strip((0, 0), 0, 0, source.along)
        return self._tile(Tables(), rows, source, strip, (0, 0), "cached").bytes + LINE

    def steps(
        self, tables: Tables, rows: Range, source: Strip, target: Strip, bases: tuple[int, int], results: Results
    ) -> list[Steps]:  # fmt: skip
        """Steps that make some rows of outputs; ``bases``: those of weights and bias."""
        problem = self.problem
        lanes, found = lanes_of(this_machine(), problem.compute_dtype), list[Steps]()
        for some in target.unbroken(rows):
            tile = self._tile(tables, some, source, target, bases, results)
            for lo, hi in halved(-(-problem.groups // lanes), tile.ways.vectors):
                found += tile.steps(lo * lanes, min(hi * lanes, problem.groups))
        return found

    def _tile(
        self, tables: Tables, rows: Range, source: Strip, target: Strip, bases: tuple[int, int], results: Results
    ) -> Tile:  # fmt: skip
        problem = self.problem
        box: Box = rows, *((0, window.count) for window in self.windows[1:])
        x, out = ((strip.sample, strip.channel, 0, *strip.along) for strip in (source, target))
        vector, item = this_machine().vector_bytes, item_bytes(problem.compute_dtype)
        lines = target.sample, *target.along, target.place[1], item * problem.groups
        aligned = all(number % vector == 0 for number in lines)  # where the result begins has been looked at
        far = source.place[0] == X and item * math.prod(problem.input_shape) >= AHEAD
        ways = Ways(True, True, "ahead" if far else "plain", results if aligned else "cached")
        places = Bases(source.place, target.origin(rows[0]), *bases)
        return Tile(
            problem, ways, tables, box, x, out, problem.compute_dtype, bases=places,
            ring=(source.rows, source.first),
        )  # fmt: skip
