"""Comma-separated numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from convkit.data.content import Content, numeric
from convkit.errors import FileError


def read_csv(path: Path, member: str | None) -> Content:
    """Read a table of numbers; one row or one column is a 1-D array, whole numbers stay integers.

    Blank lines are passed over. A word, a blank cell, or rows of different lengths are refused with their place.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [(number, row) for number, row in enumerate(csv.reader(stream), start=1) if "".join(row).strip()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError("broken", path=str(path), format="csv", reason=str(error)) from error
    if not rows:
        raise FileError("empty", path=str(path))
    width = len(rows[0][1])
    for number, row in rows:
        if len(row) != width:
            raise FileError("ragged", path=str(path), row=number, cells=len(row), first=rows[0][0], width=width)
    cells = [[_number(cell, path, number, at) for at, cell in enumerate(row, start=1)] for number, row in rows]
    whole = all(isinstance(cell, int) for row in cells for cell in row)
    try:
        array = np.array(cells, dtype=np.int64 if whole else np.float64)
    except OverflowError:
        array = np.array(cells, dtype=np.float64)
    return Content(array.reshape(-1) if 1 in array.shape else array, "table")


def write_csv(path: Path, content: Content, name: str) -> None:
    """Write a 1-D array as one line, a 2-D array as one line a row, with the digits that give the numbers back."""
    array = numeric(content.array, name)
    if array.ndim > 2 or array.dtype.kind == "c":
        raise FileError("cannot-hold", path=name, format="csv", array=_said(array), holds="1-D / 2-D, real")
    with path.open("w", newline="", encoding="utf-8") as stream:
        # repr of a Python number is the shortest text that reads back as the same number.
        csv.writer(stream).writerows([repr(cell) for cell in row] for row in np.atleast_2d(_plain(array)).tolist())


def _number(cell: str, path: Path, row: int, column: int) -> int | float:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    raise FileError("not-a-number", path=str(path), row=row, column=column, word=cell.strip() or '""')


def _plain(array: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return array.astype(np.int64) if array.dtype.kind == "b" else array


def _said(array: np.ndarray) -> str:  # type: ignore[type-arg]
    return f"{array.dtype} {'x'.join(map(str, array.shape))}"
