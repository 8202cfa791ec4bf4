"""Layers and poolings that follow one another as one job: what they leave to each other stays in memory of its own.

A chain is worked out for arrays of known shapes and strides. What flows inside it has its channels side by side, and
lies where nothing lies that is still to be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from convkit.codegen.memory import address
from convkit.planner import bands, pooling
from convkit.planner.algorithm import Array, Call
from convkit.planner.plan import Plan, Prepared
from convkit.verbs.jobs import LINE, Extent, Job
from convkit.verbs.pooling import geometry_of
from convkit.verbs.tensor_layers import TensorLayer

STAYING = 1 << 23
"""Bytes that layers may leave to each other and find in the last cache."""

MOST_JOINED = 3
"""Layers that are done together at most."""

MOST_KEPT = 1 << 26
"""Bytes that layers leave to each other at most, where some samples at a time need less."""


class Value(NamedTuple):
    """An array that a chain reads, makes or passes on.

    Attributes
    ----------
    shape : tuple of int
        (batch, channel, *space).
    dtype : str
        Its type.
    strides : tuple of int, optional
        In bytes, of what comes in or goes out; what stays inside is laid as the chain likes it.
    """

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] | None = None


class LayerStep(NamedTuple):
    """``out = activation(layer(x) + bias + add)``; values by their numbers."""

    layer: TensorLayer
    ready: tuple[Plan, Prepared]
    bias: Array | None
    x: int
    add: int | None
    out: int

    @property
    def read(self) -> tuple[int, ...]:
        """The values that it needs."""
        return (self.x,) if self.add is None else (self.x, self.add)

    def calls(self, arrays: Sequence[Array]) -> Sequence[Call] | None:
        """As calls on these arrays."""
        add = None if self.add is None else arrays[self.add]
        return self.layer.calls(self.ready, arrays[self.x], self.bias, add, arrays[self.out])


class LinearStep(NamedTuple):
    """``out = x @ w' + bias`` for vectors x, as a layer whose pixels are the samples."""

    layer: TensorLayer
    ready: tuple[Plan, Prepared]
    bias: Array | None
    x: int
    out: int

    @property
    def read(self) -> tuple[int, ...]:
        """The values that it needs."""
        return (self.x,)

    def calls(self, arrays: Sequence[Array]) -> Sequence[Call] | None:
        """As calls on these arrays; x may have axes that are one long behind its channels."""
        x, out = (arrays[number].reshape(arrays[number].shape[:2]).T[None] for number in (self.x, self.out))
        return self.layer.calls(self.ready, x, self.bias, None, out)


class PoolStep(NamedTuple):
    """The largest number or the mean of each window."""

    kind: pooling.Kind
    options: Any
    x: int
    out: int

    @property
    def read(self) -> tuple[int, ...]:
        """The values that it needs."""
        return (self.x,)

    def calls(self, arrays: Sequence[Array]) -> Sequence[Call] | None:
        """As a call on these arrays."""
        x, geometry = arrays[self.x], geometry_of(arrays[self.x].shape, self.options)
        ends = geometry.ends if self.kind == "mean" else tuple(window.size for window in geometry.windows)
        call = pooling.call(self.kind, x, arrays[self.out], geometry.windows, ends)
        return None if call is None else [call]


class PooledStep(NamedTuple):
    """A layer with the pooling that follows it: what the one leaves to the other is nowhere."""

    layer: LayerStep
    pool: PoolStep

    @property
    def read(self) -> tuple[int, ...]:
        """The values that it needs."""
        return self.layer.read

    @property
    def out(self) -> int:
        """The value that it makes."""
        return self.pool.out

    def calls(self, arrays: Sequence[Array]) -> Sequence[Call] | None:
        """As calls on these arrays."""
        step = self.layer._replace(out=self.pool.out)
        return step.calls(arrays)

    @classmethod
    def of(cls, layer: LayerStep, pool: PoolStep) -> PooledStep | None:
        """The two as one, if windows follow one another and the layer's plan can do it."""
        plan, prepared = layer.ready
        size, stride, padding, rounding = pool.options
        plain = (pool.kind, stride, rounding) == ("max", size, "floor") and not any(padding)
        pooled = plan.pooled(size) if plain and prepared.plan.algorithm is plan.algorithm else None
        if pooled is None:
            return None
        ready = pooled, Prepared(prepared.kernel, prepared.inner, pooled)
        return cls(layer._replace(ready=ready), pool)


