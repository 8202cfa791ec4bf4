"""Object arrays (Fraction, Decimal, Python integers of any size): they run through the oracle, term by term."""

from __future__ import annotations

from typing import Any

from convkit.errors import OptionError
from convkit.planner.algorithm import Array
from convkit.verbs.layout import layout_of


def convolve(
    operation: str,
    x: Array,
    k: Array,
    mode: str,
    axes: Any,
    dtype: Any,
    weights: Any,
    mask: Any,
    out: Any,
    options: dict[str, Any],
) -> Array:
    """The definition, over whatever numbers the arrays hold."""
    from convkit.oracle import adapters

    if weights is not None or mask is not None:
        raise OptionError("objects-complete")
    layout_of(x.shape, k.shape, axes if not isinstance(axes, list) else tuple(axes))
    verb = adapters.oracle_convolve if operation == "convolution" else adapters.oracle_correlate
    chosen = {name: options[name] for name in ("boundary", "fill", "stride", "dilation", "anchor", "nan")}
    result = verb(x, k, mode, axes=axes, **chosen)
    if dtype is not None:
        result = result.astype(dtype)
    if out is None:
        return result
    out[...] = result
    return out
