"""Showing what was measured: a table for people, a document for programs."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from rich.table import Table

from convkit.catalogue import say
from convkit.cli.bench.classes import NEEDED, behind, of_peak, standings
from convkit.cli.bench.measurement import Outcome
from convkit.cli.bench.problems import Problem
from convkit.cli.bench.results import duration, surroundings
from convkit.planner.machine import Machine

BEHIND = 0.9
"""The ratio below which a problem is listed as lost."""


def table(outcomes: list[Outcome]) -> Table:
    """A row for each problem: our time and rates, the best peer's time, the ratio, the part of the bound reached."""
    shown = Table(title=say("bench.title"))
    for column in ("problem", "ours", "flops", "bytes", "best", "peer", "ratio", "fraction"):
        side = "left" if column in ("problem", "best") else "right"
        shown.add_column(say(f"bench.column.{column}"), justify=side, no_wrap=side == "right")
    suite = ""
    for outcome in outcomes:
        if suite and outcome.problem.suite != suite:
            shown.add_section()
        suite = outcome.problem.suite
        shown.add_row(*_row(outcome))
    return shown


def _row(outcome: Outcome) -> tuple[str, ...]:
    best, ratio = outcome.best_peer, outcome.ratio
    colour = "green" if ratio is not None and ratio >= 1 else "yellow"
    return (
        outcome.problem.name,
        duration(outcome.ours.seconds),
        f"{outcome.flops / 1e9:.3g}",
        f"{outcome.bytes / 1e9:.3g}",
        "-" if best is None else best.name,
        "-" if best is None else duration(best.seconds),
        "-" if ratio is None else f"[{colour}]{ratio:.2f}x[/]",
        f"{outcome.fraction:.0%}",
    )


def losers(outcomes: list[Outcome]) -> list[str]:
    """Sentences: the worst ratio, and the problems on which a peer is clearly ahead, worst first, and by what."""
    known = sorted((outcome for outcome in outcomes if outcome.ratio is not None), key=lambda o: o.ratio or 0.0)
    if not known:
        return [say("bench.no-peer")]
    behind = [outcome for outcome in known if (outcome.ratio or 0.0) < BEHIND]
    worst = known[0]
    lines = [
        say(
            "bench.worst", ratio=f"{worst.ratio:.2f}", problem=worst.problem.name, algorithm=worst.algorithm or "-",
            count=len(behind), all=len(known), limit=BEHIND,
        )
    ]  # fmt: skip
    for outcome in behind:
        assert outcome.best_peer is not None
        lines.append(
            say(
                "bench.loser", ratio=f"{outcome.ratio:.2f}", problem=outcome.problem.name,
                algorithm=outcome.algorithm or "-", ours=duration(outcome.ours.seconds),
                peer=outcome.best_peer.name, theirs=duration(outcome.best_peer.seconds),
            )
        )  # fmt: skip
    return lines


def classes_table(outcomes: list[Outcome]) -> Table:
    """A row for each class of layers: the mean of the ratios, what it should be, and the worst."""
    shown = Table(title=say("bench.classes.title"))
    for column in ("class", "count", "mean", "wished", "worst", "behind"):
        shown.add_column(say(f"bench.classes.{column}", limit=NEEDED), justify="left" if column == "class" else "right")
    for one in standings(outcomes):
        colour = "green" if one.mean >= one.wished else "yellow"
        shown.add_row(
            say(f"bench.class.{one.name}"), str(one.count), f"[{colour}]{one.mean:.2f}x[/]", f"{one.wished:.2f}x",
            f"{one.worst:.2f}x", str(one.behind),
        )  # fmt: skip
    return shown


def layers_behind(outcomes: list[Outcome], peak: float) -> list[str]:
    """Sentences: the part of the peak that dense layers reach, and the layers that are clearly behind, worst first."""
    parts = of_peak(outcomes, peak)
    lines = [
        say("bench.peak", direction=say(f"bench.direction.{name}"), part=f"{part:.0%}") for name, part in parts.items()
    ]
    return lines + [
        say(
            "bench.behind", ratio=f"{race.ratio:.2f}", layer=race.name, ours=duration(race.ours),
            theirs=duration(race.theirs),
        )
        for race in behind(outcomes)
    ]  # fmt: skip


def document(outcomes: list[Outcome], rounds: int, threads: int, machine: Machine) -> dict[str, Any]:
    """Everything measured, and what it was measured with, ready for JSON."""
    return {
        **surroundings(rounds, threads, machine),
        "classes": [asdict(one) for one in standings(outcomes)],
        "fraction_of_peak": of_peak(outcomes, machine.matrix),
        "behind": [{**asdict(race), "ratio": race.ratio} for race in behind(outcomes)],
        "results": [_result(outcome) for outcome in outcomes],
    }


def _result(outcome: Outcome) -> dict[str, Any]:
    best = outcome.best_peer
    return {
        "suite": outcome.problem.suite,
        "name": outcome.problem.name,
        "problem": _said(outcome.problem),
        "algorithm": outcome.algorithm,
        "bound_seconds": outcome.bound,
        "flops": outcome.problem.flops,
        "bytes": outcome.problem.bytes,
        "flops_per_second": outcome.flops,
        "bytes_per_second": outcome.bytes,
        "ours": outcome.ours.name,
        "best_peer": None if best is None else best.name,
        "ratio": outcome.ratio,
        "ratios": outcome.ratios,
        "fraction_of_bound": outcome.fraction,
        "could_not": outcome.failures,
        "timings": [asdict(timing) for timing in outcome.timings],
    }


def _said(problem: Problem) -> dict[str, Any]:
    """The fields of a problem that are not what they are unless somebody says so."""
    return {
        field.name: getattr(problem, field.name)
        for field in fields(problem)
        if getattr(problem, field.name) != field.default
    }
