"""Curves of a run as SVG inside the page; colours that can be seen on light and on dark paper, numbers and no words."""

from __future__ import annotations

import io
from collections.abc import Sequence

from convkit.cli.draw import COLOURS
from convkit.errors import MissingExtraError

_INK = "#808890"


def curves(series: Sequence[tuple[Sequence[float], Sequence[float]]], *, scale: str = "linear") -> str:
    """Lines over a common axis.

    Parameters
    ----------
    series : sequence of (x, y)
        The lines; the first has the first of `draw.COLOURS`, and so on.
    scale : {"linear", "log"}
        Of the upright axis.

    Raises
    ------
    MissingExtraError
        ``missing.plots``.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plots") from error
    # A fixed salt and no date: the same run draws the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "convkit", "font.size": 9}):
        figure = Figure(figsize=(4.8, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for i, (x, y) in enumerate(series):
            axes.plot(x, y, color=COLOURS[i % len(COLOURS)], linewidth=1.4, marker="." if len(x) < 40 else "")
        axes.set_yscale(scale)
        axes.grid(color=_INK, alpha=0.25, linewidth=0.6)
        axes.tick_params(colors=_INK, which="both")
        for side in axes.spines.values():
            side.set_color(_INK)
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    whole = stream.getvalue()
    return whole[whole.index("<svg") :]
