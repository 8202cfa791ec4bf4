"""``ck.plan``: how a call would be done, without the arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convkit.planner.plan import Plan
from convkit.verbs.calls import array_call
from convkit.verbs.dtypes import result_name
from convkit.verbs.layout import shape_of


def plan(
    x_shape: Sequence[int],
    k_shape: Sequence[int],
    dtype: Any = "float64",
    operation: str = "convolution",
    mode: str = "full",
    *,
    boundary: Any = "zero",
    fill: Any = 0,
    stride: Any = 1,
    dilation: Any = 1,
    axes: Any = None,
    anchor: Any = None,
    overflow: str = "raise",
    accuracy: Any = "norm",
    method: str = "auto",
) -> Plan:
    """Plan a convolution of an input of shape ``x_shape`` with a kernel of shape ``k_shape``.

    Parameters
    ----------
    x_shape, k_shape : sequence of int
        Shapes of the input and of the kernel.
    dtype : dtype
        Type of both.
    operation, mode, boundary, fill, stride, dilation, axes, anchor, overflow, accuracy, method
        As in ``ck.convolve``.

    Returns
    -------
    Plan
        With ``.choice`` (the algorithm's name), ``.report()`` (every algorithm, its cost, or why not),
        ``.error_bound`` and ``.workspace`` (bytes).

    Examples
    --------
    >>> import convkit as ck
    >>> ck.plan((100,), (5,)).choice
    'dot'
    """
    name = result_name(dtype) or "float64"
    call = array_call(
        shape_of("x_shape", x_shape), shape_of("k_shape", k_shape), name, name, operation, mode,
        boundary=boundary, fill=fill, stride=stride, dilation=dilation, axes=axes, anchor=anchor,
        overflow=overflow, nan="propagate", accuracy=accuracy, method=method,
    )  # fmt: skip
    return call.plan()
