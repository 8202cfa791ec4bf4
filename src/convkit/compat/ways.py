"""How much freedom a drop-in function leaves the planner.

The imitated libraries add up products one by one. Callers rely on it where it costs nothing: whole numbers kept as
floats stay whole, and two routes to the same result agree to the last bit. So small sums are formed as they are
defined, and only large ones may be transformed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

SMALL = 1 << 15
"""Products up to which a call is not worth a choice."""

LARGE = 1 << 24
"""Products beyond which a transform saves a time that is felt."""


def sums_as_defined(x_shape: Sequence[int], k_shape: Sequence[int], until: int) -> dict[str, Any]:
    """Options for a verb: the definition itself if there are few products, no transform below ``until`` of them.

    Parameters
    ----------
    x_shape, k_shape : sequence of int
        Shapes of input and kernel.
    until : int
        Products from which on every algorithm may be used.

    Examples
    --------
    >>> sums_as_defined((20, 20), (3, 3), LARGE), sums_as_defined((500, 500), (3, 3), LARGE)
    ({'method': 'direct'}, {'accuracy': 'elementwise'})
    >>> sums_as_defined((100,), (5,), SMALL), sums_as_defined((100_000,), (5_000,), SMALL)
    ({'accuracy': 'elementwise'}, {})
    """
    products = math.prod(x_shape) * math.prod(k_shape)
    if products <= SMALL and len(x_shape) > 1:
        return {"method": "direct"}
    return {"accuracy": "elementwise"} if products <= until else {}
