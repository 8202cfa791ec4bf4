"""Transposed convolution, four ways; and the three gradients of a layer, which are convolutions again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit.scenes.figures import Table, caption, cells, number
from convkit.scenes.scene import Example, Outcome, equal, scene


@scene("transposed", "networks")
def transposed() -> Outcome:
    """Stamping, inserting zeros, the transposed matrix and the gradient: one operation."""
    chance = np.random.default_rng(8)
    x = chance.integers(-9, 10, (1, 2, 3, 4))
    w = chance.integers(-9, 10, (2, 3, 3, 2))  # from 2 channels to 3
    stride = (2, 3)
    by_verb = ck.conv_transpose(x, w, stride=stride)
    shape = by_verb.shape
    # 1. Every input number stamps its multiple of the kernel.
    stamped = np.zeros(shape, dtype=np.int64)
    for c, i, j in np.ndindex(2, 3, 4):
        stamped[0, :, 2 * i : 2 * i + 3, 3 * j : 3 * j + 2] += x[0, c, i, j] * w[c]
    # 2. Zeros between the numbers, then an ordinary convolution with the turned kernel and full padding.
    spread = np.zeros((1, 2, 2 * 2 + 1, 3 * 3 + 1), dtype=np.int64)
    spread[:, :, ::2, ::3] = x
    inserted = ck.conv(spread, w.swapaxes(0, 1)[:, :, ::-1, ::-1], padding=((2, 2), (1, 1)))
    # 3. The matrix of the forward layer, column by column from unit pulses, transposed.
    size = int(np.prod(shape))
    pulses = np.eye(size, dtype=np.int64).reshape(size, *shape[1:])
    matrix = ck.conv(pulses, w, stride=stride).reshape(size, -1).T  # forward: from 3 channels to 2
    by_matrix = (matrix.T @ x.ravel()).reshape(shape)
    # 4. The gradient of <conv(y, w), x> with respect to y.
    gradient = ck.conv_input_gradient(x, w, shape, stride=stride)
    words = partial(caption, "transposed")
    small_x, small_k = np.array([1, 2, 3]), np.array([1, 10, 100])
    line = ck.conv_transpose(small_x[None, None], small_k[None, None], stride=2)[0, 0]
    stamps = np.zeros((3, 7), dtype=np.int64)
    for i, value in enumerate(small_x):
        stamps[i, 2 * i : 2 * i + 3] = value * small_k
    return Outcome(
        [
            equal("stamped", stamped, by_verb),
            equal("inserted", stamped, inserted),
            equal("matrix", stamped, by_matrix),
            equal("gradient", stamped, gradient),
            equal("line", [1, 10, 102, 20, 203, 30, 300], line),
            equal("size", [(3 - 1) * 2 + 3, (4 - 1) * 3 + 2], list(shape[2:])),
        ],
        [
            Table(
                words("stamps"),
                [*cells(stamps), *cells(line)],
                names=[*(words("stamp", value=int(v)) for v in small_x), words("sum")],
            ),
            Table(words("input"), cells(x[0, 0])),
            Table(words("spread"), cells(spread[0, 0])),
            Table(words("matrix"), cells(_matrix(small_k))),
            Table(words("output"), cells(by_verb[0, 0])),
        ],
        Example(np.array([1, 0, 2, 0, 3]), small_k),
    )


def _matrix(k: NDArray[np.int64]) -> NDArray[np.int64]:
    """The transposed matrix of the small example: one column a stamp."""
    matrix = np.zeros((7, 3), dtype=np.int64)
    for i in range(3):
        matrix[2 * i : 2 * i + 3, i] = k
    return matrix


@scene("gradient", "networks")
def gradient() -> Outcome:
    """The gradients of input, weights and bias by convolutions, and by tiny steps in every number."""
    chance = np.random.default_rng(9)
    x, w, b = (chance.normal(size=shape) for shape in ((2, 2, 5, 6), (3, 2, 3, 2), (3,)))
    options: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0)}

    def loss(x: NDArray[Any], w: NDArray[Any], b: NDArray[Any]) -> float:
        return float(np.sin(ck.conv(x, w, b, **options)).sum())

    g = np.cos(ck.conv(x, w, b, **options))  # d loss / d output
    by_verb = {
        "input": ck.conv_input_gradient(g, w, x.shape, **options),
        "weights": ck.conv_weight_gradient(g, x, w.shape, **options),
        "bias": g.sum(axis=(0, 2, 3)),
    }
    by_steps = {
        "input": _slopes(lambda v: loss(v, w, b), x),
        "weights": _slopes(lambda v: loss(x, v, b), w),
        "bias": _slopes(lambda v: loss(x, w, v), b),
    }
    # The same two as convolutions: one channel, no stride, so that nothing hides the kernel.
    plain, k = x[0, 0], w[0, 0]
    h = np.cos(ck.correlate(plain, k, mode="valid"))
    to_input = ck.conv_input_gradient(h[None, None], k[None, None], (1, 1, *plain.shape))[0, 0]
    to_kernel = ck.conv_weight_gradient(h[None, None], plain[None, None], (1, 1, *k.shape))[0, 0]
    words = partial(caption, "gradient")
    return Outcome(
        [
            *(equal(name, by_steps[name], by_verb[name], 1e-6) for name in by_verb),
            equal("input-is", ck.convolve(h, k), to_input, 1e-12),
            equal("weights-is", ck.correlate(plain, h, mode="valid"), to_kernel, 1e-12),
        ],
        [
            Table(
                words("table"),
                [
                    [_by(found.shape), str(found.size), number(float(abs(found - by_steps[name]).max()))]
                    for name, found in by_verb.items()
                ],
                columns=[words("shape"), words("count"), words("difference")],
                names=[words(name) for name in by_verb],
            ),
            Table(words("kernel"), cells(by_verb["weights"][0, 0].round(6))),
            Table(words("steps"), cells(by_steps["weights"][0, 0].round(6))),
        ],
        Example(np.array([2, -1, 3]), np.array([1, 10, 100])),
    )


def _slopes(f: Callable[[NDArray[Any]], float], at: NDArray[Any], step: float = 1e-5) -> NDArray[Any]:
    """``(f(x + step) - f(x - step)) / (2 step)``, number by number."""
    slopes = np.empty_like(at)
    for place in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        slopes[place] = (f(up) - f(down)) / (2 * step)
    return slopes


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
