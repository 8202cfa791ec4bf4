"""``convkit filter``: a picture, a sound or an array, under a named kernel or one from a file."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    Stride,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convkit.data import Content


class Scaling(StrEnum):
    """How values outside the range of whole numbers are treated."""

    none = "none"
    signed = "signed"
    stretch = "stretch"


def filter_command(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="cli.filter.input")],
    kernel: Annotated[str, typer.Option("--kernel", "-k", help="cli.filter.kernel")],
    output: Annotated[Path, typer.Option("--output", "-o", help="cli.option.output")],
    size: Annotated[int | None, typer.Option("--size", help="cli.filter.size")] = None,
    sigma: Annotated[float | None, typer.Option("--sigma", help="cli.filter.sigma")] = None,
    operation: Operations = Operation.correlation,
    mode: Modes = Mode.same,
    boundary: Boundaries = Boundary.symmetric,
    fill: Fill = 0.0,
    stride: Stride = "1",
    dilation: Dilation = "1",
    axes: Axes = None,
    dtype: DType = None,
    scale: Annotated[Scaling, typer.Option("--scale", help="cli.filter.scale")] = Scaling.none,
    method: Method = "auto",
    accuracy: Accuracy = "norm",
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """Filter a file."""
    from convkit import data
    from convkit.cli.computing import along, computed, report
    from convkit.cli.fitting import fitted
    from convkit.cli.options import dtype_named
    from convkit.cli.working import working
    from convkit.data.files import output_format

    wanted = dtype_named(dtype) if dtype else None
    output_format(output)
    with working() as doing:
        doing("cli.step.reading")
        content = data.read(source)
        chosen_axes = along(content, axes)
        weights = _kernel(kernel, size, sigma, len(chosen_axes))
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
        painted, alpha = _without_alpha(content)
        result = computed(painted, weights, operation.value, chosen_axes, options)
        whole_picture = content.kind == "picture" and content.array.dtype.kind in "ui"
        kind = wanted or (str(content.array.dtype) if whole_picture else str(result.array.dtype))
        values, clipped = fitted(result.array, kind, scale.value)
        if alpha is not None and values.shape[:2] == alpha.shape[:2]:
            import numpy as np

            values = np.concatenate([values, alpha.astype(values.dtype)], axis=-1)
        doing("cli.step.writing")
        data.write(output, data.Content(values, content.kind, content.rate, content.encoding))
    facts = report(source, content.array, kernel, weights, output, values, result)
    facts["clipped"] = clipped
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    typer.echo(say("cli.done", **facts))
    if clipped > 0:
        typer.echo(say("cli.filter.clipped", percent=f"{100 * clipped:.1f}", dtype=kind), err=True)
    if alpha is not None and values.shape[-1] == 3:
        typer.echo(say("cli.filter.alpha-dropped"), err=True)


def _kernel(name: str, size: int | None, sigma: float | None, rank: int) -> NDArray[np.generic]:
    """A named kernel, or numbers from a file or the command line."""
    from convkit.cli.named import KERNEL_NAMES, named
    from convkit.cli.options import operand
    from convkit.errors import OptionError

    plain_word = name.replace("-", "").isalpha()
    if name in KERNEL_NAMES or (plain_word and not Path(name).exists()):
        return named(name, size=size, sigma=sigma, rank=rank)
    for option, value in (("size", size), ("sigma", sigma)):
        if value is not None:
            raise OptionError("not-for-a-file", option=option, kernel=name)
    return operand(name, "--kernel").array


def _without_alpha(content: Content) -> tuple[Content, NDArray[np.generic] | None]:
    """The colours to filter, and the transparency, which is no brightness and stays as it is."""
    if content.kind != "picture" or content.array.ndim != 3 or content.array.shape[-1] != 4:
        return content, None
    from dataclasses import replace

    return replace(content, array=content.array[..., :3]), content.array[..., 3:]
