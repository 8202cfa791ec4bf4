"""The laws that convolution keeps, and one that correlation breaks."""

from __future__ import annotations

from functools import partial

import numpy as np

import convkit as ck
from convkit.scenes.figures import Table, caption, cells
from convkit.scenes.scene import Example, Outcome, equal, scene


@scene("properties", "signals")
def properties() -> Outcome:
    """Commutative, associative, distributive, and shift-equivariant: exactly, on random integers."""
    chance = np.random.default_rng(7)
    a, b, c, d = (chance.integers(-99, 100, size) for size in (11, 6, 4, 6))
    conv = ck.convolve
    p, q, r = np.array([1, 2]), np.array([1, 3]), np.array([1, 5])
    left = ck.correlate(ck.correlate(p, q), r)
    right = ck.correlate(p, ck.correlate(q, r))
    loops = np.zeros(16, dtype=np.int64)
    for i, x in enumerate(a):
        for j, k in enumerate(b):
            loops[i + j] += x * k
    words = partial(caption, "properties")
    return Outcome(
        [
            equal("definition", loops, conv(a, b)),
            equal("commutative", conv(a, b), conv(b, a)),
            equal("associative", conv(conv(a, b), c), conv(a, conv(b, c))),
            equal("distributive", conv(a, b) + conv(a, d), conv(a, b + d)),
            equal("shift", np.pad(conv(a, b), (3, 0)), conv(np.pad(a, (3, 0)), b)),
            equal("neutral", a, conv(a, np.array([1]))),
            equal("counter-left", [15, 38, 17, 2], left),
            equal("counter-right", [3, 22, 37, 10], right),
        ],
        [
            Table(
                words("table"),
                cells([left, right]),
                names=["((1 2) ⋆ (1 3)) ⋆ (1 5)", "(1 2) ⋆ ((1 3) ⋆ (1 5))"],
            )
        ],
        Example(p, q, {"operation": "correlation"}),
    )
