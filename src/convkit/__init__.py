"""convkit: convolution, from a signal to a network.

The public names are loaded when they are first used; importing the package costs NumPy and little else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as _numpy  # noqa: F401  (every name needs it; loading it here makes the first call no slower than the second)

from convkit.errors import ConvError

if TYPE_CHECKING:
    from convkit import compat, data, kernels, nn
    from convkit.explain import explain, identify, passport, translate
    from convkit.threads import num_threads, set_num_threads
    from convkit.verbs import (
        Convolver,
        conv,
        conv_input_gradient,
        conv_transpose,
        conv_weight_gradient,
        convolve,
        correlate,
        plan,
        pool,
    )

__version__ = "0.1.0"

_HOMES = {
    "convkit.verbs": (
        "Convolver", "conv", "conv_input_gradient", "conv_transpose", "conv_weight_gradient", "convolve", "correlate",
        "plan", "pool",
    ),
    "convkit.explain": ("explain", "identify", "passport", "translate"),
    "convkit.threads": ("num_threads", "set_num_threads"),
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = ("compat", "data", "kernels", "nn")

__all__ = [
    "ConvError",
    "Convolver",
    "__version__",
    "compat",
    "conv",
    "conv_input_gradient",
    "conv_transpose",
    "conv_weight_gradient",
    "convolve",
    "correlate",
    "data",
    "explain",
    "identify",
    "kernels",
    "nn",
    "num_threads",
    "passport",
    "plan",
    "pool",
    "set_num_threads",
    "translate",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _ROOMS:
        value = import_module(f"convkit.{name}")
    else:
        raise AttributeError(f"module 'convkit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
