"""Arguments that several commands share, and the reading of arrays typed on the command line."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convkit.errors import OptionError

if TYPE_CHECKING:
    from convkit.data import Content


class Language(StrEnum):
    """Languages of the command line."""

    en = "en"
    zh = "zh"


class Operation(StrEnum):
    """Whether the kernel is flipped."""

    convolution = "convolution"
    correlation = "correlation"


class Mode(StrEnum):
    """Extent of the result."""

    full = "full"
    same = "same"
    valid = "valid"


class Boundary(StrEnum):
    """What stands outside the input."""

    zero = "zero"
    constant = "constant"
    edge = "edge"
    reflect = "reflect"
    symmetric = "symmetric"
    wrap = "wrap"


Lang = Annotated[Language | None, typer.Option("--lang", help="cli.option.lang")]
Json = Annotated[bool, typer.Option("--json", help="cli.option.json")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="cli.option.output")]
Operations = Annotated[Operation, typer.Option("--operation", help="cli.option.operation")]
Modes = Annotated[Mode, typer.Option("--mode", help="cli.option.mode")]
Boundaries = Annotated[Boundary, typer.Option("--boundary", help="cli.option.boundary")]
Fill = Annotated[float, typer.Option("--fill", help="cli.option.fill")]
Stride = Annotated[str, typer.Option("--stride", help="cli.option.stride")]
Dilation = Annotated[str, typer.Option("--dilation", help="cli.option.dilation")]
Axes = Annotated[str | None, typer.Option("--axes", help="cli.option.axes")]
DType = Annotated[str | None, typer.Option("--dtype", help="cli.option.dtype")]
Method = Annotated[str, typer.Option("--method", help="cli.option.method")]
Accuracy = Annotated[str, typer.Option("--accuracy", help="cli.option.accuracy")]

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
_LITERAL = re.compile(r"[\s0-9+\-.,;/eEjJ]+")


def operand(text: str, name: str) -> Content:
    """An array typed as ``1,2,3`` or ``1,2;3,4`` (rows by semicolons), or the file of that name.

    Raises
    ------
    OptionError
        ``option.bad-literal``.
    FileError
        As `convkit.data.read`.
    """
    from convkit import data

    if Path(text).exists() or not _LITERAL.fullmatch(text):
        return data.read(text)
    import numpy as np

    rows = [[_number(cell, name, text) for cell in re.split(r"\s*,\s*|\s+", row.strip())] for row in text.split(";")]
    if len({len(row) for row in rows}) != 1:
        raise OptionError("bad-literal", name=name, text=text, cell=";")
    array = np.array(rows)
    return data.Content(array[0] if ";" not in text else array)


def _number(cell: str, name: str, text: str) -> int | float | complex:
    for kind in (int, float, complex):
        try:
            return kind(cell)
        except ValueError:
            continue
    raise OptionError("bad-literal", name=name, text=text, cell=cell or '""')


def whole_numbers(option: str, text: str) -> int | tuple[int, ...]:
    """``2`` or ``2,1`` (one for each axis).

    Raises
    ------
    OptionError
        ``option.not-a-whole-number``.
    """
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError("not-a-whole-number", option=option, value=text, least=1) from None
    return values[0] if len(values) == 1 else values


def shape(option: str, text: str) -> tuple[int, ...]:
    """``1024x768`` as sizes.

    Raises
    ------
    OptionError
        ``option.shape-literal``.
    """
    try:
        sizes = tuple(int(part) for part in re.split(r"[x,]", text.strip()))
    except ValueError:
        sizes = (-1,)
    if min(sizes) < 0:
        raise OptionError("shape-literal", option=option, value=text)
    return sizes


def dtype_named(text: str) -> str:
    """A known element type's name.

    Raises
    ------
    OptionError
        ``option.unknown-value``.
    """
    from convkit.errors import choose

    return choose("dtype", text, DTYPES)


def accuracy_of(text: str) -> str | float:
    """``norm``, ``elementwise``, or a number: a relative tolerance."""
    try:
        return float(text)
    except ValueError:
        return text
