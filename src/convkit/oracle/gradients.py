"""The gradients of an operator, each a sum over the terms of the forward sum.

A term ``x[s] * k[j]`` of ``out[o]`` carries ``g[o] * k[j]`` back to ``x[s]`` and ``g[o] * x[s]`` back to
``k[j]``.
"""

from __future__ import annotations

from convkit.oracle.grid import Grid, Number
from convkit.oracle.operator import Operator


def input_gradient(operator: Operator, g: Grid, k: Grid) -> Grid:
    """``dx[s] = sum over links (o, s, j) of g[o] * k[j]``: the transpose of the operator, applied to ``g``.

    What stands outside the input has no gradient; a sample that a boundary repeats collects all its copies'.

    Examples
    --------
    >>> from convkit.oracle import array_operator
    >>> from convkit.spec import ConvSpec
    >>> operator = array_operator(ConvSpec.of_arrays(1, mode="same", boundary="edge"), (3,), (3,))
    >>> input_gradient(operator, Grid.of([1, 0, 0]), Grid.of([1, 10, 100])).values
    [110, 1, 0]
    """
    dx = Grid.full(operator.input_shape, 0)
    for link in operator.links():
        if not isinstance(link.source, str):
            dx.add(link.source, g[link.output] * operator.element(k, link))
    return dx


def adjoint(operator: Operator, y: Grid, k: Grid) -> Grid:
    """The conjugate transpose, so that ``<Ax, y> == <x, A*y>``: ``x[s] = sum of y[o] * conj(k[j])``.

    For real kernels this is `input_gradient`.
    """
    x = Grid.full(operator.input_shape, 0)
    for link in operator.links():
        if not isinstance(link.source, str):
            x.add(link.source, y[link.output] * operator.element(k, link).conjugate())
    return x


def kernel_gradient(operator: Operator, g: Grid, x: Grid) -> Grid:
    """``dk[j] = sum over links (o, s, j) of g[o] * x[s]``; the fill value counts as a sample.

    Where the operator conjugates its kernel this is the gradient by the conjugated elements.
    """
    dk = Grid.full(operator.kernel_shape, 0)
    for link in operator.links():
        if link.source != "zero":
            dk.add(link.kernel, g[link.output] * operator.sample(x, link))
    return dk


def bias_gradient(g: Grid) -> Grid:
    """``db[o] = sum of g over everything but axis 1``, the channels."""
    db = Grid.full(g.shape[1:2], 0)
    for index in g.indices():
        db.add(index[1:2], g[index])
    return db


def inner(a: Grid, b: Grid) -> Number:
    """``<a, b> = sum a[i] * conj(b[i])``."""
    total = Grid.full((), 0)
    for index in a.indices():
        total.add((), a[index] * b[index].conjugate())
    return total[()]
