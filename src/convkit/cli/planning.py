"""``convkit plan``: which way a problem would be computed, and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from convkit.catalogue import say
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

if TYPE_CHECKING:
    from convkit.codegen.listing import Listing
    from convkit.planner.plan import Plan


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
    asm: Annotated[bool, typer.Option("--asm", help="cli.plan.asm")] = False,
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """Show the planner's table, or the inner loops of the kernels that the choice compiles."""
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
    if asm:
        _show_loops(plan, as_json)
        return
    report = plan.report()
    typer.echo(json.dumps(report.to_dict(), ensure_ascii=False) if as_json else str(report))


def _show_loops(plan: Plan, as_json: bool) -> None:
    listings = _listings(plan)
    if as_json:
        loops = [asdict(listing) for listing in listings]
        typer.echo(json.dumps({"choice": plan.choice, "loops": loops}, ensure_ascii=False))
        return
    if not listings:
        typer.echo(say("cli.plan.not-compiled", choice=plan.choice, why=plan.why))
    for listing in listings:
        facts = {name: value for name, value in asdict(listing).items() if name != "text"}
        typer.echo(say("cli.plan.loop", choice=plan.choice, **facts))
        typer.echo(listing.text)


def _listings(plan: Plan) -> list[Listing]:
    """One for each kernel that the chosen algorithm compiles; none where it compiles nothing."""
    from convkit.codegen.library import this_machine
    from convkit.codegen.listing import inner_loop

    kernels = getattr(plan.algorithm, "kernels", None)
    return [] if kernels is None else [inner_loop(kernel, this_machine()) for kernel in kernels(plan.problem)]