class BandStep(NamedTuple):
    """Layers of which each alone reads what the one before makes, done together a few rows at a time."""

    layers: tuple[LayerStep, ...]
    joined: bands.Joined

    @property
    def read(self) -> tuple[int, ...]:
        """The values that it needs."""
        return (self.layers[0].x, *self.layers[-1].read[1:])

    @property
    def out(self) -> int:
        """The value that it makes."""
        return self.layers[-1].out

    def calls(self, arrays: Sequence[Array]) -> Sequence[Call] | None:
        """As a call on these arrays."""
        first, last = self.layers[0], self.layers[-1]
        add = None if last.add is None else arrays[last.add]
        out, sums = last.layer.results(arrays[self.out], add)
        return self.joined.calls(first.layer.samples(arrays[first.x]), out, sums)

    @classmethod
    def of(cls, layers: Sequence[LayerStep], layouts: Sequence[str]) -> BandStep | None:
        """The layers as one, if that is faster; ``layouts``: those of values."""
        parts = [part for step in layers if (part := step.layer.in_rows(step.ready, step.bias)) is not None]
        first, last = layers[0], layers[-1]
        planes = [number for number in (first.x, *last.read[1:], last.out) if layouts[number] != "channels"]
        if len(parts) < len(layers) or (planes and (planes != [first.x] or not parts[0].rows.reads_planes)):
            return None
        joined = bands.joined(parts)
        return None if joined is None else cls(tuple(layers), joined)


Step = LayerStep | LinearStep | PoolStep | PooledStep | BandStep


class Chain(Job):
    """Steps for values of known shapes, see `chained`.

    Runs are given the addresses of what comes in and of what goes out, which begins on a line.
    """

    pooled: tuple[int, ...] = ()
    """Results of layers that are pooled before they are stored."""
    joined: tuple[tuple[int, ...], ...] = ()
    """Results of layers that are done together, those of all but the last nowhere as a whole."""

    def __init__(
        self, calls: Sequence[Call], ends: Sequence[Extent], inside: Extent, size: int, passed: int
    ) -> None:  # fmt: skip
        super().__init__(calls, ends, [inside], size)
        self._passed = passed

    def samples_at_once(self, batch: int) -> int:
        """How many of its samples should go through the chain together.

        Together they share the weights, which are read from memory; few find what the layer before made in the cache.
        What they leave to each other is kept from call to call, so it is bounded.
        """
        held = {id(one): one.nbytes for call in self._calls for one in call.held if isinstance(one, np.ndarray)}
        weights = sum(held.values())

        def moved(samples: int) -> int:
            stays = self._size * samples // batch <= STAYING
            return batch // samples * weights + (0 if stays else self._passed)

        numbers = [n for n in range(batch, 0, -1) if batch % n == 0 and (n == 1 or self._size * n <= MOST_KEPT * batch)]
        return min(numbers, key=moved)


def chained(
    values: Sequence[Value], steps: Sequence[Step], inputs: Sequence[int], outputs: Sequence[int]
) -> Chain | int:  # fmt: skip
    """The chain that makes ``outputs`` of ``inputs``; or the first step that is more than calls of programs."""
    together = _together(steps, outputs, _layouts(values, steps))
    made = _chained(values, together, inputs, outputs) if len(together) < len(steps) else 0
    if isinstance(made, int):
        return _chained(values, steps, inputs, outputs)
    made.pooled = tuple(step.layer.out for step in together if isinstance(step, PooledStep))
    made.joined = tuple(tuple(one.out for one in step.layers) for step in together if isinstance(step, BandStep))
    return made


def _together(steps: Sequence[Step], outputs: Sequence[int], layouts: Sequence[str]) -> list[Step]:
    """Layers as one with the poolings after them, or with each other, where nobody else reads what lies between."""
    reads = Counter(number for step in steps for number in step.read)
    alone = {number for number, count in reads.items() if count == 1} - set(outputs)
    found: list[Step] = []
    for step in steps:
        before = found[-1] if found else None
        if isinstance(step, PoolStep) and isinstance(before, LayerStep) and before.out == step.x:
            joined = PooledStep.of(before, step) if step.x in alone else None
            if joined is not None:
                found[-1] = joined
                continue
        found.append(step)
    return _in_bands(found, alone, layouts)


def _in_bands(steps: Sequence[Step], alone: set[int], layouts: Sequence[str]) -> list[Step]:
    """Layers that follow one another as one, as many as gain by it; ``alone``: what one step alone reads."""
    found: list[Step] = []
    row: list[LayerStep] = []
    for step in steps:
        linked = bool(row) and isinstance(step, LayerStep) and (step.x == row[-1].out) and step.x in alone
        if row and not (linked and row[-1].add is None):
            found += _banded(row, layouts)
            row = []
        if isinstance(step, LayerStep):
            row.append(step)
        else:
            found.append(step)
    return found + _banded(row, layouts)


