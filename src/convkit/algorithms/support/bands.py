"""Layers that follow one another done band by band: what they leave to each other never leaves a thread's cache.

A task is a band of rows of the last layer's outputs. It is gone through in slices of a few rows: every layer makes the
rows that the next one needs and that are not there yet, in a strip of scratch memory that keeps as many rows as a slice
needs at once. Only the rows that two bands have in common are computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Protocol, cast

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.channelwise_tables import Axis
from convkit.algorithms.support.dense_tiles import Results, results_of
from convkit.algorithms.support.packing import LINE, item_bytes
from convkit.algorithms.support.register_tiles import cuts, largest
from convkit.algorithms.support.strips import Strip
from convkit.codegen.memory import address
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import ADD, KERNEL, OUT, SCRATCH, TABLES, Steps, X
from convkit.planner import bands
from convkit.planner.algorithm import Array, Call
from convkit.planner.bands import Part
from convkit.planner.machine import DEFAULT, width
from convkit.planner.problem import Problem
from convkit.spec.window import Window

STRIP_BYTES = 1 << 18
"""Bytes of the strips of a task together at most, if slices of one row need no more: with weights and what is read
they stay in the second-level cache."""

SLICE_ROWS = 16
"""Rows of a slice at most."""

MOST_BYTES = 1 << 20
"""Bytes of strips beyond which layers are not done so: they would not stay there."""

NEAR = 1 << 18
"""Bytes up to which a layer finds what the one before left in its core's own cache, beside all else."""

PROGRAM_STEPS, SLICE_STEPS = 1 << 13, 3
"""Steps of a program beyond which it is run several times, for some of the samples each; and those that a layer has in
a slice, roughly."""

TASKS = 8, 4
"""Tasks that a call should have; and that it has at least."""

MOST_TWICE = 0.15
"""How much of the layers' arithmetic may be done twice to have so many."""

KERNELS, BIASES = (KERNEL, TABLES + 1, TABLES + 2), (ADD + 1, ADD + 2, ADD + 3)
"""The bases of weights and biases, layer by layer."""


class InRows(bands.InRows, Protocol):
    """A layer that can be done a few rows at a time, and how: channels of its results are side by side."""

    @property
    def problem(self) -> Problem:
        """What is computed."""
        ...

    @property
    def windows(self) -> tuple[Window, ...]:
        """Of all axes, two at least."""
        ...

    @property
    def follows(self) -> bool:
        """Whether samples may lie in a strip."""
        ...

    def of_batch(self, samples: int) -> InRows:
        """The same for another number of samples."""
        ...

    def kernel(self, weights: Any, source: Strip) -> Array:
        """Weights in the order in which they are read."""
        ...

    def room(self, rows: Range, source: Strip) -> int:
        """Bytes of scratch memory that the steps for so many rows of outputs take, strips aside."""
        ...

    def steps(
        self, tables: Tables, rows: Range, source: Strip, target: Strip, bases: tuple[int, int], results: Results
    ) -> list[Steps]:  # fmt: skip
        """Steps that make some rows of outputs; ``bases``: those of weights and bias."""
        ...


class Course(NamedTuple):
    """How a band is gone through.

    Attributes
    ----------
    made : list of list of (int, int)
        For each layer the rows that it makes in each slice.
    kept : list of int
        How many rows of each layer but the last there must be room for.
    """

    made: list[list[Range]]
    kept: list[int]


def course(windows: Sequence[Window], band: Range, rows: int) -> Course:
    """A band gone through in slices of so many rows of the last layer; ``windows``: of the layers' first axes."""
    made = [[(lo, min(lo + rows, band[1])) for lo in range(band[0], band[1], rows)]]
    kept: list[int] = []
    for window in reversed(windows[1:]):
        wanted = [_met(window, some) for some in made[0]]
        done = min((lo for lo, hi in wanted if lo < hi), default=0)
        before: list[Range] = []
        most = 1
        for lo, hi in wanted:
            before.append((done, max(done, hi)))
            done = max(done, hi)
            most = max(most, done - lo if lo < hi else 1)
        made.insert(0, before)
        kept.insert(0, most)
    return Course(made, kept)


@lru_cache(maxsize=4096)
def _met(window: Window, rows: Range) -> Range:
    """The rows of samples that some rows of outputs meet, and those between them."""
    met = Axis(window, range(*rows)).needed() if rows[0] < rows[1] else []
    return (int(met[0]), int(met[-1]) + 1) if len(met) else (0, 0)


