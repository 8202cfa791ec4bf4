"""One output as a picture: the input with its window, the kernel as it lies, the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from convkit.catalogue import language, say
from convkit.errors import ShapeError, by
from convkit.explain.blocks import step_line
from convkit.explain.numbers import number

if TYPE_CHECKING:
    from convkit.explain.explanation import Explanation
    from convkit.oracle import Step

CELL_WIDTH, CELL_HEIGHT, GAP = 44, 28, 36
MOST_CELLS = 40
Cells = Mapping[tuple[int, int], tuple[str, str]]
"""Text and kind ("plain", "window", "outside", "output") of each cell, by row and column."""

_STYLE = (
    ".cell{fill:none;stroke:#767676}.window{fill:#f2a65a;fill-opacity:.45}.output{fill:#5a9bf2;fill-opacity:.45}"
    ".outside{stroke-dasharray:4 3}.outwin{fill:#f2a65a;fill-opacity:.25;stroke-dasharray:4 3}"
    "text{font:13px ui-monospace,monospace;fill:#1a1a1a}"
    "@media(prefers-color-scheme:dark){text{fill:#eaeaea}}"
)


def svg(explanation: Explanation, output: Sequence[int] | None = None) -> str:
    """The picture of ``output``, by default the first whose window lies inside the array.

    Raises
    ------
    ShapeError
        ``shape.no-such-cell``: there is no such output.
    """
    step = _step(explanation, output)
    grids = [] if step is None else _grids(explanation, step)
    x, height = 10, 0
    body: list[str] = []
    for title, cells in grids:
        rows, columns = [r for r, _ in cells], [c for _, c in cells]
        body.append(f'<text x="{x}" y="18">{escape(title)}</text>')
        for (row, column), (text, kind) in cells.items():
            left = x + (column - min(columns)) * CELL_WIDTH
            top = 28 + (row - min(rows)) * CELL_HEIGHT
            body.append(
                f'<rect class="cell {kind}" x="{left}" y="{top}" width="{CELL_WIDTH}" height="{CELL_HEIGHT}"/>'
                f'<text x="{left + CELL_WIDTH / 2:g}" y="{top + 19}" text-anchor="middle">{escape(text)}</text>'
            )
        height = max(height, 28 + (max(rows) - min(rows) + 1) * CELL_HEIGHT)
        wide = max((max(columns) - min(columns) + 1) * CELL_WIDTH, 9 * len(title))
        x += wide + GAP
    line = say("explain.nothing-to-show") if step is None else step_line(explanation, step)
    body.append(f'<text x="10" y="{height + 28}">{escape(line)}</text>')
    width = max(x, 20 + 8 * len(line))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" lang="{language()}" viewBox="0 0 {width} {height + 40}" '
        f'width="{width}" height="{height + 40}"><title>{escape(explanation.code)}</title>'
        f"<desc>{escape(line)}</desc><style>{_STYLE}</style>{''.join(body)}</svg>"
    )


def _step(explanation: Explanation, output: Sequence[int] | None) -> Step | None:
    if output is not None:
        try:
            return explanation.trace[tuple(output)]
        except KeyError:
            raise ShapeError("no-such-cell", output=by(tuple(output)), shape=by(explanation.trace.shape)) from None
    inside = (s for s in explanation.steps if not any(explanation.outside(s, t.kernel) for t in s.terms))
    return next(inside, explanation.steps[0] if explanation.steps else None)


def _grids(explanation: Explanation, step: Step) -> list[tuple[str, Cells]]:
    """Input, kernel and output as cells; with more than two axes, the plane that the first term lies in."""
    names = (say("explain.input"), say("explain.laid-kernel"), say("explain.result"))
    rank, lead = min(explanation.spec.rank, 2), explanation.spatial
    inputs: dict[tuple[int, int], tuple[str, str]] = {}
    kernels: dict[tuple[int, int], tuple[str, str]] = {}
    skipped = explanation.spec.rank - rank
    first = step.terms[0].kernel if step.terms else ()
    places: set[tuple[int, int]] = set()
    for term in step.terms:
        if term.kernel[: lead + skipped] != first[: lead + skipped]:
            continue
        place = _pair(explanation.positions(step, term.kernel)[skipped:])
        outside = explanation.outside(step, term.kernel)
        places.add(place)
        if outside:
            inputs[place] = (number(term.x), "outwin")
        laid = [
            window.kernel - 1 - j if explanation.spec.flips else j
            for window, j in zip(explanation.windows, term.kernel[lead:], strict=True)
        ]
        kernels[_pair(laid[skipped:])] = (number(term.k), "window")
    source = next((t.source for t in step.terms if not isinstance(t.source, str)), None)
    plane = source[: lead + skipped] if source is not None else (0,) * (lead + skipped)
    for index in explanation.x.indices():
        if index[: lead + skipped] == plane:
            place = _pair(index[lead + skipped :])
            inputs[place] = (number(explanation.x[index]), "window" if place in places else "plain")
    outputs = {
        _pair(other.output[lead + skipped :]): (number(other.value), "output" if other is step else "plain")
        for other in explanation.steps
        if other.output[: lead + skipped] == step.output[: lead + skipped]
    }
    marks = (("window", "outwin"), ("window",), ("output",))
    planes = zip(names, (inputs, kernels, outputs), marks, strict=True)
    return [(name, _near(grid, kinds)) for name, grid, kinds in planes if grid]


def _pair(index: Sequence[int]) -> tuple[int, int]:
    return (0, index[0]) if len(index) == 1 else (index[0], index[1])


def _near(cells: Cells, kinds: Sequence[str]) -> Cells:
    """The cells around the marked ones, so that the picture of a large array stays readable."""
    marked = [place for place, (_, kind) in cells.items() if kind in kinds] or list(cells)
    row, column = min((r for r, _ in marked), default=0), min((c for _, c in marked), default=0)
    rows, columns = min((r for r, _ in cells), default=0), min((c for _, c in cells), default=0)
    top, left = max(rows, row - MOST_CELLS // 4), max(columns, column - MOST_CELLS // 4)
    return {
        (r, c): cell for (r, c), cell in cells.items() if top <= r < top + MOST_CELLS and left <= c < left + MOST_CELLS
    }
