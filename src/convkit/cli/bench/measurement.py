"""Measuring: everybody checked first, then timed in turn, round after round, in one process on the same arrays."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from convkit.cli.bench.bound import bound
from convkit.cli.bench.chosen import algorithm_of
from convkit.cli.bench.peers import Contender, contenders, threads
from convkit.cli.bench.problems import Problem
from convkit.cli.bench.truth import check, expected
from convkit.cli.bench.ways.way import Results, Run
from convkit.planner.machine import Machine

SAMPLE = 0.002
"""Seconds that one sample lasts at least; a shorter run is repeated within it."""

PATIENCE = 20.0
"""How many times slower than the fastest a contender may be and still take part in every round."""

FEWEST = 3
"""Rounds that every problem has, however long they take."""

RUN_UP = 0.01
"""Seconds that a library, or another team of its threads, runs untimed when its turn comes: threads of others that wait
awake have given up by then.

OpenMP's, which are torch's, do so for 7 ms on two cores, and whoever ran in that time took nearly twice as long.
Resting as long instead lets the cores themselves fall asleep, and whoever comes then takes as much longer. ONNX
Runtime's threads wait awake for 36 ms, so that one run at least goes untimed.
"""

LONG, REST = 0.5, 0.05
"""Seconds of a run from which no such run is made, but a rest of so many: what is left of others is no matter then."""

SLOW = 0.2
"""Seconds of a first run from which a contender that is far behind is not run again."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one contender took.

    Attributes
    ----------
    library, name : str
        Whose way, and which.
    seconds : float
        Median over the rounds.
    low, high : float
        Quartiles.
    samples : int
        Rounds taken part in; 1 for a contender left out of the rounds because it was far behind.
    error : float
        Largest error of its result, as a part of the largest possible sum.
    """

    library: str
    name: str
    seconds: float
    low: float
    high: float
    samples: int
    error: float


@dataclass(frozen=True, slots=True)
class Raced:
    """Everybody's timing, convkit's first, and why others took no part."""

    timings: tuple[Timing, ...]
    failures: dict[str, str]

    @property
    def ours(self) -> Timing:
        """The timing of convkit: of its fastest call, as of the peers."""
        own = [timing for timing in self.timings if timing.library == "convkit"]
        return min(own, key=lambda timing: timing.seconds)

    @property
    def best_peer(self) -> Timing | None:
        """The fastest of the others; None where nobody else took part."""
        others = [timing for timing in self.timings if timing.library != "convkit"]
        return min(others, key=lambda timing: timing.seconds, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the best peer this library is."""
        return None if self.best_peer is None else self.best_peer.seconds / self.ours.seconds

    @property
    def ratios(self) -> dict[str, float]:
        """The same for each library's own best."""
        best: dict[str, float] = {}
        for timing in self.timings:
            if timing.library != "convkit":
                best[timing.library] = min(best.get(timing.library, timing.seconds), timing.seconds)
        return {library: seconds / self.ours.seconds for library, seconds in best.items()}


@dataclass(frozen=True, slots=True)
class Outcome(Raced):
    """What came of one problem, and the bound.

    ``algorithm`` is the one that convkit chose, by name; empty for layers.
    """

    problem: Problem
    bound: float
    algorithm: str = ""

    @property
    def flops(self) -> float:
        """Operations of the definition per second; more than the machine can do where a faster way was found."""
        return self.problem.flops / self.ours.seconds

    @property
    def bytes(self) -> float:
        """Bytes per second, those counted that must be read and written at least once."""
        return self.problem.bytes / self.ours.seconds

    @property
    def fraction(self) -> float:
        """The part of the bound that is reached: 1 is as fast as the machine can be."""
        return self.bound / self.ours.seconds


