"""Arguments that the commands around training share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from convkit.errors import OptionError

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="cli.learning.run")]
Threads = Annotated[int | None, typer.Option("--threads", help="cli.learning.threads")]
Memory = Annotated[int, typer.Option("--memory", help="cli.learning.memory")]


def threads_for(asked: int | None) -> int:
    """As many as asked for; otherwise all that this process may use, shared among torchrun's processes."""
    from convkit.nn.runs.ranks import asked_world
    from convkit.threads import num_threads, set_num_threads

    if asked is not None:
        set_num_threads(asked)
        return asked
    return max(1, num_threads() // asked_world())


def memory_limit(mebibytes: int) -> int:
    """``--memory`` in bytes.

    Raises
    ------
    OptionError
        ``option.too-small``.
    """
    if mebibytes < 1:
        raise OptionError("too-small", option="memory", value=mebibytes, least=1)
    return mebibytes << 20


def size_of(text: str | None) -> tuple[int, int] | None:
    """``32`` or ``32x48`` as rows and columns.

    Raises
    ------
    OptionError
        ``option.shape-literal``, ``option.too-small``.
    """
    if text is None:
        return None
    from convkit.cli.options import shape

    sides = list(shape("size", text))
    if len(sides) > 2:
        raise OptionError("shape-literal", option="size", value=text)
    if min(sides) < 1:
        raise OptionError("too-small", option="size", value=text, least=1)
    return (sides[0], sides[-1])


def first_process() -> bool:
    """Whether this process may speak: the only one, or the first of torchrun's."""
    return os.environ.get("RANK", "0") == "0"
