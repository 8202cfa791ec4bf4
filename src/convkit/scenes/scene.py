"""A scene: a function that computes, what it must give, and the register of them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from convkit.catalogue import say
from convkit.errors import choose
from convkit.scenes.figures import Figure, Label, number

_MANY = 24
"""More numbers than this are not shown one by one."""

Relation = Literal["equal", "at-least", "below"]


@dataclass(frozen=True)
class Check:
    """One comparison: what was expected, what came out, and how they must relate.

    Attributes
    ----------
    name : str
        The word after ``scenes.<scene>.check.`` in the catalogue.
    expected, got : object
        Numbers, arrays, or text.
    relation : {"equal", "at-least", "below"}
        ``equal``: of the same shape and within ``tolerance`` (0: exactly); ``at-least`` and ``below`` compare sizes.
    """

    name: str
    expected: Any
    got: Any
    relation: Relation = "equal"
    tolerance: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether what came out is what must come out; anything that cannot be compared is not."""
        if isinstance(self.expected, str) or isinstance(self.got, str):
            return isinstance(self.expected, str) and isinstance(self.got, str) and self.expected == self.got
        expected, got = np.asarray(self.expected), np.asarray(self.got)
        if expected.shape != got.shape:
            return False
        if self.relation == "at-least":
            return bool((got >= expected).all())
        if self.relation == "below":
            return bool((got < expected).all())
        if self.tolerance == 0:
            return bool((got == expected).all())
        return bool((abs(got - expected) <= self.tolerance).all())

    @property
    def wanted(self) -> str:
        """What was expected, on one line."""
        return shown(self.expected, self.relation)

    @property
    def found(self) -> str:
        """What came out, on one line; of many numbers, how far they are from what was expected."""
        expected, got = np.asarray(self.expected), np.asarray(self.got)
        if self.relation == "equal" and got.size > _MANY and expected.shape == got.shape:
            return say("scenes.difference", most=number(float(abs(got - expected).max())))
        return shown(self.got)


def equal(name: str, expected: Any, got: Any, within: float = 0.0) -> Check:
    """A check that two things are equal, exactly or ``within`` an absolute tolerance."""
    return Check(name, expected, got, "equal", within)


def at_least(name: str, expected: Any, got: Any) -> Check:
    """A check that ``got >= expected``."""
    return Check(name, expected, got, "at-least")


def below(name: str, expected: Any, got: Any) -> Check:
    """A check that ``got < expected``."""
    return Check(name, expected, got, "below")


@dataclass(frozen=True)
class Example:
    """A call that `convkit.explain` can walk through: arrays, and the options of the verb."""

    x: Any
    k: Any
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a scene gives: its checks (the first one is its headline), its figures, and a call to walk through."""

    checks: Sequence[Check]
    figures: Sequence[Figure] = ()
    example: Example | None = None


Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Scene:
    """A scene by name.

    Attributes
    ----------
    name : str
        As on the command line.
    topic : {"signals", "images", "networks"}
        Where it belongs.
    work : callable
        Computes the outcome; takes ``progress`` where ``lengthy``.
    extra : str or None
        The optional extra it needs, for instance ``"nn"``, and ``module`` the package of it that must be there.
    lengthy : {"no", "yes"}
        Whether it takes seconds and reports its progress.
    """

    name: str
    topic: Literal["signals", "images", "networks"]
    work: Callable[..., Outcome]
    extra: str | None = None
    module: str | None = None
    lengthy: Literal["no", "yes"] = "no"

    @property
    def title(self) -> Label:
        """Its title."""
        return Label(f"scenes.{self.name}.title")

    @property
    def shows(self) -> Label:
        """What it shows, in a sentence or two."""
        return Label(f"scenes.{self.name}.shows")

    def label(self, check: Check) -> Label:
        """The words of one of its checks; ``raised`` stands for an error that stopped it."""
        if check.name == "raised":
            return Label("scenes.raised")
        return Label(f"scenes.{self.name}.check.{check.name}")


@dataclass(frozen=True)
class Report:
    """A scene that was run: its outcome and the seconds it took."""

    scene: Scene
    outcome: Outcome
    seconds: float

    @property
    def checks(self) -> Sequence[Check]:
        """Every comparison."""
        return self.outcome.checks

    @property
    def expected(self) -> str:
        """What the headline should be."""
        return self.checks[0].wanted

    @property
    def got(self) -> str:
        """What the headline is."""
        return self.checks[0].found

    @property
    def ok(self) -> bool:
        """Whether there is at least one check and every check holds."""
        return bool(self.checks) and all(check.ok for check in self.checks)


SCENES: dict[str, Scene] = {}


def scene(
    name: str,
    topic: Literal["signals", "images", "networks"],
    *,
    extra: str | None = None,
    module: str | None = None,
    lengthy: Literal["no", "yes"] = "no",
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register the function below as the work of a scene."""

    def register(work: Callable[..., Outcome]) -> Callable[..., Outcome]:
        SCENES[name] = Scene(name, topic, work, extra, module, lengthy)
        return work

    return register


def find(name: str) -> Scene:
    """The scene of that name.

    Raises
    ------
    OptionError
        ``option.unknown-value``, with the nearest name.
    """
    return SCENES[choose("scene", name, SCENES)]


def run(wanted: Scene, progress: Progress | None = None) -> Report:
    """Run a scene and take the time."""
    start = time.perf_counter()
    outcome = wanted.work(progress=progress) if wanted.lengthy == "yes" else wanted.work()
    return Report(wanted, outcome, time.perf_counter() - start)


def shown(value: Any, relation: Relation = "equal") -> str:
    """A value on one line: numbers with spaces, rows with strokes."""
    sign = {"equal": "", "at-least": ">= ", "below": "< "}[relation]
    if isinstance(value, str):
        return sign + value.splitlines()[0] + (" ..." if "\n" in value else "")
    array = np.asarray(value)
    if array.size > _MANY:
        return sign + say("scenes.many-numbers", count=array.size, shape="x".join(map(str, array.shape)))
    if array.ndim <= 1:
        return sign + " ".join(number(item) for item in np.atleast_1d(array))
    rows = array.reshape(-1, array.shape[-1])
    return sign + " / ".join(" ".join(number(item) for item in row) for row in rows)
