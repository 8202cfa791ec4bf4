"""The grid on which the planner's choice is judged: rank, size, kernel, type, boundary, structure, stride."""

from __future__ import annotations

from itertools import product

import numpy as np

from convkit.cli.bench.problems import Problem

COUNT = 500
SEED = 20262

MOST_FLOPS = 2e10
"""Operations of one problem at most, so that a race of several algorithms stays below seconds."""

SHAPES: dict[tuple[int, ...], tuple[int, ...]] = {
    (200,): (3, 9, 31, 101),
    (1_500,): (3, 9, 31, 101, 700),
    (10_000,): (3, 9, 31, 101, 500, 4_095),
    (100_000,): (3, 9, 31, 101, 500, 4_095, 30_001),
    (1_000_000,): (3, 9, 31, 101, 500, 4_095, 30_001),
    (32, 40): (2, 3, 5, 7, 11, 15),
    (100, 90): (2, 3, 5, 7, 11, 15, 31),
    (256, 250): (2, 3, 5, 7, 9, 11, 15, 21, 31, 63),
    (512, 520): (2, 3, 5, 7, 9, 11, 15, 21, 31, 63),
    (1000, 1024): (2, 3, 5, 7, 9, 11, 15, 21, 31, 63),
    (2000, 2048): (2, 3, 5, 7, 9, 11, 15, 21, 31),
    (480, 640, 3): (3, 5, 7, 11, 15, 31),
    (20, 24, 28): (2, 3, 5, 7),
    (64, 60, 56): (2, 3, 5, 7),
    (128, 120, 112): (2, 3, 5, 7),
}
"""For each input the kernel sizes; three channels side by side are an image, and filtered along two axes."""

KINDS = ("float32", "float64", "uint8", "complex64", "float16", "int64")
SHARES = (0.36, 0.26, 0.16, 0.1, 0.06, 0.06)


def grid() -> list[Problem]:
    """The 500 problems, always the same."""
    rng = np.random.default_rng(SEED)
    sizes = [(shape, k) for shape, kernels in SHAPES.items() for k in kernels]
    options = list(
        product(("zero", "zero", "reflect", "wrap", "edge"), ("dense", "dense", "separable"), (1, 1, 1, 1, 2))
    )
    found: list[Problem] = []
    while len(found) < COUNT:
        shape, k = sizes[rng.integers(len(sizes))]
        boundary, values, stride = options[rng.integers(len(options))]
        axes = (0, 1) if shape[-1] == 3 else ()
        rank = len(axes or shape)
        dtype = str(rng.choice(KINDS, p=SHARES))
        problem = Problem(
            "choice", "filter", shape, (k,) * rank, dtype, stride=stride, axes=axes, boundary=boundary,
            values=values if rank > 1 and dtype != "int64" else "dense",  # type: ignore[arg-type]
        )  # fmt: skip
        if problem.flops <= MOST_FLOPS and problem not in found:
            found.append(problem)
    return found


def drawn(count: int | None, seed: int | None) -> list[Problem]:
    """``count`` problems of the grid, drawn by chance; all of them, in order, where no count is given."""
    problems = grid()
    if count is None or count >= len(problems):
        return problems
    chosen = np.random.default_rng(0 if seed is None else seed).permutation(len(problems))[:count]
    return [problems[i] for i in sorted(chosen)]
