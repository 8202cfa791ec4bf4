"""Norm and pool arrays that end, and begin, at pages which may not be touched. Prints ``untouched``.

``python -m tests.codegen.guarded_training [reach-out]``; the last word has a norm read one number too many.
"""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

import convkit.algorithms  # noqa: F401  (registers what is tested)
from convkit.planner import pooling
from convkit.planner.normalising import Ending, Form, normaliser
from convkit.spec.window import Window
from tests.codegen.guarded import Guarded

FORMS = [
    Form(layout, batch, channels, numbers)  # type: ignore[arg-type]
    for layout, (batch, channels, numbers) in product(
        ("planes", "pixels"), ((2, 3, 7), (1, 1, 33), (3, 16, 16), (2, 17, 49), (5, 40, 1), (3, 2, 64))
    )
]


def norms(beyond: int) -> None:
    kernels = normaliser()
    assert kernels is not None
    names = ("x", "g", "other", "out", "second", "constants")
    memory = {name: Guarded(8) for name in names}
    sides = ("end",) if beyond else ("start", "end")
    for form, side, activation, add in product(FORMS, sides, ("", "relu6"), ("none", "array")):
        ending = Ending(activation, add)  # type: ignore[arg-type]
        count = form.batch * form.channels * form.numbers
        held = {name: memory[name].array((count,), "float32", side) for name in names[:-1]}
        constants = memory["constants"].array((5, form.channels), "float32", side)
        for array in (*held.values(), constants):
            array[...] = 1
        x = held["x"] if not beyond else held["x"][1:]
        other = held["other"] if add == "array" else None
        assert (kernels.sums(form, x) == form.batch * form.numbers).all()
        kernels.apply(form, ending, x, other, constants, held["out"])
        assert (held["out"] == 2 + (add == "array")).all()
        sums = kernels.gradient_sums(form, ending, x, held["g"], other, constants)
        assert (sums[0] == form.batch * form.numbers).all()
        kernels.gradient(form, ending, x, held["g"], other, constants, held["out"], held["second"])
        assert (held["out"] == 2).all()


def pools() -> None:
    inputs, outputs = Guarded(16), Guarded(16)
    for (channels, rows, columns), side, layout in product(
        ((1, 5, 7), (3, 4, 4), (16, 7, 6), (37, 5, 5), (70, 3, 4)), ("start", "end"), ("planes", "pixels")
    ):
        windows = Window(rows, 3, (rows + 1) // 2, -1, 2), Window(columns, 2, columns // 2, 0, 2)
        shape = (2, channels, rows, columns) if layout == "planes" else (2, rows, columns, channels)
        x = inputs.array(shape, "float32", side)
        x[...] = np.random.default_rng(0).standard_normal(shape)
        seen = x if layout == "planes" else np.moveaxis(x, -1, 1)
        found = pooling.largest_kept(seen, windows)
        assert found is not None
        values, places = found
        laid = (*values.shape[:2], *values.shape[2:])
        g = outputs.array(laid if layout == "planes" else (laid[0], *laid[2:], laid[1]), "float32", side)
        g[...] = 1
        g = g if layout == "planes" else np.moveaxis(g, -1, 1)
        back = pooling.kept_gradient(g, places, (rows, columns), windows)
        assert back.shape == seen.shape
        assert back.sum() == values.size


if __name__ == "__main__":
    norms(beyond=int("reach-out" in sys.argv))
    pools()
    print("untouched")
