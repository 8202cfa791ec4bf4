"""``convkit bench networks``: whole networks, used and trained, against everybody who can."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from convkit.catalogue import say
from convkit.cli.bench.measurement import Raced, fit_to_race, raced
from convkit.cli.bench.networks import Network, networks
from convkit.cli.bench.peers import Contender, threads
from convkit.cli.bench.results import duration, surroundings, write
from convkit.cli.bench.ways.way import Results

LONGEST = 12.0
"""Seconds after which no further round of a network is begun."""

ALLOWED = {"inference": 1e-3, "training": 0.1}
"""How far scores may be from those in float64, as a part of the largest; and gradients, all of them as one vector.

A ResNet-50 with the weights that it starts from, and batch norms over two pictures, makes 0.03 to 0.04 of the roundings
of torch's own float32, in either layout."""

WISHED = {"resnet18": 1.4, "resnet50": 1.15, "mobilenet_v2": 1.2, "vgg16": 1.4}
"""The ratio to the best of all peers that predictions should reach."""

WISHED_STEP = {"better": 1.5, "first": 2.2}
"""The ratio that steps should reach to torch in its better layout, and to torch with channels first."""


@dataclass(frozen=True, slots=True)
class NetworkOutcome(Raced):
    """What came of one network."""

    network: Network

    @property
    def ratio_to_channels_first(self) -> float | None:
        """How many times as fast as torch with channels first."""
        first = [timing.seconds for timing in self.timings if timing.name == "torch channels first"]
        return first[0] / self.ours.seconds if first else None


@dataclass(frozen=True, slots=True)
class Summary:
    """A geometric mean over the batches of a network, and what it should be."""

    name: str
    mean: float
    wished: float


def measure(
    chosen: Sequence[Network],
    rounds: int,
    count: int,
    done: Callable[[NetworkOutcome], None] = lambda outcome: None,
    longest: float = LONGEST,
) -> list[NetworkOutcome]:
    """Measure networks one after another; ``done`` hears of each.

    Raises
    ------
    AccuracyError
        ``accuracy.bench-wrong``: somebody's scores or gradients are not what they should be.
    """
    from convkit.cli.bench.ways.by_networks import Ready, contenders

    outcomes: list[NetworkOutcome] = []
    with threads(count):
        for network in chosen:
            ready = Ready(network)
            right = ready.right()
            absent: dict[str, str] = {}
            field, failures = fit_to_race(
                contenders(ready, absent),
                lambda entrant, result, network=network, right=right: judged(network, entrant, result, right),
            )
            outcomes.append(NetworkOutcome(raced(field, rounds, longest), absent | failures, network))
            del field, ready
            gc.collect()
            done(outcomes[-1])
    return outcomes


def judged(network: Network, entrant: Contender, results: Results, right: np.ndarray) -> float:
    """How far a result is from what it should be."""
    from convkit.errors import AccuracyError

    (result,) = results
    error = math.inf
    if result.shape == right.shape:
        wide = result.astype(np.float64) - right
        if network.use == "inference":
            error = float(np.abs(wide).max() / np.abs(right).max())
        else:
            error = float(np.linalg.norm(wide) / np.linalg.norm(right.astype(np.float64)))
    allowed = ALLOWED[network.use]
    if not error <= allowed:
        raise AccuracyError(
            "bench-wrong", contender=entrant.name, problem=network.name, error=f"{error:.3g}", allowed=allowed,
            shape=result.shape, dtype=result.dtype,
        )  # fmt: skip
    return error


def summaries(outcomes: Sequence[NetworkOutcome]) -> list[Summary]:
    """For each network the predictions against everybody; for all together the steps against torch."""
    found: list[Summary] = []
    for model, wished in WISHED.items():
        ratios = [o.ratio for o in outcomes if o.network.model == model and o.network.use == "inference" and o.ratio]
        if ratios:
            found.append(Summary(model, _mean(ratios), wished))
    steps = [o for o in outcomes if o.network.use == "training"]
    better, first = [o.ratio for o in steps if o.ratio], [o.ratio_to_channels_first for o in steps]
    if better:
        found.append(Summary("training", _mean(better), WISHED_STEP["better"]))
        found.append(Summary("training-channels-first", _mean([r for r in first if r]), WISHED_STEP["first"]))
    return found


def _mean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def document(outcomes: Sequence[NetworkOutcome]) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    return {
        "summary": [asdict(one) for one in summaries(outcomes)],
        "results": [
            {
                "name": o.network.name,
                "network": asdict(o.network),
                "ours": o.ours.name,
                "best_peer": None if o.best_peer is None else o.best_peer.name,
                "ratio": o.ratio,
                "ratios": o.ratios,
                "ratio_to_channels_first": o.ratio_to_channels_first,
                "flops_per_second": o.network.flops / o.ours.seconds,
                "could_not": o.failures,
                "timings": [asdict(timing) for timing in o.timings],
            }
            for o in outcomes
        ],
    }


def table(outcomes: Sequence[NetworkOutcome]) -> Table:
    """A row for each network: our time, everybody's, and the ratio to the best of them."""
    shown = Table(title=say("bench.networks.title"))
    for column in ("network", "ours", "flops", "best", "peer", "ratio", "others"):
        shown.add_column(
            say(f"bench.networks.{column}"), justify="left" if column in ("network", "others") else "right"
        )
    for outcome in outcomes:
        best, ratio = outcome.best_peer, outcome.ratio
        others = [f"{one.name} {duration(one.seconds)}" for one in outcome.timings if one.name != outcome.ours.name]
        others += [f"{name}: {why}" for name, why in outcome.failures.items()]
        shown.add_row(
            outcome.network.name, duration(outcome.ours.seconds),
            f"{outcome.network.flops / outcome.ours.seconds / 1e9:.3g}",
            "-" if best is None else best.name, "-" if best is None else duration(best.seconds),
            "-" if ratio is None else f"{ratio:.2f}x", "\n".join(others),
        )  # fmt: skip
    return shown


def sentences(outcomes: Sequence[NetworkOutcome]) -> list[str]:
    """Sentences: the mean ratios, and what they should be."""
    return [
        say("bench.networks.mean", what=say(f"bench.networks.{one.name}"), mean=f"{one.mean:.2f}", wished=one.wished)
        for one in summaries(outcomes)
    ]


def race(only: str, rounds: int, count: int, out: Path | None) -> None:
    """What the command does: measure, show, write."""
    from convkit.cli.bench.bound import steady_rates
    from convkit.errors import OptionError
    from convkit.planner import machine

    chosen = [network for network in networks() if only in network.name]
    if not chosen:
        raise OptionError("bench-nothing", match=only, suites="networks")
    console = Console()
    rates = steady_rates()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(say("bench.measuring"), total=len(chosen))

        def done(outcome: NetworkOutcome) -> None:
            progress.advance(task)
            progress.update(task, description=outcome.network.name)

        outcomes = measure(chosen, rounds, count, done)
    console.print(table(outcomes))
    for line in sentences(outcomes):
        console.print(line)
    console.print(say("bench.networks.footnote", threads=count, cpu=machine.cpu_name()))
    if out is not None:
        write(out, {**surroundings(rounds, count, rates), **document(outcomes)})
        console.print(say("bench.written", path=out))
