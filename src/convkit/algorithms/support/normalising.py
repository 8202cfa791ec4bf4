"""Batch norm by compiled kernels, as programs: some planes, or some rows of pixels, for each task."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convkit import codegen, threads
from convkit.algorithms.support.packing import LINE
from convkit.algorithms.support.register_tiles import cuts
from convkit.codegen import normalisation as kernel
from convkit.codegen import pool as threads_of
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.memory import address
from convkit.codegen.normalisation import Does, Normalisation
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import ADD, BIAS, KERNEL, OUT, STATUS, X
from convkit.planner import normalising
from convkit.planner.normalising import Array, Ending, Form

TASK_NUMBERS = 1 << 16
"""Numbers of a task, roughly: a quarter of a megabyte."""

SECONDS = 2e-10
"""What one number of one array takes, roughly."""

STREAMED = 1 << 23
"""Bytes of a result from which it is stored past the caches: most of it would be gone from them before it is read."""

ITEM = 4
"""Bytes of a number."""


class CompiledNormaliser:
    """float32, summed in float64; tasks are cut by the form alone, and their sums put together in their order."""

    def able(self) -> bool:
        """Whether kernels can be compiled here."""
        return codegen.why_not() is None

    def sums(self, form: Form, x: Array) -> Array:
        """``sum x`` and ``sum x*x`` of each channel."""
        return self._summed("sums", form, Ending(), x)

    def apply(self, form: Form, ending: Ending, x: Array, add: Array | None, constants: Array, out: Array) -> None:
        """``activation(x*scale + shift + add)`` into ``out``."""
        self._written("apply", form, ending, x, None, add, constants, out, None)

    def gradient_sums(
        self, form: Form, ending: Ending, x: Array, g: Array, y: Array | None, constants: Array
    ) -> Array:  # fmt: skip
        """``sum h`` and ``sum h*(x - mean)`` of each channel."""
        return self._summed("gradient_sums", form, ending, x, g, y, constants)

    def gradient(
        self, form: Form, ending: Ending, x: Array, g: Array, y: Array | None, constants: Array, out: Array,
        second: Array | None,
    ) -> None:  # fmt: skip
        """``scale*h + slope*(x - mean) + rest`` into ``out``, and ``h`` into ``second``."""
        self._written("gradient", form, ending, x, g, y, constants, out, second)

    def _summed(self, does: Does, form: Form, ending: Ending, x: Array, *others: Array | None) -> Array:
        pass_ = Normalisation(does, form.layout, *ending)
        program, parts = _planned(pass_, form)
        sums = np.empty((parts, 2, form.channels))
        g, y, constants = (*others, None, None, None)[:3]
        bases = _at(sums), _at(x), _at(constants), 0, _at(g), _at(y)
        threads_of.run(program, bases, threads.num_threads(), SECONDS * x.size * len(pass_.arrays))
        return sums[0] if parts == 1 else np.add.reduce(sums)

    def _written(
        self, does: Does, form: Form, ending: Ending, x: Array, g: Array | None, other: Array | None,
        constants: Array, out: Array, second: Array | None,
    ) -> None:  # fmt: skip
        pass_ = Normalisation(does, form.layout, *ending, _results(form, out, second))
        program, _ = _planned(pass_, form)
        bases = _at(out), _at(x), _at(constants), _at(second), _at(g), _at(other)
        moved = len(pass_.arrays) + len(pass_.outputs)
        threads_of.run(program, bases, threads.num_threads(), SECONDS * x.size * moved)


def _at(array: Array | None) -> int:
    return 0 if array is None else address(array)


def _results(form: Form, *outputs: Array | None) -> Literal["cached", "streamed"]:
    """Past the caches: what is large, and whose rows all begin at a vector's multiple."""
    vector = this_machine().vector_bytes
    row = ITEM * (form.channels if form.layout == "pixels" else form.numbers)
    aligned = row % vector == 0 and all(_at(one) % vector == 0 for one in outputs)
    large = ITEM * form.batch * form.channels * form.numbers >= STREAMED
    return "streamed" if large and aligned else "cached"


@lru_cache(maxsize=1024)
def _planned(pass_: Normalisation, form: Form) -> tuple[Program, int]:
    """The program of a pass, and how many partial sums it leaves of each channel."""
    table, parts = _pixels(form) if form.layout == "pixels" else _planes(form)
    at, channel, part, channels, planes, columns, rows = table.T
    out = (part * 2 * form.channels + channel) * 8 if pass_.sums else at
    steps = kernel.ARGUMENTS.steps(
        address_of(pass_), len(table), out=(OUT, out), second=(STATUS, at), x=(X, at), g=(BIAS, at), other=(ADD, at),
        constants=(KERNEL, channel * ITEM), constants_row=form.channels * ITEM, out_row=form.channels * 8,
        channels=channels, channel=form.numbers * ITEM, planes=planes, plane=form.channels * form.numbers * ITEM,
        columns=columns, rows=rows, row=form.channels * ITEM,
    )  # fmt: skip
    return join([[steps]], Tables().array(), LINE), parts


def _pixels(form: Form) -> tuple[NDArray[np.int64], int]:
    """Tasks of some rows: where they begin, their first channel, which part, and the kernel's counts."""
    total = form.batch * form.numbers
    pieces = cuts(total, max(1, TASK_NUMBERS // form.channels))
    found = [
        (begin * form.channels * ITEM, 0, part, 1, 1, form.channels, end - begin)
        for part, (begin, end) in enumerate(pieces)
    ]
    return np.array(found, np.int64), len(pieces)


def _planes(form: Form) -> tuple[NDArray[np.int64], int]:
    """Tasks of some planes of some channels, or of a part of one plane, likewise."""
    columns = cuts(form.numbers, TASK_NUMBERS)
    batches = cuts(form.batch, max(1, TASK_NUMBERS // form.numbers))
    whole = len(columns) == len(batches) == 1
    channels = cuts(form.channels, max(1, TASK_NUMBERS // (form.batch * form.numbers)) if whole else 1)
    found: list[tuple[int, ...]] = []
    parts = list(product(batches, columns))
    for (first, last), (part, ((batch, batch_end), (column, column_end))) in product(channels, enumerate(parts)):
        at = ((batch * form.channels + first) * form.numbers + column) * ITEM
        found.append((at, first, part, last - first, batch_end - batch, column_end - column, 1))
    return np.array(found, np.int64), len(parts)


normalising.register(CompiledNormaliser())
