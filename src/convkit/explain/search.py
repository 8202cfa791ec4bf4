"""The search: every response of x to k, one after another, and the constant that may stand outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from convkit.explain.matches import Match
from convkit.explain.responses import Arrays, Equality, Response, canonical, respond
from convkit.spec import Window
from convkit.spec.options import BoundaryName, Sides

_FIXED: tuple[BoundaryName, ...] = ("zero", "edge", "reflect", "symmetric", "wrap")
_ZERO: Sides = ("zero", "zero")
_CONSTANT: Sides = ("constant", "constant")
_SMALL = 600


def responses(
    arrays: Arrays, equal: Equality, max_stride: int, max_dilation: int, found: Callable[[], bool]
) -> Iterator[tuple[Response, list[range], Any]]:
    """Every response worth comparing, the strides to try on it, and the constant outside."""
    rank = arrays.rank
    laid = [(True, False), (False, False)]
    if arrays.x.dtype.kind == "c" or arrays.k.dtype.kind == "c":
        laid += [(False, True), (True, True)]
    elif arrays.network == "arrays":
        laid = [(True, False), (False, True)]
    strides = [range(1, (max_stride if m > 1 else 1) + 1) for m in arrays.y.shape[2:]]
    dilations = [
        d for d in product(*(range(1, (max_dilation if k > 1 else 1) + 1) for k in arrays.k.shape[2:]))
        if all((k - 1) * (step - 1) < n + m for k, step, n, m in zip(
            arrays.k.shape[2:], d, arrays.x.shape[2:], arrays.y.shape[2:], strict=True))
    ]  # fmt: skip
    if arrays.network != "transposed":
        for sides in _uniform(rank):
            for dilation, (flips, conjugate) in product(dilations, laid):
                yield respond(arrays, flips, conjugate, dilation, sides), strides, 0
        if arrays.network == "arrays" and (arrays.x.size <= _SMALL or not found()):
            for sides in _mixed(rank):
                for dilation, (flips, conjugate) in product(dilations, laid):
                    yield respond(arrays, flips, conjugate, dilation, sides), strides, 0
        if not found():
            for flips, conjugate in laid:
                fill = _fill(arrays, equal, flips, conjugate, strides)
                if fill is not None:
                    sides = (_CONSTANT,) * rank
                    yield respond(arrays, flips, conjugate, (1,) * rank, sides, fill=fill), strides, fill
    if arrays.network != "network":
        ups = [
            u for u in product(range(1, max_stride + 1), repeat=rank) if max(u) > 1 or arrays.network == "transposed"
        ]
        zero: tuple[Sides, ...] = (_ZERO,) * rank
        for up, dilation, flips in product(ups, dilations, (True, False)):
            if all(abs((n - 1) * u + k - m) <= 3 * k + u for n, u, k, m in zip(
                arrays.x.shape[2:], up, arrays.k.shape[2:], arrays.y.shape[2:], strict=True)):  # fmt: skip
                yield respond(arrays, flips, False, dilation, zero, up), [range(1, 2)] * rank, 0


def _uniform(rank: int) -> Iterator[tuple[Sides, ...]]:
    for name in _FIXED:
        sides: Sides = (name, name)
        yield (sides,) * rank


def _mixed(rank: int) -> Iterator[tuple[Sides, ...]]:
    """Boundaries that differ between two axes, or, along one axis, from side to side."""
    if rank == 1:
        for before, after in product(_FIXED, repeat=2):
            if before != after:
                yield ((before, after),)
    elif rank == 2:
        for rows, columns in product(_FIXED, repeat=2):
            if rows != columns:
                yield ((rows, rows), (columns, columns))


def _fill(arrays: Arrays, equal: Equality, flips: bool, conjugate: bool, strides: Sequence[range]) -> Any:
    """The constant that would have to stand outside, from one output whose window leaves the array."""
    rank = arrays.rank
    one: tuple[int, ...] = (1,) * rank
    zero = respond(arrays, flips, conjugate, one, (_ZERO,) * rank)
    unit = respond(arrays, flips, conjugate, one, (_CONSTANT,) * rank, fill=1)
    reaches = arrays.k.shape[2:]
    for stride in product(*strides):
        for start in product(*(range(1 - reach, 1) for reach in reaches)):
            plain = zero.at(start, stride, arrays.y.shape[2:])
            lifted = unit.at(start, stride, arrays.y.shape[2:])
            if plain is None or lifted is None:
                continue
            gain = lifted - plain
            where = np.argwhere(gain != 0)
            if not len(where):
                continue
            index = tuple(where[0])
            rest = arrays.y[index] - plain[index]
            fill = rest / gain[index]
            if equal.tolerance == 0:
                if rest % gain[index] != 0:
                    continue
                fill = rest // gain[index]
            if fill != 0 and equal.all(plain + gain * fill, arrays.y):
                return fill.item() if hasattr(fill, "item") else fill
    return None


def join(
    groups: dict[tuple[Window, ...], Match], arrays: Arrays, response: Response, windows: tuple[Window, ...], fill: Any
) -> None:
    """Add a place where y was found to the match of its geometry."""
    bare = canonical(windows, sides=False)
    bare = tuple(Window(w.size, w.kernel, w.count, w.start, w.stride, w.dilation, w.up) for w in bare)
    match = groups.setdefault(bare, Match(
        bare, arrays.network, arrays.groups, fill=fill,
        numbers="complex" if "c" in arrays.x.dtype.kind + arrays.k.dtype.kind else "real"))  # fmt: skip
    if (response.flips, response.conjugate) not in match.operations:
        match.operations.append((response.flips, response.conjugate))
    if response.sides not in match.sides:
        match.sides.append(response.sides)
