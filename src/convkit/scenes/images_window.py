"""One window, and a kernel taken apart."""

from __future__ import annotations

from functools import partial

import numpy as np

import convkit as ck
from convkit import kernels, oracle
from convkit.scenes.figures import Lines, Table, caption, cells, number
from convkit.scenes.scene import Example, Outcome, below, equal, scene
from convkit.spec import ConvSpec


@scene("window", "images")
def window() -> Outcome:
    """One 3x3 window times one 3x3 filter: nine products and their sum."""
    pixels = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 2]])
    kernel = np.array([[4, 0, 0], [0, 0, 0], [0, 0, -4]])
    value = ck.correlate(pixels, kernel, mode="valid")
    spec = ConvSpec.of_arrays(2, "correlation", "valid")
    grids = oracle.Grid.of(pixels.tolist()), oracle.Grid.of(kernel.tolist())
    step = oracle.trace(oracle.array_operator(spec, (3, 3), (3, 3)), *grids).steps[0]
    terms = "+".join(f"{_signed(term.k)}*{term.x}" for term in step.terms)
    words = partial(caption, "window")
    return Outcome(
        [
            equal("value", [[-8]], value),
            equal("sum", -8, step.sum()),
            equal("terms", "4*0+0*0+0*0+0*0+0*1+0*1+0*0+0*1+(-4)*2", terms),
        ],
        [
            Table(words("pixels"), cells(pixels)),
            Table(words("kernel"), cells(kernel)),
            Lines(words("sum"), f"{terms} = {value[0, 0]}"),
        ],
        Example(pixels, kernel, {"operation": "correlation", "mode": "valid"}),
    )


@scene("separable", "images")
def separable() -> Outcome:
    """A kernel of rank 1 is two passes; the singular value decomposition splits every other one."""
    photo = ck.data.photograph()
    binomial = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])
    at_once = ck.correlate(photo, binomial, mode="valid")
    passes = ck.correlate(ck.correlate(photo, binomial[:1], mode="valid"), binomial[:, :1], mode="valid")
    kernel = np.array([[1, 2, 0, -1], [3, 1, 4, 2], [0, -2, 5, 1.5]])
    columns, strengths, rows = np.linalg.svd(kernel, full_matrices=False)
    values = photo.astype(np.float64) / 255
    whole = ck.correlate(values, kernel, mode="valid")
    parts = [
        ck.correlate(ck.correlate(values, rows[[i]], mode="valid"), s * columns[:, [i]], mode="valid")
        for i, s in enumerate(strengths)
    ]
    size = kernels.gaussian(2.0).shape[0]
    costs = [(n, n * n, 2 * n) for n in (3, 5, 9, size)]
    words = partial(caption, "separable")
    return Outcome(
        [
            equal("passes", at_once, passes),
            equal("rank", [1, 3], [int(np.linalg.matrix_rank(binomial)), int(np.linalg.matrix_rank(kernel))]),
            equal("svd", np.zeros(whole.shape), sum(parts) - whole, 1e-12),
            below("cost", binomial.size, binomial.shape[0] + binomial.shape[1]),
        ],
        [
            Table(
                words("costs"),
                [[f"{n}x{n}", str(square), str(twice), number(square / twice)] for n, square, twice in costs],
                columns=[words("kernel"), words("at-once"), words("passes"), words("ratio")],
            ),
            Table(words("svd"), [[number(float(s)) for s in strengths]]),
        ],
        Example(np.arange(20).reshape(4, 5), np.outer([1, 2, 1], [1, 2, 1]), {"mode": "valid"}),
    )


def _signed(value: object) -> str:
    return f"({value})" if int(value) < 0 else str(value)  # type: ignore[call-overload]
