"""A pytest plugin that puts convkit's drop-in functions into NumPy or SciPy before their own tests import them.

``CONVKIT_SUITE`` says which names are exchanged: ``scipy`` or ``numpy``. ``CONVKIT_SUITE_RECORD`` is a folder that
every process leaves its counts in: how often each exchanged name was called, and how often a verb was reached from
it. ``CONVKIT_SUITE_BREAK=1`` negates what the verbs return, to show that a wrong result is noticed.
``CONVKIT_SUITE_EXPECTED`` names another list of expected failures than ``expected_failures.toml``.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import threading
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import translate
from pathlib import Path
from typing import Any

import pytest

SUITES = {
    "scipy": {
        "scipy.signal": "convkit.compat.scipy_signal",
        "scipy.ndimage": "convkit.compat.scipy_ndimage",
    },
    "numpy": {"numpy": "convkit.compat.numpy"},
}
VERBS = ("convolve", "correlate", "conv")

called: Counter[str] = Counter()
reached: Counter[str] = Counter()
inside = threading.local()


def expected_failures() -> dict[str, str]:
    """Pattern of a test's name -> why it cannot pass."""
    path = os.environ.get("CONVKIT_SUITE_EXPECTED") or Path(__file__).with_name("expected_failures.toml")
    listed = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    return {entry["test"]: entry["reason"] for entry in listed["expected"]}


def exchanged(original: Callable[..., Any], ours: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Our function under the original's name; a call from within convkit itself still reaches the original."""

    @functools.wraps(original)
    def call(*args: Any, **options: Any) -> Any:
        outer = getattr(inside, "name", None)
        if outer is not None and name.startswith("numpy."):
            return original(*args, **options)
        called[name] += 1
        inside.name = name
        try:
            return ours(*args, **options)
        finally:
            inside.name = outer

    return call


def counted(verb: Callable[..., Any]) -> Callable[..., Any]:
    """A verb that keeps count of the exchanged names it is reached from."""
    broken = os.environ.get("CONVKIT_SUITE_BREAK") == "1"

    @functools.wraps(verb)
    def call(*args: Any, **options: Any) -> Any:
        reached[getattr(inside, "name", None) or "elsewhere"] += 1
        result = verb(*args, **options)
        return -result if broken else result

    return call


def names(suite: str) -> Iterator[tuple[Any, Any, str]]:
    """(their module, our module, name) for everything that ``suite`` exchanges."""
    for theirs, ours in SUITES[suite].items():
        module = importlib.import_module(ours)
        for name in module.__all__:
            yield importlib.import_module(theirs), module, name


def exchange(suite: str) -> None:
    """Put our functions in place of theirs."""
    verbs = importlib.import_module("convkit.verbs")
    for name in VERBS:
        setattr(verbs, name, counted(getattr(verbs, name)))
    for theirs, ours, name in names(suite):
        original = getattr(theirs, name)
        ours_called = exchanged(original, getattr(ours, name), f"{theirs.__name__}.{name}")
        setattr(theirs, name, ours_called)
        if suite == "scipy":
            # SciPy's tests look up, by function, which array libraries it supports.
            table = importlib.import_module("scipy._lib._array_api").xp_capabilities_table
            table[ours_called] = table[original]


def pytest_configure(config: pytest.Config) -> None:
    exchange(os.environ["CONVKIT_SUITE"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    patterns = {text: re.compile(translate(text.replace("[", "[[]"))) for text in expected_failures()}
    seen = set()
    for item in items:
        full = f"{item.module.__name__}::{item.nodeid.partition('::')[2]}"  # type: ignore[attr-defined]
        for text, pattern in patterns.items():
            if pattern.fullmatch(full):
                seen.add(text)
                item.add_marker(pytest.mark.xfail(reason=expected_failures()[text], strict=True))
    _record(f"expected-{os.getpid()}", sorted(seen))


def pytest_sessionfinish(session: pytest.Session) -> None:
    _record(f"counts-{os.getpid()}", {"called": called, "reached": reached})


def pytest_terminal_summary(terminalreporter: Any) -> None:
    kinds = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
    _record("outcome", {kind: len(terminalreporter.stats.get(kind, [])) for kind in kinds})


def _record(name: str, content: object) -> None:
    folder = os.environ.get("CONVKIT_SUITE_RECORD")
    if folder:
        Path(folder, f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
