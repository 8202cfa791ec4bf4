"""The values that explanations are checked against: those of the public verbs."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit import verbs
from convkit.spec import ConvSpec


def compute(spec: ConvSpec, x: Any, k: Any, bias: Any = None) -> np.ndarray[Any, Any]:
    """The verb's own result for ``spec``."""
    shared: dict[str, Any] = {
        "stride": spec.stride,
        "dilation": spec.dilation,
        "dtype": spec.dtype,
        "overflow": spec.overflow,
        "accuracy": spec.accuracy,
    }
    if spec.mode is not None:
        verb = verbs.convolve if spec.operation == "convolution" else verbs.correlate
        boundary = [tuple(sides) for sides in spec.boundary]
        result = verb(
            x, k, spec.mode, boundary=boundary, fill=spec.fill, anchor=spec.anchor, nan=spec.nan, **shared
        )  # fmt: skip
        return np.asarray(result)
    shared |= {"padding": spec.padding, "groups": spec.groups, "operation": spec.operation}
    if spec.direction == "transposed":
        return np.asarray(verbs.conv_transpose(x, k, bias, output_padding=spec.output_padding, **shared))
    return np.asarray(verbs.conv(x, k, bias, boundary=[tuple(s) for s in spec.boundary], fill=spec.fill, **shared))
