"""A sign of life on stderr for work that may take longer than a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from convkit.catalogue import say


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Show a moving bar; the function it gives takes the catalogue key of what is being done.

    Nothing is shown where stderr is no terminal, and the bar goes when the work is done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda key: bar.update(task, description=say(key))
