"""What stands outside an array: for each boundary, the index that a position outside takes its value from.

With the samples ``a b c d`` and the names of ``numpy.pad``::

    zero       0 0 0 | a b c d | 0 0 0
    constant   f f f | a b c d | f f f
    edge       a a a | a b c d | d d d
    reflect    d c b | a b c d | c b a
    symmetric  c b a | a b c d | d c b
    wrap       b c d | a b c d | a b c

Every rule holds at any distance, so a pad may be many times longer than the array.
"""

from __future__ import annotations

from convkit.spec.options import BoundaryName, Sides

OUTSIDE = -1
"""What an index map holds where no sample stands (boundaries ``zero`` and ``constant``)."""


def source_index(position: int, size: int, name: BoundaryName) -> int:
    """The index in ``0..size-1`` whose sample stands at ``position``, or ``OUTSIDE``.

    ``edge``: ``min(max(p, 0), n-1)``; ``wrap``: ``p mod n``; ``symmetric``: with ``q = p mod 2n``,
    ``q`` or ``2n-1-q``; ``reflect``: with ``q = p mod 2(n-1)``, ``q`` or ``2(n-1)-q``.

    Examples
    --------
    >>> [source_index(p, 4, "reflect") for p in range(-5, 9)]
    [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    """
    if 0 <= position < size:
        return position
    if size == 0 or name in ("zero", "constant"):
        return OUTSIDE
    if name == "edge":
        return 0 if position < 0 else size - 1
    if name == "wrap":
        return position % size
    if name == "symmetric":
        folded = position % (2 * size)
        return min(folded, 2 * size - 1 - folded)
    period = 2 * (size - 1)
    if period == 0:
        return 0
    folded = position % period
    return min(folded, period - folded)


def index_map(start: int, count: int, size: int, sides: Sides) -> list[int]:
    """The source index of each position ``start .. start+count-1``; each side follows its own boundary.

    Examples
    --------
    >>> index_map(-2, 8, 4, ("wrap", "edge"))
    [2, 3, 0, 1, 2, 3, 3, 3]
    """
    before, after = sides
    return [source_index(p, size, before if p < 0 else after) for p in range(start, start + count)]