def _banded(row: Sequence[LayerStep], layouts: Sequence[str]) -> list[Step]:
    """Layers in a row, the first ones as one if that is faster, and so on."""
    found: list[Step] = []
    while row:
        tried = (BandStep.of(row[:count], layouts) for count in range(min(MOST_JOINED, len(row)), 1, -1))
        best = max((one for one in tried if one is not None), key=lambda one: one.joined.gain, default=None)
        found.append(row[0] if best is None else best)
        row = row[1 if best is None else len(best.layers) :]
    return found


def _chained(
    values: Sequence[Value], steps: Sequence[Step], inputs: Sequence[int], outputs: Sequence[int]
) -> Chain | int:  # fmt: skip
    layouts = _layouts(values, steps)
    at, size = _places(values, steps, set(inputs) | set(outputs))
    memory = np.empty(size + LINE, np.uint8)
    begin = -memory.ctypes.data % LINE
    ends = {number: _alone(values[number]) for number in dict.fromkeys((*inputs, *outputs))}
    arrays: list[Any] = [None] * len(values)  # what is pooled before it is stored has no place
    for number, (_, array) in ends.items():
        arrays[number] = array
    for number, place in at.items():
        arrays[number] = _array(values[number], memory, begin + place, layouts[number])
    calls: list[Call] = []
    for n, step in enumerate(steps):
        some = step.calls(arrays)
        if some is None:
            return n
        calls += some
    moving = [_extent(*ends[number]) for number in (*inputs, *outputs)]
    passed = 2 * sum(_bytes(values[number]) for number in at)
    return Chain(calls, moving, _extent(memory, memory[begin:]), size, passed)


def _layouts(values: Sequence[Value], steps: Sequence[Step]) -> list[str]:
    """How values lie: with their channels side by side, or in planes."""
    layouts = [_layout(value) for value in values]
    for step in steps:  # pooling leaves the layout as it is
        if isinstance(step, PoolStep) and values[step.out].strides is None and layouts[step.x] != "channels":
            layouts[step.out] = layouts[step.x]
    return layouts


def _layout(value: Value) -> str:
    if value.strides is None:
        return "channels"
    item, channels = np.dtype(value.dtype).itemsize, value.shape[1]
    return "channels" if channels > 1 and value.strides[1] == item != value.strides[-1] else "planes"


def _bytes(value: Value) -> int:
    return int(np.prod(value.shape)) * np.dtype(value.dtype).itemsize


def _array(value: Value, memory: Array, at: int, layout: str) -> Array:
    numbers = memory[at : at + _bytes(value)].view(value.dtype)
    if layout == "planes":
        return numbers.reshape(value.shape)
    batch, channels, *space = value.shape
    return np.moveaxis(numbers.reshape((batch, *space, channels)), -1, 1)


def _alone(value: Value) -> tuple[Array, Array]:
    """Memory, and an array with these strides that lies at the beginning of a line there; it is never touched."""
    assert value.strides is not None
    reach = sum((n - 1) * stride for n, stride in zip(value.shape, value.strides, strict=True))
    item = np.dtype(value.dtype).itemsize
    memory = np.empty(reach + item + LINE, np.uint8)
    begin = -memory.ctypes.data % LINE
    numbers = memory[begin : begin + reach + item].view(value.dtype)
    return memory, np.lib.stride_tricks.as_strided(numbers, value.shape, value.strides)


def _extent(memory: Array, array: Array) -> Extent:
    return Extent(address(memory), address(memory) + memory.nbytes, address(array))


def _places(values: Sequence[Value], steps: Sequence[Step], outside: set[int]) -> tuple[dict[int, int], int]:
    """Where the values inside lie, each in the first room that is free while it is needed; and bytes of all."""
    last = {number: n for n, step in enumerate(steps) for number in step.read}
    at: dict[int, int] = {}
    size = 0
    alive: list[int] = []
    for n, step in enumerate(steps):
        if step.out not in outside:
            need, place = -(-_bytes(values[step.out]) // LINE) * LINE, 0
            for other in sorted(alive, key=at.__getitem__):
                if at[other] >= place + need:
                    break
                place = max(place, at[other] - (-_bytes(values[other]) // LINE) * LINE)
            at[step.out] = place
            size = max(size, place + need)
            alive.append(step.out)
        alive = [number for number in alive if last.get(number, n) > n]
    return at, size
