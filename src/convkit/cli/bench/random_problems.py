"""Problems drawn by chance: sizes, types, boundaries and layouts that nobody chose because they go well."""

from __future__ import annotations

import math

import numpy as np

from convkit.cli.bench.problems import Problem

COUNT = 300
SEED = 20261

MOST_PRODUCTS = 4e9
"""Products of one problem at most: a tenth of a second for the fastest."""

KINDS = ("float32",) * 6 + ("float64",) * 4 + ("uint8",) * 4 + ("int16", "int64", "float16", "complex64", "complex128")


def random_problems(count: int = COUNT, seed: int = SEED) -> list[Problem]:
    """``count`` filters; the same ones for the same seed, and the first ones of a longer list."""
    rng = np.random.default_rng(seed)
    found: list[Problem] = []
    names: set[str] = set()
    while len(found) < count:
        problem = _drawn(rng)
        if problem is not None and problem.name not in names:
            found.append(problem)
            names.add(problem.name)
    return found


def _drawn(rng: np.random.Generator) -> Problem | None:
    """One problem; None where it would take too long, or a peer could not be given it."""
    rank = int(rng.choice([1, 2, 3], p=[0.35, 0.5, 0.15]))
    largest = {1: 2e6, 2: 2000, 3: 130}[rank]
    shape = tuple(_size(rng, 6, largest) for _ in range(rank))
    longest = {1: 3000, 2: 25, 3: 7}[rank]
    kernel = tuple(min(n, _size(rng, 1, longest)) for n in shape)
    dtype = str(rng.choice(KINDS))
    stride, dilation = (int(n) for n in rng.choice([1, 1, 1, 1, 2, 3], 2))
    values = str(rng.choice(["dense", "dense", "dense", "separable"])) if rank > 1 and dtype[0] != "i" else "dense"
    boundary = str(rng.choice(["zero", "zero", "edge", "reflect", "symmetric", "wrap"]))
    layout = str(rng.choice(["contiguous", "contiguous", "transposed", "reversed", "sliced"]))
    reach = [(taps - 1) * dilation + 1 for taps in kernel]
    if any(size > n for size, n in zip(reach, shape)) or math.prod(shape) * math.prod(kernel) > MOST_PRODUCTS:
        return None
    return Problem(
        "random", "filter", shape, kernel, dtype, stride=stride, dilation=dilation, values=values,  # type: ignore[arg-type]
        boundary=boundary, layout=layout, result="int64" if dtype == "int16" else "",  # type: ignore[arg-type]
    )  # fmt: skip


def _size(rng: np.random.Generator, least: float, most: float) -> int:
    """Evenly spread by magnitude."""
    return round(math.exp(rng.uniform(math.log(least), math.log(most))))
