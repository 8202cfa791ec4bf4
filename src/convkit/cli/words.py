"""The language of the command line: chosen before anything is built, so that help speaks it too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from convkit.catalogue import LANGUAGES, has, language, say, set_language


def choose_language(arguments: Sequence[str]) -> None:
    """Take the language from ``--lang``, else ``CONVKIT_LANG``, else the system's locale; English if none is known.

    A value of ``--lang`` that is unknown is passed over here, and refused where the arguments are read.
    """
    wished = ""
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == "--lang" and place + 1 < len(arguments):
            wished = arguments[place + 1]
        elif argument.startswith("--lang="):
            wished = argument.removeprefix("--lang=")
    if wished in LANGUAGES:
        set_language(wished)
    elif not os.environ.get("CONVKIT_LANG"):
        system = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
        set_language("zh" if system.lower().startswith("zh") else "en")


def spoken(text: str | None) -> str | None:
    """The sentence of a catalogue key; any other text as it is."""
    return say(text) if text and has(text) else text


class _Spoken:
    """Help texts are catalogue keys until the command is made; the usage line speaks too."""

    help: str | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.help = spoken(self.help)
        for parameter in self.params:  # type: ignore[attr-defined]
            parameter.help = spoken(getattr(parameter, "help", None))

    def get_help_option(self, ctx: Any) -> Any:
        """The ``--help`` option, in the language in force."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.help = say("cli.frame.help")
        return option

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """The usage line, in the language in force."""
        prefix = say("cli.frame.usage") + (" " if language() == "en" else "")
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), prefix=prefix)  # type: ignore[attr-defined]


class Spoken(_Spoken, TyperCommand):
    """A command in the language in force."""


class SpokenGroup(_Spoken, TyperGroup):
    """The group of all commands; what a `ConvError` says goes to stderr, and the exit code is 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn errors that have words into those words."""
        import typer

        from convkit.errors import ConvError, FileError

        try:
            return super().invoke(ctx)
        except ConvError as error:
            typer.echo(error.text(), err=True)
        except MemoryError:
            typer.echo(FileError("no-memory").text(), err=True)
        raise typer.Exit(1)


def speak_frame() -> None:
    """Put typer's own headings into the language in force, and let no sentence be cut that has no spaces."""
    from rich.columns import Columns
    from rich.table import Table
    from rich.text import Text
    from typer import rich_utils

    class FoldedTable(Table):
        """A table that goes on in the next line where rich would cut a long word."""

        def add_row(self, *cells: Any, **options: Any) -> None:
            super().add_row(*cells, **options)
            for column in self.columns:
                column.overflow = "fold"

    class FoldedColumns(Columns):
        """The same for what is said of an option."""

        def __init__(self, items: list[Any], **options: Any) -> None:
            super().__init__(items, **options)
            for item in items:
                if isinstance(item, Text):
                    item.overflow = "fold"

    rich_utils.Table = FoldedTable  # type: ignore[attr-defined, misc]
    rich_utils.Columns = FoldedColumns  # type: ignore[attr-defined, misc]
    rich_utils.ARGUMENTS_PANEL_TITLE = say("cli.frame.arguments")
    rich_utils.OPTIONS_PANEL_TITLE = say("cli.frame.options")
    rich_utils.COMMANDS_PANEL_TITLE = say("cli.frame.commands")
    rich_utils.ERRORS_PANEL_TITLE = say("cli.frame.error")
    rich_utils.DEFAULT_STRING = say("cli.frame.default")
    rich_utils.REQUIRED_LONG_STRING = say("cli.frame.required")
    rich_utils.RICH_HELP = say("cli.frame.try-help")
