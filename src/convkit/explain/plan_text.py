"""A planner's report in words: what was chosen, what it costs, and why the others were left out."""

from __future__ import annotations

from convkit.catalogue import say
from convkit.errors import OptionError
from convkit.planner.report import PlanReport, Row


def plan_text(plan: object) -> str:
    """The report of a plan as plain text.

    Parameters
    ----------
    plan : Plan or PlanReport
        From ``ck.plan`` or its ``.report()``.
    """
    return str(_report(plan))


def plan_markdown(plan: object) -> str:
    """The report of a plan as Markdown: one table of what applies, one list of what does not.

    Parameters
    ----------
    plan : Plan or PlanReport
        From ``ck.plan`` or its ``.report()``.
    """
    report = _report(plan)
    lines = [
        say("plan.problem", problem=f"`{report.problem}`"),
        "",
        say("plan.choice", choice=f"**{report.choice}**", why=report.why),
    ]
    columns = ("algorithm", "seconds", "measured", "flops", "bytes", "workspace", "bound", "schedule")
    names = [say("explain.plan.bytes") if name == "bytes" else say(f"plan.column.{name}") for name in columns]
    lines += ["", f"| {' | '.join(names)} |", "|---|" + "--:|" * 5 + "---|---|"]
    usable = [row for row in report.rows if row.why_not is None and row.cost is not None]
    lines += [f"| {' | '.join(_cells(row, report.choice))} |" for row in usable]
    left_out = [row for row in report.rows if row.why_not is not None]
    if left_out:
        lines += ["", say("explain.plan.left-out"), "", *(f"- {row.algorithm}: {row.why_not}" for row in left_out)]
    return "\n".join(lines) + "\n"


def _cells(row: Row, choice: str) -> list[str]:
    assert row.cost is not None
    name = f"**{row.algorithm}**" if row.algorithm == choice else row.algorithm
    measured = "" if row.measured is None else f"{row.measured:.3g}"
    cost = row.cost
    bound = str(row.bound).replace("|", "\\|").replace("*", "\\*")
    schedule = f"`{row.schedule}`" if row.schedule else ""
    times = f"{cost.seconds:.3g}", measured
    return [name, *times, f"{cost.flops:.3g}", f"{cost.bytes:.3g}", f"{cost.workspace}", bound, schedule]


def _report(plan: object) -> PlanReport:
    if isinstance(plan, PlanReport):
        return plan
    report = getattr(plan, "report", None)
    made = report() if callable(report) else None
    if not isinstance(made, PlanReport):
        raise OptionError("not-a-plan", value=type(plan).__name__)
    return made
