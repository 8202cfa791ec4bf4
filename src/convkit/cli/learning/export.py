"""``convkit export``: a trained network for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from convkit.catalogue import say
from convkit.cli.learning.arguments import RunFolder
from convkit.cli.options import Json, Lang


def export_command(
    run: RunFolder,
    form: Annotated[str, typer.Option("--format", "-f", help="cli.export.format")] = "onnx",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="cli.export.output")] = None,
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """Write the network with its preprocessing."""
    from convkit.cli.working import working
    from convkit.errors import choose
    from convkit.nn import runs
    from convkit.nn.runs.exporting import FORMATS, export

    choose("format", form, FORMATS)
    with working() as doing:
        doing("cli.step.reading")
        trained = runs.opened(run)
        path = output or run / f"model{FORMATS[form]}"
        doing("cli.step.writing")
        export(trained, form, path)
    rows, columns, channels = trained.about.shape
    facts = {
        "run": str(run),
        "format": form,
        "output": str(path),
        "bytes": path.stat().st_size,
        "input": ["batch", channels, rows, columns],
        "range": [0.0, 1.0],
        "classes": list(trained.about.classes),
    }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    typer.echo(say("cli.export.done", output=path, kilobytes=f"{path.stat().st_size / 1024:.0f}"))
    typer.echo(say("cli.export.takes", shape=f"batch x {channels} x {rows} x {columns}"))
