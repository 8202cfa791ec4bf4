"""``convkit convolve``: two files (or typed arrays) into a third."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from convkit.catalogue import say
from convkit.cli.options import (
    Accuracy,
    Axes,
    Boundaries,
    Boundary,
    Dilation,
    DType,
    Fill,
    Json,
    Lang,
    Method,
    Mode,
    Modes,
    Operation,
    Operations,
    Output,
    Stride,
)


def convolve_command(
    x: Annotated[str, typer.Argument(metavar="X", help="cli.convolve.x")],
    k: Annotated[str, typer.Argument(metavar="K", help="cli.convolve.k")],
    output: Output = None,
    operation: Operations = Operation.convolution,
    mode: Modes = Mode.full,
    boundary: Boundaries = Boundary.zero,
    fill: Fill = 0.0,
    stride: Stride = "1",
    dilation: Dilation = "1",
    axes: Axes = None,
    dtype: DType = None,
    method: Method = "auto",
    accuracy: Accuracy = "norm",
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """Convolve two files."""
    from convkit import data
    from convkit.cli.computing import along, computed, report
    from convkit.cli.fitting import fitted
    from convkit.cli.options import dtype_named, operand
    from convkit.cli.working import working
    from convkit.data.files import output_format
    from convkit.errors import FileError

    wanted = dtype_named(dtype) if dtype else None
    if output is not None:
        output_format(output)
    with working() as doing:
        doing("cli.step.reading")
        content, kernel = operand(x, "X"), operand(k, "K")
        if content.rate and kernel.rate and content.rate != kernel.rate:
            raise FileError("rates-differ", path=x, rate=content.rate, other=k, other_rate=kernel.rate)
        doing("cli.step.computing")
        options = {
            "mode": mode.value,
            "boundary": boundary.value,
            "fill": fill,
            "stride": stride,
            "dilation": dilation,
            "method": method,
            "accuracy": accuracy,
        }
        result = computed(content, kernel.array, operation.value, along(content, axes), options)
        values = fitted(result.array, wanted)[0] if wanted else result.array
        if output is not None:
            doing("cli.step.writing")
            data.write(output, data.Content(values, content.kind, content.rate, content.encoding))
    if output is None:
        import numpy as np

        text = json.dumps(_plain(values)) if as_json else np.array2string(values, threshold=1000, separator=" ")
        typer.echo(text)
        return
    facts = report(x, content.array, k, kernel.array, output, values, result)
    typer.echo(json.dumps(facts, ensure_ascii=False) if as_json else say("cli.done", **facts))


def _plain(values):  # type: ignore[no-untyped-def]
    """An array as JSON has it; a complex number is a pair (real, imaginary)."""
    import numpy as np

    return (np.stack([values.real, values.imag], axis=-1) if values.dtype.kind == "c" else values).tolist()
