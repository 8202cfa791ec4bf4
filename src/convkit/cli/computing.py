"""What ``filter`` and ``convolve`` share: the call of the verb, its time, and the line that says what was done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.cli.options import accuracy_of, whole_numbers
from convkit.data import Content
from convkit.errors import OptionError, by


@dataclass(frozen=True)
class Computed:
    """A result, and the seconds it took."""

    array: NDArray[Any]
    seconds: float


def along(content: Content, axes: str | None) -> tuple[int, ...]:
    """The axes to run along: those that were asked for, else the axes of space or time.

    Raises
    ------
    OptionError
        ``option.not-a-whole-number``, ``option.no-such-axis``.
    """
    if axes is None:
        return content.space
    wanted = []
    for part in axes.split(","):
        if not part.strip().lstrip("-").isdigit():
            raise OptionError("not-a-whole-number", option="axes", value=axes, least=0)
        axis = int(part)
        if not -content.array.ndim <= axis < content.array.ndim:
            raise OptionError("no-such-axis", axis=axis, shape=by(content.array.shape), last=content.array.ndim - 1)
        wanted.append(axis % content.array.ndim)
    return tuple(wanted)


def computed(
    content: Content, kernel: NDArray[Any], operation: str, axes: tuple[int, ...], options: dict[str, Any]
) -> Computed:
    """Call ``ck.convolve`` or ``ck.correlate`` along ``axes``."""
    import convkit as ck

    verb = ck.convolve if operation == "convolution" else ck.correlate
    stride, dilation = (whole_numbers(name, options[name]) for name in ("stride", "dilation"))
    settled = {
        **options,
        "stride": stride,
        "dilation": dilation,
        "accuracy": accuracy_of(options["accuracy"]),
    }
    every = len(axes) == content.array.ndim
    start = time.perf_counter()
    array = verb(content.array, kernel, axes=None if every else axes, **settled)
    return Computed(np.asarray(array), time.perf_counter() - start)


def report(
    source: str,
    x: NDArray[Any],
    name: str,
    kernel: NDArray[Any],
    output: Path,
    y: NDArray[Any],
    result: Computed,
) -> dict[str, Any]:
    """The facts of what was done: names, shapes, types, milliseconds."""
    return {
        "input": source,
        "input_shape": by(x.shape),
        "input_dtype": str(x.dtype),
        "kernel": name,
        "kernel_shape": by(kernel.shape),
        "output": str(output),
        "output_shape": by(y.shape),
        "output_dtype": str(y.dtype),
        "milliseconds": round(1000 * result.seconds, 3),
    }
