"""A scene as text: for a terminal, or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from rich.cells import cell_len

from convkit.catalogue import say
from convkit.scenes import Report
from convkit.scenes.figures import Lines, Picture, Plot, Table, cells, number


def scene(report: Report, markdown: bool = False) -> str:
    """Title, what it shows, its figures, and every check."""
    lines = [f"# {report.scene.title}" if markdown else str(report.scene.title), "", str(report.scene.shows), ""]
    for figure in report.outcome.figures:
        caption = str(figure.caption)
        body = written(figure)
        lines += [f"**{caption}**", "", "```", body, "```", ""] if markdown else [caption, _indented(body), ""]
    rows = [
        [
            "✓" if check.ok else "✗",
            str(report.scene.label(check)),
            check.wanted,
            check.found,
        ]
        for check in report.checks
    ]
    head = ["", *(say(f"cli.tour.column.{name}") for name in ("what", "expected", "got"))]
    if markdown:
        table = [head, ["---"] * 4, *rows]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    else:
        lines.append(aligned([head, *rows], "left"))
    return "\n".join(lines) + "\n"


@singledispatch
def written(figure: object) -> str:
    """One figure as lines of text, its caption left out."""
    raise TypeError(f"{type(figure).__name__} is no figure")


@written.register
def _table(figure: Table) -> str:
    rows = [[str(cell) for cell in row] for row in figure.rows]
    if figure.names:
        rows = [[str(name), *row] for name, row in zip(figure.names, rows, strict=True)]
    if figure.columns:
        rows.insert(0, [*([""] if figure.names else []), *map(str, figure.columns)])
    return aligned(rows, "right")


@written.register
def _lines(figure: Lines) -> str:
    return figure.text


@written.register
def _plot(figure: Plot) -> str:
    """At most sixteen points of every curve."""
    parts = []
    for series in figure.series:
        step = -(-series.y.size // 16)
        rows = cells([series.x[::step], series.y[::step]])
        parts.append(aligned([[str(figure.across) or "x", *rows[0]], [str(series.name), *rows[1]]], "right"))
    return "\n".join(parts)


@written.register
def _picture(figure: Picture) -> str:
    pixels = figure.pixels
    facts = {
        "shape": "x".join(map(str, pixels.shape)),
        "least": number(pixels.min()),
        "most": number(pixels.max()),
        "mean": number(float(pixels.mean())),
    }
    return say("cli.explain.picture", **facts)


def aligned(rows: Sequence[Sequence[str]], side: str) -> str:
    """Columns lined up by the width of their characters, which is two for 中文."""
    columns = max(len(row) for row in rows)
    widths = [max((cell_len(row[c]) for row in rows if c < len(row)), default=0) for c in range(columns)]
    lines = []
    for row in rows:
        fill = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=False)]
        pairs = zip(row, fill, strict=True)
        lines.append("  ".join(cell + gap if side == "left" else gap + cell for cell, gap in pairs).rstrip())
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
