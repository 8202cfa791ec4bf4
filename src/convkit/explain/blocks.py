"""What an explanation consists of: paragraphs, tables and steps. Every renderer reads these and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convkit.catalogue import say
from convkit.explain.formula import STRIPS, formula, size_lines
from convkit.explain.numbers import number

if TYPE_CHECKING:
    from convkit.explain.explanation import Explanation
    from convkit.oracle import Grid, Step, Term

MOST_STEPS = 64
MOST_FACTORS = 12
SHOWN_FACTORS = 8
MOST_COLUMNS = 28


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Lines of prose."""

    lines: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": "paragraph", "lines": list(self.lines)}


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a heading for every column and a label for every row; empty cells are ``""``."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    total: str = ""
    """Label of the row below the line, if there is one: it is the last row."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "kind": "table",
            "caption": self.caption,
            "columns": list(self.columns),
            "rows": [[label, list(cells)] for label, cells in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Steps:
    """The arithmetic, one line an output."""

    caption: str
    lines: tuple[str, ...]
    after: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": "steps", "caption": self.caption, "lines": list(self.lines), "after": list(self.after)}


Block = Paragraph | Table | Steps


def blocks_of(explanation: Explanation) -> list[Block]:
    """The explanation in the language in force."""
    blocks: list[Block] = [_opening(explanation)]
    if explanation.spec.rank == 1 and explanation.spatial == 0:
        blocks += _hand_tables(explanation)
    elif explanation.spec.rank == 2 and explanation.spatial == 0:
        blocks += _planes(explanation)
    blocks.append(_steps(explanation))
    return blocks


def _opening(explanation: Explanation) -> Paragraph:
    spec = explanation.spec
    word = f"transposed-{spec.operation}" if spec.direction == "transposed" else spec.operation
    kernels = explanation.k.shape[explanation.spatial :]
    sizes = explanation.x.shape[explanation.spatial :]
    lines = [explanation.code, say(f"explain.operation.{word}")]
    lines.append(say(f"explain.flip.{'yes' if spec.operation == 'convolution' else 'no'}"))
    if spec.rank == 1 and explanation.spatial == 0 and kernels[0] <= MOST_COLUMNS:
        given = [number(value) for value in explanation.k.values]
        laid = list(reversed(given)) if spec.flips else given
        lines.append(say("explain.laid", given=" ".join(given), laid=" ".join(laid)))
    lines.append(formula(spec, kernels, "bias" if explanation.bias is not None else None))
    for axis, line in enumerate(size_lines(spec, sizes, kernels)):
        lines.append(say("explain.size", axis=axis, line=line))
    if spec.direction == "forward":
        for name in dict.fromkeys(name for sides in spec.boundary for name in sides):
            lines.append(say("explain.beyond", name=name, strip=STRIPS[name]))
    return Paragraph(tuple(lines))


def _hand_tables(explanation: Explanation) -> list[Block]:
    """The shifted rows added in columns, and the strip that slides."""
    window = explanation.windows[0]
    steps = explanation.steps
    if not steps or len(steps) > MOST_COLUMNS or window.span > MOST_COLUMNS or window.kernel > MOST_COLUMNS:
        return [Paragraph((say("explain.tables-too-wide", most=MOST_COLUMNS),))]
    by_element: dict[int, dict[int, Term]] = {}
    for step in steps:
        for term in step.terms:
            by_element.setdefault(term.kernel[0], {})[step.output[0]] = term
    columns = tuple(str(step.output[0]) for step in steps)
    rows = [
        (f"k[{j}] = {number(explanation.k[(j,)])}",
         tuple(_product(explanation, steps[i], by_element[j].get(i)) for i in range(len(steps))))
        for j in sorted(by_element)
    ]  # fmt: skip
    total = say("explain.sum")
    rows.append((total, tuple(number(step.value) for step in steps)))
    shifted = Table(say("explain.shifted-rows"), columns, tuple(rows), total)
    return [shifted, _strip(explanation)]


def _product(explanation: Explanation, step: Step, term: Term | None) -> str:
    if term is None or term.source == "zero":
        return ""
    product = number(term.product)
    return f"[{product}]" if explanation.outside(step, term.kernel) else product


def _strip(explanation: Explanation) -> Table:
    """Each output as the kernel laid under the positions it meets."""
    window = explanation.windows[0]
    places = range(min(window.first, 0), max(window.last, window.size - 1) + 1)
    standing: dict[int, str] = {p: number(explanation.x[(p,)]) for p in places if 0 <= p < window.size}
    rows: list[tuple[str, tuple[str, ...]]] = []
    for step in explanation.steps:
        under: dict[int, str] = {}
        for term in step.terms:
            place = explanation.positions(step, term.kernel)[0]
            under[place] = number(term.k)
            standing.setdefault(place, "[0]" if term.source == "zero" else f"[{number(term.x)}]")
        cells = tuple(under.get(place, "") for place in places)
        rows.append((f"out[{step.output[0]}]", (*cells, number(step.value))))
    top = ("x", (*(standing.get(place, "") for place in places), ""))
    columns = (*(str(place) for place in places), say("explain.sum"))
    return Table(say("explain.strip"), columns, (top, *rows))


def _planes(explanation: Explanation) -> list[Block]:
    """Input, kernel as it lies, and result, as tables."""
    tables: list[Block] = []
    for name, grid in (("input", explanation.x), ("laid-kernel", explanation.k), ("result", None)):
        shape = explanation.trace.shape if grid is None else grid.shape
        if max(shape, default=0) > MOST_COLUMNS or 0 in shape:
            tables.append(
                Paragraph(
                    (say("explain.plane-too-large", what=say(f"explain.{name}"), shape=" x ".join(map(str, shape))),)
                )
            )
            continue
        flips = name == "laid-kernel" and explanation.spec.flips
        rows = [_row(explanation, grid, shape, r, flips) for r in range(shape[0])]
        columns = tuple(str(column) for column in range(shape[1]))
        tables.append(Table(say(f"explain.{name}"), columns,
                            tuple((str(r), tuple(number(v) for v in row)) for r, row in enumerate(rows))))  # fmt: skip
    return tables


def _row(explanation: Explanation, grid: Grid | None, shape: tuple[int, ...], row: int, flips: bool) -> list[Any]:
    if grid is None:
        return [step.value for step in explanation.steps[row * shape[1] : (row + 1) * shape[1]]]
    if flips:
        return [grid[shape[0] - 1 - row, shape[1] - 1 - column] for column in range(shape[1])]
    return [grid[row, column] for column in range(shape[1])]


def _steps(explanation: Explanation) -> Steps:
    shown = explanation.steps[:MOST_STEPS]
    lines = tuple(step_line(explanation, step) for step in shown)
    after: list[str] = []
    if any(explanation.outside(step, term.kernel) for step in shown for term in step.terms):
        after.append(say("explain.brackets"))
    if len(explanation.steps) > len(shown):
        after.append(say("explain.more-outputs", count=len(explanation.steps) - len(shown)))
    return Steps(say("explain.steps"), lines, tuple(after))


def step_line(explanation: Explanation, step: Step) -> str:
    """One output's arithmetic: ``out[2] = 1*3 + 2*2 + 3*1 = 10``; what stands outside is in brackets."""
    where = ", ".join(map(str, step.output))
    shown = step.terms if len(step.terms) <= MOST_FACTORS else step.terms[:SHOWN_FACTORS]
    parts: list[str] = []
    for term in shown:
        sample = number(term.x)
        if explanation.outside(step, term.kernel):
            sample = f"[{sample}]"
        parts.append(f"{_signed(sample)}*{_signed(number(term.k))}")
    if len(shown) < len(step.terms):
        parts.append(say("explain.more-terms", count=len(step.terms) - len(shown)))
    if step.bias is not None:
        parts.append(_signed(number(step.bias)))
    return f"out[{where}] = {' + '.join(parts) or '0'} = {number(step.value)}"


def _signed(text: str) -> str:
    return f"({text})" if text.startswith("-") else text