class Bands:
    """Layers as they are done together.

    Parameters
    ----------
    layers : sequence of InRows
        In order; the results of all but the last are read by the next one alone.
    """

    def __init__(self, layers: tuple[InRows, ...]) -> None:
        self.layers, self.problem = layers, layers[-1].problem
        self.windows = [layer.windows[0] for layer in layers]
        self.item = item_bytes(self.problem.compute_dtype)
        self.lines = [self._line(layer) for layer in layers]
        self.rows = self._rows()
        self.bands = self._bands()
        self._programs: dict[tuple[int, Strip, Strip, Results], Program] = {}
        self.kept = [max(rows) for rows in zip(*(self._course(band).kept for band in self.bands), strict=True)]

    @property
    def strips(self) -> int:
        """Bytes of all strips."""
        return sum(line * rows for line, rows in zip(self.lines, self.kept, strict=False))

    @cached_property
    def gain(self) -> float:
        """Seconds that two threads save, roughly: what is not written and read again, less what is done twice."""
        batch = self.problem.batch
        if self.strips > MOST_BYTES or batch * len(self.bands) < TASKS[1]:
            return 0.0
        left = [batch * line * window.count for line, window in zip(self.lines[:-1], self.windows, strict=False)]
        moved = 2 * sum(passed for passed in left if passed > NEAR)
        weights = sum(self.item * math.prod(layer.problem.kernel_shape) for layer in self.layers)
        if weights + self.strips > MOST_BYTES:  # they pass through the cache with every slice
            moved -= weights * batch * sum(len(self._course(band).made[0]) for band in self.bands)
        products = self._products() * width(self.problem.compute_dtype)
        return moved / DEFAULT.bandwidth - self._twice(self.bands) * 2 * products / (1.9 * DEFAULT.fused)

    def calls(self, parts: Sequence[Part], x: Array, out: Array, add: Array | None) -> list[Call] | None:
        """All of it as programs; ``parts``: the layers with their arrays.

        None for samples or results that it does not read or write where they lie.
        """
        source, target = _strip(x, X, self.layers[0].problem), _strip(out, OUT, self.problem)
        alike = add is None or all(
            n == 1 or one == other for n, one, other in zip(out.shape, out.strides, add.strides, strict=True)
        )
        if target.channel != self.item or not alike or not (self.layers[0].reads_planes or source.channel == self.item):
            return None
        held = [
            layer.kernel(part.weights, self._between(source, n))
            for n, (layer, part) in enumerate(zip(self.layers, parts, strict=True))
        ]
        bias = [part.bias for part in parts]
        known = {ADD: 0 if add is None else address(add), OUT: address(out), X: address(x)}
        for bases, arrays in ((KERNELS, held), (BIASES, bias)):
            known.update({base: 0 if one is None else address(one) for base, one in zip(bases, arrays, strict=False)})
        order = [base for base in range(OUT, max(known) + 1) if base != TABLES]
        results = results_of(self.problem, address(out)) if target.sample % LINE == 0 else "cached"
        batch, at_once = self.problem.batch, self._samples_at_once()
        seconds = 2 * self._products() * width(self.problem.compute_dtype) / DEFAULT.fused / batch
        programs = {count: self.program(count, source, target, results) for count in {at_once, batch % at_once} - {0}}
        found: list[Call] = []
        for first in range(0, batch, at_once):
            count = min(at_once, batch - first)
            moved = {
                base: first * array.strides[0] for base, array in ((OUT, out), (X, x), (ADD, add)) if array is not None
            }
            places = tuple(known.get(base, 0) + moved.get(base, 0) for base in order)
            found.append(Call(programs[count], places, seconds * count, held=(*held, *bias)))
        return found

    def _samples_at_once(self) -> int:
        """For how many samples one program is made, so that it stays small however many there are."""
        slices = sum(len(self._course(band).made[0]) for band in self.bands)
        return max(1, min(self.problem.batch, PROGRAM_STEPS // (SLICE_STEPS * len(self.layers) * slices)))

    def program(self, samples: int, source: Strip, target: Strip, results: Results) -> Program:
        """All of it for so many samples, but for its arrays; worked out once."""
        key = samples, source, target, results
        if key not in self._programs:
            self._programs[key] = self._program(*key)
        return self._programs[key]

    def _program(self, samples: int, source: Strip, target: Strip, results: Results) -> Program:
        tables = Tables()
        room, layers = self._room(source), [layer.of_batch(samples) for layer in self.layers]
        tasks = [self._task(tables, layers, band, room, source, target, results) for band in self.bands]
        return join(tasks, tables.array(), room + self.strips + LINE)

    def _task(
        self, tables: Tables, layers: Sequence[InRows], band: Range, room: int, source: Strip, target: Strip,
        results: Results,
    ) -> list[Steps]:  # fmt: skip
        made = self._course(band).made
        strips, at = [source], room
        for n, rows in enumerate(self.kept):
            strips.append(self._strip(n, at, rows, made[n][0][0]))
            at += rows * self.lines[n]
        strips.append(target)
        found: list[Steps] = []
        for turn in range(len(made[0])):
            for n, layer in enumerate(layers):
                rows, bases = made[n][turn], (KERNELS[n], BIASES[n])
                way = results if n == len(layers) - 1 else "cached"
                if rows[0] < rows[1]:
                    found += layer.steps(tables, rows, strips[n], strips[n + 1], bases, way)
        return found

    def _room(self, source: Strip) -> int:
        """Bytes of scratch memory before the strips."""
        ways = [self._course(band).made for band in self.bands]
        most = max(
            layer.room(rows, self._between(source, n))
            for n, layer in enumerate(self.layers)
            for rows in dict.fromkeys(rows for made in ways for rows in made[n] if rows[0] < rows[1])
        )
        return -(-most // LINE + 1) * LINE  # what is laid down may end in a vector that is not full

    def _between(self, source: Strip, n: int) -> Strip:
        """Where a layer reads."""
        return source if n == 0 else self._strip(n - 1, 0, 1, 0)

    def _strip(self, n: int, at: int, rows: int, first: int) -> Strip:
        """What a layer leaves to the next one."""
        problem, windows = self.layers[n].problem, self.layers[n].windows
        pixel = self.item * problem.groups * problem.out_channels
        along = tuple(pixel * math.prod(w.count for w in windows[axis + 1 :]) for axis in range(1, len(windows)))
        return Strip((SCRATCH, at), 0, self.item, (self.lines[n], *along), rows, first)

    def _line(self, layer: InRows) -> int:
        """Bytes of a row of a layer's results; rows do not lie a page apart."""
        problem = layer.problem
        pixels = math.prod(window.count for window in layer.windows[1:])
        size = -(-self.item * problem.groups * problem.out_channels * pixels // LINE) * LINE
        return size + (LINE if size % 4096 == 0 else 0)

    def _course(self, band: Range) -> Course:
        return course(self.windows, band, self.rows)

    def _rows(self) -> int:
        """Rows of a slice: as many as strips have room for."""
        count = self.windows[-1].count
        for rows in range(min(count, SLICE_ROWS), 1, -1):
            middle = max(0, count // 2 - rows)
            kept = course(self.windows, (middle, min(count, middle + 2 * rows)), rows).kept
            if sum(line * n for line, n in zip(self.lines, kept, strict=False)) <= STRIP_BYTES:
                return rows
        return 1

    def _bands(self) -> list[Range]:
        """Few, so that little is done twice, but as many as there should be tasks; an even number of these."""
        count, batch = self.windows[-1].count, self.problem.batch
        best = [(0, count)]
        for parts in range(1, count + 1):
            bands = cuts(count, largest(count, -(-count // parts)))
            if self._twice(bands) > MOST_TWICE:
                break
            if len(bands) * batch % 2 == 0 or len(best) * batch % 2:
                best = bands
            if len(best) * batch >= TASKS[0] and len(best) * batch % 2 == 0:
                break
        return best

    def _twice(self, bands: Sequence[Range]) -> float:
        """How much of the arithmetic is done more than once."""
        done = sum(
            each * (hi - lo)
            for band in bands
            for each, slices in zip(self._each(), course(self.windows, band, band[1] - band[0]).made, strict=True)
            for lo, hi in slices
        )
        return done / self._products() - 1

    def _each(self) -> list[float]:
        """Products of a row of every layer."""
        return [layer.problem.multiply_adds / layer.windows[0].count for layer in self.layers]

    def _products(self) -> float:
        return sum(float(layer.problem.multiply_adds) for layer in self.layers)


def _strip(array: Array, base: int, problem: Problem) -> Strip:
    """An array (batch, groups, channels, *space) as a strip of all its rows."""
    sample, group, channel, *along = array.strides
    if len(along) == 1:
        along.insert(0, 0)
    return Strip((base, 0), sample, group if problem.groups > 1 else channel, tuple(along))


class Joined(NamedTuple):
    """Layers as they are done together, with their arrays."""

    bands: Bands
    parts: Sequence[Part]

    @property
    def gain(self) -> float:
        """Seconds that it saves, roughly."""
        return self.bands.gain

    def calls(self, x: Array, out: Array, add: Array | None) -> list[Call] | None:
        """All of them; None for arrays that lie in another way."""
        return self.bands.calls(self.parts, x, out, add)


def joined(parts: Sequence[Part]) -> Joined | None:
    """Layers as one, if that is faster."""
    layers = cast("tuple[InRows, ...]", tuple(part.rows for part in parts))
    found = _bands(layers) if 2 <= len(layers) <= len(KERNELS) else None
    return Joined(found, parts) if found is not None and found.gain > 0 else None


@lru_cache(maxsize=32)
def _bands(layers: tuple[InRows, ...]) -> Bands | None:
    """The layers together; None if they cannot be."""
    dtype = layers[0].problem.compute_dtype
    alike = all(layer.follows and layer.problem.compute_dtype == dtype for layer in layers[1:])
    plain = all(layer.problem.epilogue is None or not layer.problem.epilogue.pool for layer in layers)
    return Bands(layers) if alike and plain else None


bands.register(joined)
