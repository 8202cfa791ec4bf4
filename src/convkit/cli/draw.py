"""A scene's figures as pieces of a page: HTML tables, SVG plots, pictures as data; words in both languages."""

from __future__ import annotations

from functools import singledispatch
from html import escape

import numpy as np

from convkit.catalogue import LANGUAGES, using
from convkit.cli.raster import coloured, data_uri
from convkit.scenes.figures import Lines, Picture, Plot, Series, Table, Text

COLOURS = ("#2166ac", "#d95f02", "#1b7837", "#762a83")
_WIDTH, _HEIGHT, _MARGIN = 560, 240, 44


def both(text: Text) -> str:
    """A text in every language, each in its own span; plain numbers and formulas stand alone."""
    if isinstance(text, str):
        return escape(text)
    spans = []
    for name in LANGUAGES:
        with using(name):
            spans.append(f'<span lang="{name}">{escape(str(text))}</span>')
    return "".join(spans)


@singledispatch
def drawn(figure: object) -> str:
    """One figure as HTML."""
    raise TypeError(f"{type(figure).__name__} is no figure")


@drawn.register
def _table(figure: Table) -> str:
    head = ""
    if figure.columns:
        corner = "<td></td>" if figure.names else ""
        head = f"<tr>{corner}{''.join(f'<th>{both(c)}</th>' for c in figure.columns)}</tr>"
    rows = []
    for r, row in enumerate(figure.rows):
        name = f"<th>{both(figure.names[r])}</th>" if figure.names else ""
        marks = (' class="mark"' if (r, c) in figure.marked else "" for c in range(len(row)))
        rows.append(
            f"<tr>{name}{''.join(f'<td{m}>{both(cell)}</td>' for m, cell in zip(marks, row, strict=True))}</tr>"
        )
    return f"<figure><figcaption>{both(figure.caption)}</figcaption><table>{head}{''.join(rows)}</table></figure>"


@drawn.register
def _lines(figure: Lines) -> str:
    return f"<figure><figcaption>{both(figure.caption)}</figcaption><pre>{escape(figure.text)}</pre></figure>"


@drawn.register
def _picture(figure: Picture) -> str:
    pixels = coloured(np.asarray(figure.pixels), figure.scale)
    height, width = pixels.shape[:2]
    factor = max(1, 256 // max(height, width))
    return (
        f'<figure><img alt="" width="{width * factor}" height="{height * factor}" src="{data_uri(pixels)}">'
        f"<figcaption>{both(figure.caption)}</figcaption></figure>"
    )


@drawn.register
def _plot(figure: Plot) -> str:
    xs = np.concatenate([series.x for series in figure.series])
    ys = np.concatenate([series.y for series in figure.series])
    left, right = float(xs.min()), float(xs.max())
    room = 0.6 if figure.style == "bar" else 0.0  # a bar is as wide as its place
    low, high = min(0.0, float(ys.min())), max(0.0, float(ys.max()))
    frame = _Frame(left, right if right > left else left + 1, low, high if high > low else low + 1, room)
    marks = [_MARKS[figure.style](series, frame, i, len(figure.series)) for i, series in enumerate(figure.series)]
    legend = " ".join(
        f'<span class="key"><i style="background:{COLOURS[i % 4]}"></i>{both(series.name)}</span>'
        for i, series in enumerate(figure.series)
    )
    return (
        f"<figure><figcaption>{both(figure.caption)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img">{frame.axes()}{"".join(marks)}</svg>'
        f'<div class="legend">{legend} {"→ " + both(figure.across) if figure.across else ""}</div></figure>'
    )


class _Frame:
    """From the numbers' coordinates to the drawing's."""

    def __init__(self, left: float, right: float, low: float, high: float, room: float) -> None:
        self.left, self.right, self.low, self.high, self.room = left, right, low, high, room

    def across(self, x: float) -> float:
        """Distance from the left edge."""
        share = (x - self.left + self.room) / (self.right - self.left + 2 * self.room)
        return _MARGIN + share * (_WIDTH - _MARGIN - 12)

    def down(self, y: float) -> float:
        """Distance from the upper edge."""
        return 12 + (self.high - y) / (self.high - self.low) * (_HEIGHT - 40)

    def axes(self) -> str:
        """The zero line, the upper and lower values, the first and last place."""
        zero = self.down(0.0)
        texts = [(_MARGIN - 6, self.down(v) + 4, "end", v) for v in {self.low, 0.0, self.high}]
        texts += [(self.across(v), _HEIGHT - 6, "middle", v) for v in (self.left, self.right)]
        return f'<line class="axis" x1="{_MARGIN}" x2="{_WIDTH - 12}" y1="{zero:.1f}" y2="{zero:.1f}"/>' + "".join(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{value:.4g}</text>' for x, y, anchor, value in texts
        )


def _line(series: Series, frame: _Frame, order: int, of: int) -> str:
    points = " ".join(f"{frame.across(x):.1f},{frame.down(y):.1f}" for x, y in zip(series.x, series.y, strict=True))
    return f'<polyline fill="none" stroke="{COLOURS[order % 4]}" stroke-width="1.6" points="{points}"/>'


def _stem(series: Series, frame: _Frame, order: int, of: int) -> str:
    colour, zero = COLOURS[order % 4], frame.down(0.0)
    parts = []
    for x, y in zip(series.x, series.y, strict=True):
        place, top = frame.across(x) + 5 * (order - (of - 1) / 2), frame.down(y)
        parts.append(
            f'<line stroke="{colour}" x1="{place:.1f}" x2="{place:.1f}" y1="{zero:.1f}" y2="{top:.1f}"/>'
            f'<circle fill="{colour}" cx="{place:.1f}" cy="{top:.1f}" r="3"/>'
        )
    return "".join(parts)


def _bar(series: Series, frame: _Frame, order: int, of: int) -> str:
    zero = frame.down(0.0)
    step = float(np.diff(series.x).min()) if series.x.size > 1 else 1.0
    width = 0.8 * (frame.across(step) - frame.across(0.0)) / of
    parts = []
    for x, y in zip(series.x, series.y, strict=True):
        top = frame.down(y)
        place = frame.across(x) + width * (order - of / 2)
        parts.append(
            f'<rect fill="{COLOURS[order % 4]}" x="{place:.1f}" y="{min(top, zero):.1f}" '
            f'width="{width:.1f}" height="{abs(zero - top):.1f}"/>'
        )
    return "".join(parts)


_MARKS = {"line": _line, "stem": _stem, "bar": _bar}
