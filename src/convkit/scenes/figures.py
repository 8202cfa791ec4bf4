"""What a scene has to look at: tables, plots and pictures, as data. Words are catalogue keys until they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convkit.catalogue import say


@dataclass(frozen=True)
class Label:
    """A sentence that is chosen when it is drawn, so that one figure can be shown in every language."""

    key: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return say(self.key, **self.facts)


Text = str | Label
"""Formulas and numbers are strings, words are labels."""


@dataclass(frozen=True)
class Table:
    """Cells in rows, with names for rows and columns, some of them marked."""

    caption: Text
    rows: Sequence[Sequence[Text]]
    columns: Sequence[Text] = ()
    names: Sequence[Text] = ()
    marked: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Series:
    """One curve of a plot."""

    name: Text
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Plot:
    """Curves over a common axis, drawn as lines, stems or bars."""

    caption: Text
    series: Sequence[Series]
    style: Literal["line", "stem", "bar"] = "line"
    across: Text = ""


@dataclass(frozen=True)
class Picture:
    """An image: ``brightness`` runs from black to white, ``signed`` has its zero in the middle."""

    caption: Text
    pixels: NDArray[Any]
    scale: Literal["brightness", "signed"] = "brightness"


@dataclass(frozen=True)
class Lines:
    """Text whose columns are lined up: a working by hand, a trace."""

    caption: Text
    text: str


Figure = Table | Plot | Picture | Lines


def caption(scene: str, word: str, /, **facts: object) -> Label:
    """The words ``scenes.<scene>.figure.<word>`` of the catalogue."""
    return Label(f"scenes.{scene}.figure.{word}", facts)


def number(value: object) -> str:
    """A number as people write it: whole numbers plain, others to six digits."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        text = f"{float(value):.6g}"
        return "0" if text == "-0" else text
    return str(value)


def cells(values: ArrayLike) -> list[list[str]]:
    """Numbers as the rows of a `Table`.

    Examples
    --------
    >>> cells([1, 2.5])
    [['1', '2.5']]
    """
    return [[number(value) for value in row] for row in np.atleast_2d(np.asarray(values))]


def curve(name: Text, y: ArrayLike, x: ArrayLike | None = None) -> Series:
    """A `Series` over 0, 1, 2, ... unless ``x`` says otherwise."""
    heights = np.asarray(y, dtype=np.float64)
    return Series(name, np.arange(heights.size, dtype=np.float64) if x is None else np.asarray(x, float), heights)
