"""The planner's reasons, as data: every algorithm, what it would cost, or why it was left out."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from convkit.catalogue import say, width
from convkit.planner.algorithm import Cost, ErrorBound, Reason
from convkit.planner.problem import Problem


@dataclass(frozen=True, slots=True)
class Row:
    """One algorithm in a report.

    Attributes
    ----------
    algorithm : str
        Its name.
    why_not : Reason or None
        Why it was left out; None if it could have been taken.
    cost, bound : Cost, ErrorBound or None
        Its prediction, where it applies.
    measured : float or None
        Seconds, where ``method="measure"`` timed it.
    schedule : str or None
        How its loops are laid out for this problem, where it says so.
    """

    algorithm: str
    why_not: Reason | None
    cost: Cost | None = None
    bound: ErrorBound | None = None
    measured: float | None = None
    schedule: str | None = None


@dataclass(frozen=True, slots=True)
class PlanReport:
    """The whole table for one problem, and the choice that was made from it."""

    problem: Problem
    choice: str
    why: Reason
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, object]:
        """The report as plain data, for programs."""
        return {
            "problem": str(self.problem),
            "choice": self.choice,
            "why": str(self.why),
            "algorithms": [
                {
                    "algorithm": row.algorithm,
                    "why_not": None if row.why_not is None else str(row.why_not),
                    "cost": None if row.cost is None else asdict(row.cost),
                    "bound": None if row.bound is None else asdict(row.bound),
                    "measured_seconds": row.measured,
                    "schedule": row.schedule,
                }
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        lines = [
            say("plan.problem", problem=self.problem),
            say("plan.choice", choice=self.choice, why=self.why),
        ]
        columns = ["algorithm", "seconds", "measured", "flops", "workspace", "bound"]
        if any(row.schedule for row in self.rows):
            columns.append("schedule")
        table = [[say(f"plan.column.{column}") for column in columns]]
        for row in self.rows:
            if row.cost is None or row.why_not is not None:
                continue
            measured = "" if row.measured is None else _seconds(row.measured)
            mark = "*" if row.algorithm == self.choice else " "
            table.append(
                [mark + row.algorithm, _seconds(row.cost.seconds), measured, f"{row.cost.flops:.3g}",
                 _bytes(row.cost.workspace), str(row.bound), row.schedule or ""][: len(columns)]
            )  # fmt: skip
        widths = [max(width(line[i]) for line in table) for i in range(len(columns))]
        for line in table:
            cells = (cell + " " * (size - width(cell)) for cell, size in zip(line, widths, strict=True))
            lines.append(("  " + "  ".join(cells)).rstrip())
        lines += [f"   {row.algorithm}: {row.why_not}" for row in self.rows if row.why_not is not None]
        return "\n".join(lines)


def _seconds(value: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def _bytes(count: int) -> str:
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"