def measure(
    problems: Sequence[Problem],
    rounds: int,
    count: int,
    machine: Machine,
    done: Callable[[Outcome], None] = lambda outcome: None,
    entrants: Callable[[Problem], list[Contender]] = contenders,
    longest: Mapping[str, float] = MappingProxyType({}),
) -> list[Outcome]:
    """Measure problems one after another with ``count`` threads; ``done`` hears of each.

    ``longest`` has for some suites the seconds after which no further round of a problem is begun, but for `FEWEST`.

    Raises
    ------
    AccuracyError
        ``accuracy.bench-wrong``: somebody's result is not the problem's; nothing is timed then.
    """
    outcomes: list[Outcome] = []
    with threads(count):
        for problem in problems:
            truth = expected(problem)
            checked, failures = fit_to_race(
                entrants(problem),
                lambda entrant, result, problem=problem, truth=truth: check(
                    problem, entrant.name, result, truth, entrant.allowance
                ),
            )
            timings = raced(checked, rounds, longest.get(problem.suite, math.inf))
            outcomes.append(Outcome(timings, failures, problem, bound(problem, machine), algorithm_of(problem)))
            done(outcomes[-1])
    return outcomes


@dataclass(frozen=True, slots=True)
class Checked:
    """A contender whose result is right: its error, and the seconds of this first run."""

    entrant: Contender
    error: float
    seconds: float


def fit_to_race(
    entrants: Iterable[Contender], judge: Callable[[Contender, Results], float]
) -> tuple[list[Checked], dict[str, str]]:
    """Those whose result is right, and the peers that could not do the problem, with their own words.

    ``judge`` gives the error of a result, or raises.
    """
    field: list[Checked] = []
    failures: dict[str, str] = {}
    for entrant in entrants:
        start = time.perf_counter()
        try:
            value = entrant.run()
            seconds = time.perf_counter() - start
            result = entrant.read(value)
        except Exception as failure:  # a peer may run out of memory, or refuse a size
            if entrant.library == "convkit":
                raise
            failures[entrant.name] = str(failure).strip().split("\n")[0]
            continue
        field.append(Checked(entrant, judge(entrant, result), seconds))
    return field, failures


def raced(field: list[Checked], rounds: int, longest: float) -> tuple[Timing, ...]:
    """Time everybody in turn, round after round."""
    # The run for the check has warmed everything up, so that this one says how often each fits into a sample. Who was
    # slow and far behind even so is not run again.
    least = min(one.seconds for one in field)
    first = [
        one.seconds if one.seconds > max(SLOW, PATIENCE * least) else _seconds(one.entrant.run, 1) for one in field
    ]
    limit = PATIENCE * min(first)
    repeats = [max(1, round(SAMPLE / max(seconds, 1e-7))) for seconds in first]
    racing = [i for i, one in enumerate(field) if first[i] <= limit or one.entrant.library == "convkit"]
    samples: list[list[float]] = [[] if i in racing else [seconds] for i, seconds in enumerate(first)]
    begin, before = time.perf_counter(), ("", "")
    for turn in range(rounds):
        if turn >= FEWEST and time.perf_counter() - begin > longest:
            break
        # Starting with another one each round, nobody always runs behind the same neighbour.
        start = turn % len(racing)
        for i in racing[start:] + racing[:start]:
            entrant = field[i].entrant
            if (entrant.library, entrant.threads) != before:
                _run_up(entrant.run, first[i])
                before = entrant.library, entrant.threads
            samples[i].append(_seconds(field[i].entrant.run, repeats[i]))
    return tuple(map(_timing, field, samples))


def _run_up(run: Run, seconds: float) -> None:
    if seconds > LONG:
        time.sleep(REST)
        return
    end = time.perf_counter() + RUN_UP
    run()
    while time.perf_counter() < end:
        run()


def _seconds(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def _timing(checked: Checked, samples: list[float]) -> Timing:
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    entrant = checked.entrant
    return Timing(entrant.library, entrant.name, middle, low, high, len(samples), checked.error)
