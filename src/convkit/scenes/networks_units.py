"""Single units: a decision, a gate, and the curves that follow them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit.scenes.figures import Plot, Table, caption, cells, curve, number
from convkit.scenes.scene import Outcome, below, equal, scene

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def unit(inputs: NDArray[np.generic], weights: list[float], bias: float) -> NDArray[np.float64]:
    """``sum_i w[i] a[i] + bias`` for every row: one output channel that looks at all input channels."""
    x = inputs.astype(np.float64)[:, :, None]
    return ck.conv(x, np.array(weights, dtype=np.float64)[None, :, None], np.array([float(bias)]))[:, 0, 0]


def sigmoid(z: NDArray[Any]) -> NDArray[np.float64]:
    """``1 / (1 + exp(-z))``."""
    return 1 / (1 + np.exp(-z))


@scene("perceptron", "networks")
def perceptron() -> Outcome:
    """To the festival or not: fine weather counts 7, company counts 3, and the bias says how much it takes."""
    decisions = {bias: (unit(INPUTS, [7, 3], bias) > 0).astype(int) for bias in (-5, -2, -8, -11, 1)}
    words = partial(caption, "perceptron")
    return Outcome(
        [
            equal("decisions", [0, 0, 1, 1], decisions[-5]),
            equal("sums", [-5, -2, 2, 5], unit(INPUTS, [7, 3], -5)),
            equal("easy", [0, 1, 1, 1], decisions[-2]),
            equal("hard", [0, 0, 0, 1], decisions[-8]),
            equal("never", [0, 0, 0, 0], decisions[-11]),
            equal("always", [1, 1, 1, 1], decisions[1]),
        ],
        [
            Table(
                words("table"),
                [[words("goes" if goes else "stays") for goes in row] for row in decisions.values()],
                columns=[words("neither"), words("company"), words("weather"), words("both")],
                names=[words("bias", bias=bias) for bias in decisions],
            )
        ],
    )


@scene("and-gate", "networks")
def and_gate() -> Outcome:
    """A sigmoid unit that computes AND: sigmoid(-30 + 20 a + 20 b)."""
    sums = unit(INPUTS, [20, 20], -30)
    out = sigmoid(sums)
    words = partial(caption, "and-gate")
    return Outcome(
        [
            equal(
                "printed",
                "9.4e-14 4.5e-05 4.5e-05 0.99995",
                " ".join(f"{v:.2g}" for v in out[:3]) + f" {out[3]:.5f}",
            ),
            equal("sums", [-30, -10, -10, 10], sums),
            equal("truth", [0, 0, 0, 1], (out > 0.5).astype(int)),
        ],
        [
            Table(
                words("table"),
                [[str(a), str(b), number(z), f"{v:.6g}"] for (a, b), z, v in zip(INPUTS, sums, out, strict=True)],
                columns=["a", "b", "-30 + 20 a + 20 b", "sigmoid"],
            )
        ],
    )


@scene("activations", "networks")
def activations() -> Outcome:
    """Sigmoid, tanh and ReLU with their slopes; a slope is a convolution with (1, 0, -1) over 2 dx."""
    dx = 1e-3
    z = np.arange(-10000, 10001) * dx
    places = np.array([-8, -4, -2, -1, 0, 1, 2, 4, 8])
    values = {"sigmoid": sigmoid(z), "tanh": np.tanh(z), "relu": np.maximum(z, 0)}
    exact = {
        "sigmoid": sigmoid(z) * (1 - sigmoid(z)),
        "tanh": 1 - np.tanh(z) ** 2,
        "relu": np.where(z > 0, 1.0, np.where(z < 0, 0.0, 0.5)),
    }
    slope = np.array([1.0, 0.0, -1.0]) / (2 * dx)
    slopes = {name: np.pad(ck.convolve(y, slope, mode="valid"), 1, mode="edge") for name, y in values.items()}
    at = np.searchsorted(z, places - dx / 2)
    words = partial(caption, "activations")
    names = [words(name) for name in values]
    return Outcome(
        [
            equal("sigmoid", exact["sigmoid"][at], slopes["sigmoid"][at], 1e-6),
            equal("tanh", exact["tanh"][at], slopes["tanh"][at], 1e-6),
            equal("relu", exact["relu"][at], slopes["relu"][at], 1e-9),
            equal("steepest", [0.25, 1.0, 1.0], [float(s.max()) for s in slopes.values()], 1e-6),
            below("saturation", 0.01, float(slopes["sigmoid"][np.abs(z) > 5].max())),
            equal("ten-layers", 0.25**10, float(slopes["sigmoid"].max() ** 10), 1e-12),
        ],
        [
            Table(
                words("table"),
                cells(np.stack([s[at] for s in slopes.values()]).round(6) + 0.0),
                columns=[str(p) for p in places],
                names=names,
            ),
            Plot(
                words("values"),
                [curve(n, y[::100].clip(-1.2, 2), z[::100]) for n, y in zip(names, values.values(), strict=True)],
            ),
            Plot(
                words("slopes"),
                [curve(n, y[::100], z[::100]) for n, y in zip(names, slopes.values(), strict=True)],
            ),
        ],
    )
