"""``convkit identify``: which conventions turn x and k into y."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from convkit.cli.options import Json, Lang


def identify_command(
    x: Annotated[str, typer.Argument(metavar="X", help="cli.identify.x")],
    k: Annotated[str, typer.Argument(metavar="K", help="cli.identify.k")],
    y: Annotated[str, typer.Argument(metavar="Y", help="cli.identify.y")],
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """Identify the conventions behind a result."""
    import convkit as ck
    from convkit.cli.options import operand
    from convkit.cli.working import working

    arrays = [operand(text, name).array for text, name in ((x, "X"), (k, "K"), (y, "Y"))]
    with working() as doing:
        doing("cli.step.searching")
        found = ck.identify(*arrays)
    typer.echo(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else str(found))
