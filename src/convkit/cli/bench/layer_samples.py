"""A layer's definition at chosen places of its output or of a gradient: every product gathered, summed in float64.

A transposed layer is the adjoint of a convolution: its output is that one's gradient of the input, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.samples import Places

PRODUCTS = 4e6
"""Products that are formed for one result: all of a small one, some of a large one."""

LEAST = 24
"""Places that are looked at, however many products each takes."""

BLOCK = 1 << 20
"""Products that are gathered at once."""


def places_in(shape: tuple[int, ...], products: int) -> Places:
    """Every place of a small result; of a large one its corners, and others drawn by chance, always the same."""
    count = math.prod(shape)
    room = max(LEAST, int(PRODUCTS // max(1, products)))
    if count <= room:
        return np.unravel_index(np.arange(count), shape)
    rng = np.random.default_rng(7)
    ends = np.stack([rng.choice([0, size - 1], LEAST // 2) for size in shape])
    drawn = rng.integers(0, count, room - LEAST // 2)
    chosen = np.unique(np.concatenate([np.ravel_multi_index(tuple(ends), shape), drawn]))
    return np.unravel_index(chosen, shape)


@dataclass(frozen=True)
class Sums:
    """The three sums of a convolution ``y[b, o, i] = sum v[b, c, i*stride - padding + j*dilation] * w[o, c, j]``.

    Attributes
    ----------
    x, w, g : ndarray
        Input, weights (out, in/groups, ...), and gradient of the output; the one that is asked for is not read.
    stride, padding, dilation, groups : int
        The convolution's options.
    """

    x: np.ndarray
    w: np.ndarray
    g: np.ndarray
    stride: int
    padding: int
    dilation: int
    groups: int

    def forward(self, at: Places) -> np.ndarray:
        """The output."""
        batch, out, *space = at
        channels, taps = self.w.shape[1], self.w.shape[2:]
        first = (out // (self.w.shape[0] // self.groups)) * channels
        reached = [i[:, None] * self.stride - self.padding + np.arange(k) * self.dilation for i, k in zip(space, taps)]
        c = first[:, None] + np.arange(channels)
        samples, inside = self._gathered(self.x, batch, c, reached)
        return self._summed(np.where(inside, samples, 0), self.w[out])

    def input_gradient(self, at: Places) -> np.ndarray:
        """The gradient of the input: over all outputs whose windows hold the sample."""
        batch, channel, *space = at
        outputs, taps = self.w.shape[0] // self.groups, self.w.shape[2:]
        group, inner = np.divmod(channel, self.w.shape[1])
        o = group[:, None] * outputs + np.arange(outputs)
        reached = []
        for p, k in zip(space, taps):
            position = p[:, None] + self.padding - np.arange(k) * self.dilation
            reached.append(np.where(position % self.stride == 0, position // self.stride, -1))
        gradients, inside = self._gathered(self.g, batch, o, reached)
        return self._summed(np.where(inside, gradients, 0), self.w[o, inner[:, None]])

    def weight_gradient(self, at: Places) -> np.ndarray:
        """The gradient of the weights: over the batch and all windows."""
        sums = np.empty(len(at[0]))
        for n, (out, inner, *taps) in enumerate(zip(*at)):
            channel = (out // (self.w.shape[0] // self.groups)) * self.w.shape[1] + inner
            x, g = self.x[:, channel].astype(np.float64), self.g[:, out].astype(np.float64)
            for axis, j in enumerate(taps, start=1):
                position = np.arange(g.shape[axis]) * self.stride - self.padding + j * self.dilation
                here = np.nonzero((position >= 0) & (position < x.shape[axis]))[0]
                g, x = g.take(here, axis), x.take(position[here], axis)
            sums[n] = np.vdot(x, g)
        return sums

    @staticmethod
    def _gathered(
        array: np.ndarray, batch: np.ndarray, channels: np.ndarray, reached: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(place, channel, *taps) of an array, and which of them lie inside it."""
        rank = len(reached)
        index = [batch.reshape(-1, *([1] * (rank + 1))), channels.reshape(*channels.shape, *([1] * rank))]
        inside = np.ones((), bool)
        for axis, along in enumerate(reached):
            size = array.shape[2 + axis]
            shaped = along.reshape(len(along), 1, *(-1 if a == axis else 1 for a in range(rank)))
            inside = inside & (shaped >= 0) & (shaped < size)
            index.append(np.clip(shaped, 0, size - 1))
        return array[tuple(index)], inside

    @staticmethod
    def _summed(samples: np.ndarray, weights: np.ndarray) -> np.ndarray:
        products = samples.astype(np.float64) * weights.astype(np.float64)
        return products.sum(axis=tuple(range(1, products.ndim)))


def sampled(problem: Problem) -> tuple[np.ndarray, Places]:
    """Right values of what a layer computes, and where they stand."""
    x, w = problem.arrays()
    g = x if problem.direction == "forward" else problem.upstream()
    way = _way(problem, x, w, g)
    shape = problem.computed
    windows = math.prod(problem.output if problem.form == "conv" else problem.shape)
    each = max(1, windows * problem.kernel[1] * math.prod(problem.taps) // math.prod(shape))
    at = places_in(shape, each)
    step = max(1, BLOCK // each)
    parts = [way(tuple(axis[n : n + step] for axis in at)) for n in range(0, len(at[0]), step)]
    return np.concatenate(parts), at


def _way(problem: Problem, x: np.ndarray, w: np.ndarray, g: np.ndarray) -> Callable[[Places], np.ndarray]:
    if problem.form == "transposed":  # what goes in is the gradient of a convolution, and the other way round
        adjoint = Sums(g, w, x, problem.stride, problem.padding, problem.dilation, problem.groups)
        ways = {"forward": adjoint.input_gradient, "input-gradient": adjoint.forward}
    else:
        adjoint = Sums(x, w, g, problem.stride, problem.padding, problem.dilation, problem.groups)
        ways = {"forward": adjoint.forward, "input-gradient": adjoint.input_gradient}
    return ways.get(problem.direction, adjoint.weight_gradient)
