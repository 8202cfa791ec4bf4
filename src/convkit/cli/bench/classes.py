"""What the layers come to: geometric means of the ratios, for each class of layers and each peer that counts there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from convkit.cli.bench.measurement import Outcome, Timing
from convkit.cli.bench.problems import Problem

Fastest = Callable[[Timing], bool]

NEEDED = 0.9
"""The ratio that every single layer should reach."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a class of layers stands.

    Attributes
    ----------
    name : str
        The class, as the catalogue knows it below ``bench.class``.
    mean : float
        Geometric mean of the ratios: the peer's time over convkit's.
    worst : float
        The smallest of them.
    behind : int
        How many are below `NEEDED`.
    count : int
        How many layers it has.
    wished : float
        What the mean should be at least.
    """

    name: str
    mean: float
    worst: float
    behind: int
    count: int
    wished: float


@dataclass(frozen=True, slots=True)
class Race:
    """One layer, or one layer with its gradients, against one set of peers: seconds of either."""

    name: str
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """The peer's time over convkit's."""
        return self.theirs / self.ours


def standings(outcomes: list[Outcome]) -> list[Standing]:
    """Every class that has at least one layer among these outcomes."""
    single = [o for o in outcomes if o.problem.kind == "layer" and o.problem.dtype == "float32"]
    forward = [o for o in single if o.problem.direction == "forward"]
    whole = _with_gradients(single)
    doubles = [o for o in outcomes if o.problem.kind == "layer" and o.problem.dtype == "float64"]
    rows: list[tuple[str, Iterable[Race | None], float]] = [
        ("dense-forward", (_best(o) for o in forward if _dense(o.problem)), 1.15),
        ("winograd-forward", (_best(o) for o in forward if _winograd(o.problem)), 1.4),
        ("channels-first-forward", (_first(o) for o in forward), 2.0),
        ("grouped-forward", (_best(o) for o in forward if o.problem.groups > 1), 1.5),
        ("training", (_against(group, "better") for group in whole), 1.4),
        ("training-channels-first", (_against(group, "first") for group in whole), 2.5),
        ("training-depthwise", (_against(g, "better") for g in whole if g[0].problem.groups > 1), 2.5),
        ("training-few-channels", (_against(g, "better") for g in whole if _few(g[0].problem)), 2.5),
        ("training-1x1", (_against(g, "better") for g in whole if set(g[0].problem.taps) == {1}), 1.2),
        ("float64", (_best(o) for o in doubles), 3.0),
    ]
    found = [(name, [race for race in races if race is not None], wished) for name, races, wished in rows]
    return [_standing(name, races, wished) for name, races, wished in found if races]


def behind(outcomes: list[Outcome]) -> list[Race]:
    """The layers below `NEEDED`, worst first: forward against everybody, with gradients against torch's better one."""
    single = [o for o in outcomes if o.problem.kind == "layer" and o.problem.dtype == "float32"]
    races = [_best(o) for o in single if o.problem.direction == "forward"]
    races += [_against(group, "better") for group in _with_gradients(single)]
    slow = [race for race in races if race is not None and race.ratio < NEEDED]
    return sorted(slow, key=lambda race: race.ratio)


def of_peak(outcomes: list[Outcome], peak: float) -> dict[str, float]:
    """For each direction the geometric mean of the part of the peak that dense layers of 64 channels or more reach."""
    parts: dict[str, list[float]] = {}
    for o in outcomes:
        problem = o.problem
        if problem.kind == "layer" and problem.dtype == "float32" and _dense(problem) and _wide(problem, 64):
            parts.setdefault(problem.direction, []).append(o.flops / peak)
    return {direction: _mean(values) for direction, values in parts.items()}


def _standing(name: str, races: list[Race], wished: float) -> Standing:
    ratios = [race.ratio for race in races]
    slow = sum(ratio < NEEDED for ratio in ratios)
    return Standing(name, _mean(ratios), min(ratios), slow, len(ratios), wished)


def _mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _fastest(outcome: Outcome, wished: Fastest) -> float | None:
    return min((timing.seconds for timing in outcome.timings if wished(timing)), default=None)


def _race(name: str, ours: float | None, theirs: float | None) -> Race | None:
    return None if ours is None or theirs is None else Race(name, ours, theirs)


def _best(outcome: Outcome) -> Race | None:
    """Against everybody, in whatever layout."""
    peer = outcome.best_peer
    return _race(outcome.problem.name, outcome.ours.seconds, None if peer is None else peer.seconds)


def _ours_first(timing: Timing) -> bool:
    return timing.library == "convkit" and "last" not in timing.name


def _torch_first(timing: Timing) -> bool:
    return timing.library == "torch" and "last" not in timing.name


def _torch_last(timing: Timing) -> bool:
    return timing.library == "torch" and "last" in timing.name


def _first(outcome: Outcome) -> Race | None:
    """Channels first against torch with channels first."""
    return _race(outcome.problem.name, _fastest(outcome, _ours_first), _fastest(outcome, _torch_first))


def _with_gradients(outcomes: list[Outcome]) -> list[list[Outcome]]:
    """The outcomes of each layer whose output and both gradients were measured."""
    groups: dict[Problem, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(replace(outcome.problem, direction="forward"), []).append(outcome)
    return [group for group in groups.values() if len({o.problem.direction for o in group}) == 3]


def _against(group: list[Outcome], layout: str) -> Race | None:
    """All three together against torch in one layout throughout: with channels first, or in the better of both."""

    def total(wished: Fastest) -> float | None:
        seconds = [_fastest(outcome, wished) for outcome in group]
        return None if None in seconds else math.fsum(value for value in seconds if value is not None)

    first, last = total(_torch_first), total(_torch_last)
    if layout == "first":
        ours, theirs = total(_ours_first), first
    else:
        ours = min(filter(None, (total(_ours_first), total(_ours_last))), default=None)
        theirs = min(filter(None, (first, last)), default=None)
    return _race(f"{group[0].problem.name} +gradients", ours, theirs)


def _ours_last(timing: Timing) -> bool:
    return timing.library == "convkit" and "last" in timing.name


def _dense(problem: Problem) -> bool:
    return problem.groups == 1


def _wide(problem: Problem, channels: int) -> bool:
    return min(problem.shape[1], problem.output[1]) >= channels


def _few(problem: Problem) -> bool:
    return problem.shape[1] <= 4


def _winograd(problem: Problem) -> bool:
    return (
        _dense(problem) and _wide(problem, 64) and set(problem.taps) == {3} and len(problem.taps) == 2
        and problem.stride == problem.dilation == 1 and problem.form == "conv"
    )  # fmt: skip
