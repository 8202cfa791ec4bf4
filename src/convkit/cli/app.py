"""The command and its parts."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated

import typer

from convkit.cli.options import Lang
from convkit.cli.words import Spoken, SpokenGroup, choose_language, speak_frame


def build(arguments: Sequence[str] = ()) -> typer.Typer:
    """The app, speaking the language that ``arguments`` or the environment ask for."""
    choose_language(arguments)
    speak_frame()
    from convkit.cli import convolving, doctor, explaining, filtering, identifying, planning, tour
    from convkit.cli.learning import export, judge, predict, train

    app = typer.Typer(
        cls=SpokenGroup,
        help="cli.help",
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["--help", "-h"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    # Array literals such as -1,0,1 begin with a dash and are no options.
    literals = {"ignore_unknown_options": True}
    app.command("tour", cls=Spoken, help="cli.tour.help")(tour.tour_command)
    app.command("filter", cls=Spoken, help="cli.filter.help")(filtering.filter_command)
    app.command("convolve", cls=Spoken, help="cli.convolve.help", context_settings=literals)(
        convolving.convolve_command
    )
    app.command("train", cls=Spoken, help="cli.train.help")(train.train_command)
    app.command("evaluate", cls=Spoken, help="cli.evaluate.help")(judge.evaluate_command)
    app.command("predict", cls=Spoken, help="cli.predict.help")(predict.predict_command)
    app.command("export", cls=Spoken, help="cli.export.help")(export.export_command)
    app.command("explain", cls=Spoken, help="cli.explain.help", context_settings=literals)(explaining.explain_command)
    app.command("identify", cls=Spoken, help="cli.identify.help", context_settings=literals)(
        identifying.identify_command
    )
    app.command("plan", cls=Spoken, help="cli.plan.help")(planning.plan_command)
    if find_spec("convkit.cli.bench") is not None:
        from convkit.cli.bench import bench_command

        app.command("bench", cls=Spoken, help="cli.bench.help")(bench_command)
    app.command("doctor", cls=Spoken, help="cli.doctor.help")(doctor.doctor_command)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 could not be done, 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign gets a question mark instead of a crash.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    build(given)(given, prog_name="convkit")


def _version(asked: bool) -> None:
    if asked:
        from convkit import __version__

        typer.echo(__version__)
        raise typer.Exit


def _root(
    lang: Lang = None,
    version: Annotated[bool, typer.Option("--version", help="cli.version", callback=_version, is_eager=True)] = False,
) -> None:
    """Options before the command's name."""
