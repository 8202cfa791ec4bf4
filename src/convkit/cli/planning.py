"""``convkit plan``: which way a problem would be computed, and why."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from convkit.cli.options import (
    Accuracy,
    Boundaries,
    Boundary,
    Dilation,
    Json,
    Lang,
    Method,
    Mode,
    Modes,
    Operation,
    Operations,
    Stride,
)


def plan_command(
    x: Annotated[str, typer.Argument(metavar="X-SHAPE", help="cli.plan.x")],
    k: Annotated[str, typer.Argument(metavar="K-SHAPE", help="cli.plan.k")],
    dtype: Annotated[str, typer.Option("--dtype", help="cli.plan.dtype")] = "float64",
    operation: Operations = Operation.convolution,
    mode: Modes = Mode.full,
    boundary: Boundaries = Boundary.zero,
    stride: Stride = "1",
    dilation: Dilation = "1",
    accuracy: Accuracy = "norm",
    method: Method = "auto",
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """Show the planner's table."""
    import convkit as ck
    from convkit.cli.options import accuracy_of, dtype_named, shape, whole_numbers

    plan = ck.plan(
        shape("X-SHAPE", x),
        shape("K-SHAPE", k),
        dtype=dtype_named(dtype),
        operation=operation.value,
        mode=mode.value,
        boundary=boundary.value,
        stride=whole_numbers("stride", stride),
        dilation=whole_numbers("dilation", dilation),
        accuracy=accuracy_of(accuracy),
        method=method,
    )
    report = plan.report()
    typer.echo(json.dumps(report.to_dict(), ensure_ascii=False) if as_json else str(report))
