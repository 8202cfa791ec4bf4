"""Convolution over samples some of which are missing, or count less than others.

With the presence ``w`` of each sample between 0 and 1 (``nan="omit"``: 1 where it is finite, else 0), what is
absent is replaced by the |k|-weighted mean of what is present in the same window:

``out = sum w*k*x  +  (sum (1-w)*k) * (sum w*|k|*x) / (sum w*|k|)``

For a kernel of one sign this is ``sum(w*k*x) * sum(k) / sum(w*k)``. A window in which nothing is present
gives NaN. What a boundary puts outside counts as present; a sample that it repeats is as present there as at
home.
"""

from __future__ import annotations

from fractions import Fraction
from math import nan

from convkit.oracle.grid import Grid, Index, Number
from convkit.oracle.operator import Operator


def omit(operator: Operator, x: Grid, k: Grid, presence: Grid) -> Grid:
    """The operator over what is present of ``x``; ``presence`` has the input's shape.

    A sample of presence 0 is never looked at, so it may be NaN.

    Examples
    --------
    >>> from convkit.oracle import array_operator
    >>> from convkit.spec import ConvSpec
    >>> operator = array_operator(ConvSpec.of_arrays(1, mode="valid"), (3,), (3,))
    >>> omit(operator, Grid.of([2, nan, 4]), Grid.of([1, 1, 1]), Grid.of([1, 0, 1])).values
    [Fraction(9, 1)]
    """
    windows: dict[Index, list[tuple[Number, Number, Number]]] = {index: [] for index in _all(operator)}
    for link in operator.links():
        w = 1 if isinstance(link.source, str) else presence[link.source]
        sample = operator.sample(x, link) if w != 0 else 0
        windows[link.output].append((w, operator.element(k, link), sample))
    return Grid(operator.output_shape, [_value(terms) for terms in windows.values()])


def _all(operator: Operator) -> list[Index]:
    return list(Grid.full(operator.output_shape, 0).indices())


def _value(terms: list[tuple[Number, Number, Number]]) -> Number:
    present: Number = sum(w * k * x for w, k, x in terms if w != 0)
    if all(w == 1 for w, _, _ in terms):
        return present
    mass: Number = sum(w * abs(k) for w, k, _ in terms)
    if mass == 0:
        return nan
    absent: Number = sum((1 - w) * k for w, k, _ in terms)
    weighed: Number = sum(w * abs(k) * x for w, k, x in terms if w != 0)
    # An integer quotient must stay exact.
    mean = Fraction(weighed, mass) if isinstance(weighed, int) and isinstance(mass, int) else weighed / mass
    return present + absent * mean
