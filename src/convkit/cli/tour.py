"""``convkit tour``: every scene, its numbers checked, and a page with the pictures."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convkit.catalogue import say
from convkit.cli.options import Json, Lang

if TYPE_CHECKING:
    from rich.console import Console

    from convkit.scenes import Report, Scene
    from convkit.scenes.scene import Progress


def tour_command(
    only: Annotated[list[str] | None, typer.Option("--only", help="cli.tour.only")] = None,
    out: Annotated[Path, typer.Option("--out", help="cli.tour.out")] = Path("tour.html"),
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """Run the scenes; exit 1 if any number is off."""
    from rich.console import Console

    from convkit import scenes
    from convkit.cli import page
    from convkit.data.whole import written_whole

    names = [name for given in only or () for name in given.split(",") if name]
    chosen = [scenes.find(name) for name in names] or list(scenes.SCENES.values())
    console = Console(quiet=as_json, highlight=False)
    with written_whole(out) as temporary:  # an output that cannot be written is refused before the work
        reports, missed = _run(chosen, console, Console(stderr=True))
        temporary.write_text(page.tour(reports, missed), encoding="utf-8")
    green = sum(report.ok for report in reports)
    if as_json:
        typer.echo(json.dumps(_facts(reports, missed, out), ensure_ascii=False))
    else:
        console.print()
        facts = {"green": green, "red": len(reports) - green, "missed": len(missed)}
        seconds = f"{sum(report.seconds for report in reports):.1f}"
        console.print(say("cli.tour.summary", seconds=seconds, **facts), style="green" if facts["red"] == 0 else "red")
        console.print(say("cli.tour.written", path=out))
    if green < len(reports) or not reports:
        raise typer.Exit(1)


def available(scene: Scene) -> bool:
    """Whether the packages that a scene needs are installed."""
    return scene.module is None or find_spec(scene.module) is not None


def require(scene: Scene) -> None:
    """Raise ``missing.scene`` unless the scene can be run."""
    from convkit.errors import MissingExtraError

    if not available(scene):
        raise MissingExtraError("scene", scene=scene.name, extra=scene.extra)


def _run(chosen: list[Scene], console: Console, signs: Console) -> tuple[list[Report], list[Scene]]:
    from rich.markup import escape
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    reports: list[Report] = []
    missed: list[Scene] = []
    # The bar shares the lines' console where that is the terminal, so that lines scroll above it.
    board = console if console.is_terminal else signs
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=board, transient=True, disable=not board.is_terminal) as bar:
        whole = bar.add_task(say("cli.tour.running"), total=len(chosen))
        for scene in chosen:
            if not available(scene):
                missed.append(scene)
                console.print(f"[yellow]–[/] {escape(str(scene.title))}: {escape(_not_run(scene))}")
            else:
                part = bar.add_task(str(scene.title), total=None) if scene.lengthy == "yes" else None

                def moved(step: int, steps: int, loss: float, part: Any = part, title: str = str(scene.title)) -> None:
                    words = say("cli.tour.training", title=title, loss=f"{loss:.3f}")
                    bar.update(part, completed=step, total=steps, description=words)

                report = _run_or_told(scene, moved)
                if part is not None:
                    bar.remove_task(part)
                reports.append(report)
                _print_line(report, console)
            bar.advance(whole)
    return reports, missed


def _run_or_told(scene: Scene, progress: Progress) -> Report:
    """Run a scene; one that stops with an error is as wrong as one with a wrong number, and the tour goes on."""
    from convkit import scenes

    try:
        return scenes.run(scene, progress)
    except Exception as error:  # whatever it is, the tour must say it and go on
        return scenes.Report(
            scene, scenes.Outcome([scenes.Check("raised", "-", f"{type(error).__name__}: {error}")]), 0.0
        )


def _print_line(report: Report, console: Console) -> None:
    """What, expected, got, time, and whether it is right; a number that is off gets a line of its own."""
    from rich.markup import escape

    mark = "[green]✓[/]" if report.ok else "[red]✗[/]"
    words = say("cli.tour.line", expected=report.expected, got=report.got, count=len(report.checks))
    name = f"[bold]{escape(str(report.scene.title))}[/] [dim]({report.scene.name})[/]"
    console.print(f"{mark} {name}  {escape(words)}  [dim]{report.seconds:.2f} s[/]", soft_wrap=True)
    for check in report.checks:
        if not check.ok:
            facts = {"expected": check.wanted, "got": check.found}
            off = say("cli.tour.off", what=report.scene.label(check), **facts)
            console.print(f"  [red]{escape(off)}[/]", soft_wrap=True)


def _not_run(scene: Scene) -> str:
    return say("cli.tour.not-run", extra=scene.extra)


def _facts(reports: list[Report], missed: list[Scene], out: Path) -> dict[str, Any]:
    """Everything a program may want to know."""
    return {
        "ok": bool(reports) and all(report.ok for report in reports),
        "page": str(out),
        "scenes": [
            {
                "scene": report.scene.name,
                "title": str(report.scene.title),
                "ok": report.ok,
                "seconds": round(report.seconds, 4),
                "checks": [
                    {
                        "check": check.name,
                        "expected": check.wanted,
                        "got": check.found,
                        "ok": check.ok,
                    }
                    for check in report.checks
                ],
            }
            for report in reports
        ],
        "not_run": [{"scene": scene.name, "needs": f"convkit[{scene.extra}]"} for scene in missed],
    }
