"""Run NumPy's and SciPy's own tests of the functions that convkit imitates, with convkit's functions in their place.

    python tests/suites/run.py [--suite scipy|numpy] [-k EXPRESSION] [-n WORKERS]

Prints one line a suite and a table of calls; ends with 1 if a test failed that ``expected_failures.toml`` does not
list, if a listed one passed or does not exist, or if an exchanged name was called without reaching a verb.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "src")]

from swap import expected_failures, names  # noqa: E402 - it stands beside this file, wherever that is run from

TESTS = {
    "scipy": (
        [
            "scipy.signal.tests.test_signaltools",
            "scipy.signal.tests.test_upfirdn",
            "scipy.ndimage.tests.test_filters",
        ],
        None,
    ),
    "numpy": (["numpy._core.tests.test_numeric"], "TestConvolve or TestCorrelate"),
}
Outcome = dict[str, Any]


def run(suite: str, keyword: str | None = None, workers: int = 2, broken: bool = False) -> Outcome:
    """Run one suite in a process of its own, and gather what its processes recorded."""
    modules, always = TESTS[suite]
    chosen = " and ".join(f"({text})" for text in (always, keyword) if text)
    source = HERE.parents[1] / "src"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(source), str(HERE), os.environ.get("PYTHONPATH", "")]),
            "CONVKIT_SUITE": suite,
            "CONVKIT_SUITE_RECORD": folder,
            "CONVKIT_SUITE_BREAK": "1" if broken else "0",
        }
        command = [sys.executable, "-m", "pytest", "-p", "swap", "-c", os.devnull, "--rootdir", folder, "-q"]
        command += ["-p", "no:cacheprovider", "--disable-warnings", "--tb=short", "-n", str(workers)]
        command += ["--pyargs", *modules] + (["-k", chosen] if chosen else [])
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        return _gathered(Path(folder)) | {
            "suite": suite,
            "status": done.returncode,
            "text": done.stdout + done.stderr,
            "seconds": time.perf_counter() - begin,
            "whole": keyword is None,
        }


def _gathered(folder: Path) -> Outcome:
    called: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    expected: set[str] = set()
    for path in folder.glob("counts-*.json"):
        counts = json.loads(path.read_text(encoding="utf-8"))
        called.update(counts["called"])
        reached.update(counts["reached"])
    for path in folder.glob("expected-*.json"):
        expected.update(json.loads(path.read_text(encoding="utf-8")))
    outcome = folder / "outcome.json"
    tests = json.loads(outcome.read_text(encoding="utf-8")) if outcome.exists() else {}
    return {"called": dict(called), "reached": dict(reached), "expected": sorted(expected), "tests": tests}


def complaints(outcome: Outcome, listed: set[str]) -> list[str]:
    """Why a suite's outcome is not what it should be."""
    found = []
    if outcome["status"] != 0:
        text = outcome["text"]
        begin = max(0, text.find("= FAILURES ="), text.find("= ERRORS ="))
        found.append(f"pytest ended with {outcome['status']}:\n{text[begin:][-8000:]}")
    if not outcome["tests"].get("passed"):
        found.append("no test passed")
    if outcome["whole"]:
        found += [f"{name} was never called" for name in exchanged_names(outcome["suite"]) - set(outcome["called"])]
        prefixes = tuple(TESTS[outcome["suite"]][0])
        stale = {text for text in listed if text.startswith(prefixes)} - set(outcome["expected"])
        found += [f"expected_failures.toml lists a test that does not exist: {text}" for text in sorted(stale)]
    found += [f"{name} never reached a verb" for name in outcome["called"] if not outcome["reached"].get(name)]
    return found


def exchanged_names(suite: str) -> set[str]:
    """The full names of everything that a suite exchanges."""
    return {f"{theirs.__name__}.{name}" for theirs, _, name in names(suite)}


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=[*TESTS, "all"], default="all")
    parser.add_argument("-k", dest="keyword", default=None)
    parser.add_argument("-n", dest="workers", type=int, default=2)
    options = parser.parse_args()
    failed = False
    for suite in TESTS if options.suite == "all" else [options.suite]:
        if importlib.util.find_spec(TESTS[suite][0][0]) is None:
            print(f"{suite:<6} its wheel brings no tests along")
            continue
        outcome = run(suite, options.keyword, options.workers)
        wrong = complaints(outcome, set(expected_failures()))
        tests = ", ".join(f"{count} {kind}" for kind, count in outcome["tests"].items() if count)
        print(f"{suite:<6} {tests} in {outcome['seconds']:.0f} s")
        for name, count in sorted(outcome["called"].items()):
            print(f"    {name:<44} {count:>7} calls  {outcome['reached'].get(name, 0):>8} verb calls")
        for line in wrong:
            print(f"  ! {line}")
        failed |= bool(wrong)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
