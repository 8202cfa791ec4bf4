"""Layers in a row, with every weight visible, and layers split into groups."""

from __future__ import annotations

from functools import partial
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit.scenes.figures import Table, caption, number
from convkit.scenes.networks_units import sigmoid
from convkit.scenes.scene import Check, Outcome, equal, scene

# Parity of three bits: at least 1, 2, 3 are set; exactly one, or three; one of the two.
LAYERS = (
    (np.array([[20, 20, 20], [20, 20, 20], [20, 20, 20]]), np.array([-10, -30, -50])),
    (np.array([[20, -20, 0], [0, 0, 20]]), np.array([-10, -10])),
    (np.array([[20, 20]]), np.array([-10])),
)
BITS = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=np.float64)


@scene("mlp", "networks")
def mlp() -> Outcome:
    """Three layers tell whether an odd number of three bits is set; no single unit can."""
    sums, outs = [], [BITS]
    for weights, bias in LAYERS:
        # A dense layer is a convolution whose kernel is as large as its input: one place.
        layer = ck.conv(outs[-1][:, :, None], weights[:, :, None].astype(float), bias.astype(float))[:, :, 0]
        sums.append(layer)
        outs.append(sigmoid(layer))
    odd = BITS.sum(axis=1) % 2
    count = sum(weights.size + bias.size for weights, bias in LAYERS)
    checks = [
        equal("parity", odd, (outs[-1][:, 0] > 0.5).astype(int)),
        equal("sure", odd, outs[-1][:, 0], 1e-3),
        equal("loops", _by_loops(), outs[-1], 1e-12),
        equal("weights", 12 + 8 + 3, count),
        *_torch(outs[-1]),
    ]
    words = partial(caption, "mlp")
    units = [[f"h{u + 1}" for u in range(3)], [f"g{u + 1}" for u in range(2)], ["out"]]
    names = ["".join(str(int(bit)) for bit in bits) for bits in BITS]
    return Outcome(
        checks,
        [
            *(
                Table(
                    words("weights", layer=i + 1),
                    [[*map(str, row), str(b)] for row, b in zip(weights, bias, strict=True)],
                    columns=[*(["a", "b", "c"] if i == 0 else units[i - 1]), words("bias")],
                    names=units[i],
                )
                for i, (weights, bias) in enumerate(LAYERS)
            ),
            Table(
                words("sums"),
                [
                    [number(z) for layer in sums[:1] for z in layer[row]]
                    + [number(round(float(a), 4)) for layer in outs[1:] for a in layer[row]]
                    for row in range(len(BITS))
                ],
                columns=[*(words("sum", unit=unit) for unit in units[0]), *units[0], *units[1], *units[2]],
                names=names,
            ),
        ],
    )


def _by_loops() -> list[list[float]]:
    """The same network, one product after the other."""
    results = []
    for bits in BITS:
        values = [float(bit) for bit in bits]
        for weights, bias in LAYERS:
            values = [
                1 / (1 + exp(-(sum(float(w) * v for w, v in zip(row, values, strict=True)) + float(b))))
                for row, b in zip(weights, bias, strict=True)
            ]
        results.append(values)
    return results


def _torch(ours: NDArray[Any]) -> list[Check]:
    """Torch's answer, where torch is installed."""
    try:
        import torch
    except ImportError:
        return []
    values = torch.from_numpy(BITS)
    for weights, bias in LAYERS:
        values = torch.sigmoid(
            torch.nn.functional.linear(values, torch.from_numpy(weights).double(), torch.from_numpy(bias).double())
        )
    return [equal("torch", values.numpy(), ours, 1e-12)]


@scene("groups", "networks")
def groups() -> Outcome:
    """Grouped and depthwise convolution: the same as separate layers side by side, at a share of the cost."""
    chance = np.random.default_rng(6)
    x = chance.integers(-9, 10, (1, 6, 7, 8))
    kinds = {"full": 1, "two": 2, "three": 3, "depthwise": 6}
    weights = {name: chance.integers(-9, 10, (12, 6 // split, 3, 2)) for name, split in kinds.items()}
    out = {name: ck.conv(x, weights[name], groups=split) for name, split in kinds.items()}
    beside, blocks = {}, {}
    for name, split in kinds.items():
        inside, outside = 6 // split, 12 // split
        whole = np.zeros((12, 6, 3, 2), dtype=np.int64)
        parts = []
        for g in range(split):
            mine, theirs = slice(g * outside, (g + 1) * outside), slice(g * inside, (g + 1) * inside)
            parts.append(ck.conv(x[:, theirs], weights[name][mine]))
            whole[mine, theirs] = weights[name][mine]
        beside[name] = np.concatenate(parts, axis=1)
        blocks[name] = ck.conv(x, whole)  # zeros wherever two groups would meet
    loops = np.array(
        [
            [
                [int((x[0, o // 2, r : r + 3, c : c + 2] * weights["depthwise"][o, 0]).sum()) for c in range(7)]
                for r in range(5)
            ]
            for o in range(12)
        ]
    )
    full = weights["full"].size
    places = out["full"].shape[2] * out["full"].shape[3]
    separable = weights["depthwise"][::2].size + 12 * 6
    words = partial(caption, "groups")
    return Outcome(
        [
            equal("beside", np.stack(list(beside.values())), np.stack(list(out.values()))),
            equal("blocks", np.stack(list(blocks.values())), np.stack(list(out.values()))),
            equal("loops", loops, out["depthwise"][0]),
            equal("parameters", [full // split for split in kinds.values()], [w.size for w in weights.values()]),
            equal("separable", 1 / 12 + 1 / (3 * 2), separable / full, 1e-12),
        ],
        [
            Table(
                words("cost"),
                [
                    [str(split), _by(weights[name].shape), str(weights[name].size), str(weights[name].size * places)]
                    for name, split in kinds.items()
                ]
                + [["6, 1", "6x1x3x2, 12x6x1x1", str(separable), str(6 * 6 * places + 12 * 6 * places)]],
                columns=[words("groups"), words("shape"), words("parameters"), words("products")],
                names=[*(words(name) for name in kinds), words("separable")],
            ),
            Table(words("who"), _who(2), names=[str(o) for o in range(4)], columns=[str(i) for i in range(6)]),
        ],
    )


def _who(split: int) -> list[list[str]]:
    """Which of six inputs four outputs see."""
    return [["x" if i // (6 // split) == o // (4 // split) else "." for i in range(6)] for o in range(4)]


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
