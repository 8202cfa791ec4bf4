"""``convkit explain``: a scene, or arrays typed on the command line, one step at a time."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convkit.cli.options import (
    Boundaries,
    Boundary,
    Dilation,
    Fill,
    Lang,
    Mode,
    Modes,
    Operation,
    Operations,
    Output,
    Stride,
)

if TYPE_CHECKING:
    from convkit.scenes import Report


class Format(StrEnum):
    """What an explanation is written as."""

    text = "text"
    markdown = "markdown"
    html = "html"
    svg = "svg"


def explain_command(
    what: Annotated[str, typer.Argument(metavar="SCENE | X", help="cli.explain.what")],
    kernel: Annotated[str | None, typer.Argument(metavar="[K]", help="cli.explain.kernel")] = None,
    operation: Operations = Operation.convolution,
    mode: Modes = Mode.full,
    boundary: Boundaries = Boundary.zero,
    fill: Fill = 0.0,
    stride: Stride = "1",
    dilation: Dilation = "1",
    anchor: Annotated[str | None, typer.Option("--anchor", help="cli.explain.anchor")] = None,
    form: Annotated[Format, typer.Option("--format", help="cli.explain.format")] = Format.text,
    output: Output = None,
    lang: Lang = None,
) -> None:
    """Explain a scene or a call."""
    from convkit.cli.options import operand, whole_numbers

    if kernel is None:
        text = _scene(what, form)
    else:
        x, k = operand(what, "X").array, operand(kernel, "K").array
        spec: dict[str, Any] = {
            "operation": operation.value,
            "mode": mode.value,
            "boundary": boundary.value,
            "fill": int(fill) if fill == int(fill) else fill,
            "stride": whole_numbers("stride", stride),
            "dilation": whole_numbers("dilation", dilation),
        }
        if anchor is not None:
            spec["anchor"] = whole_numbers("anchor", anchor)
        text = _explained(x, k, spec, form)
    _give(text, output)


def _explained(x: Any, k: Any, spec: dict[str, Any], form: Format) -> str:
    import convkit as ck

    return str(getattr(ck.explain(x, k, **spec), form.value)())


def _scene(name: str, form: Format) -> str:
    """A scene's numbers and figures, and the steps of the call that it is about."""
    from convkit import scenes
    from convkit.cli import page, plain
    from convkit.cli.tour import require

    scene = scenes.find(name)
    require(scene)
    report = scenes.run(scene)
    steps = _steps(report, form)
    if form is Format.html:
        return page.single(report, steps)
    if form is Format.svg:
        return steps
    return plain.scene(report, markdown=form is Format.markdown) + ("\n" + steps if steps else "")


def _steps(report: Report, form: Format) -> str:
    example = report.outcome.example
    if example is None:
        if form is Format.svg:
            from convkit.errors import OptionError

            raise OptionError("no-steps", scene=report.scene.name)
        return ""
    return _explained(example.x, example.k, example.options, form)


def _give(text: str, output: Path | None) -> None:
    """Print, or write the file whole."""
    if output is None:
        typer.echo(text.rstrip("\n"))
        return
    from convkit.data.whole import written_whole

    with written_whole(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
