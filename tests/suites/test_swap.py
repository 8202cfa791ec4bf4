"""The suites prove something only if convkit's functions are really what the tests call."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def _load(name: str):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


run = _load("run")
PART = "TestCorrelate2d or TestUpfirdn or test_gauss03 or test_prewitt01"


@pytest.fixture(scope="module")
def sound():
    return run.run("scipy", PART, workers=0)


@pytest.fixture(scope="module")
def broken():
    return run.run("scipy", PART, workers=0, broken=True)


def test_every_exchanged_name_that_was_called_reached_a_verb(sound):
    assert sound["status"] == 0, sound["text"]
    for name in (
        "scipy.signal.correlate2d", "scipy.signal.correlate", "scipy.signal.upfirdn", "scipy.ndimage.gaussian_filter",
        "scipy.ndimage.prewitt",
    ):  # fmt: skip
        assert sound["called"][name] > 0
        assert sound["reached"][name] > 0
    assert run.complaints(sound, set()) == []


def test_a_wrong_result_is_noticed(sound, broken):
    assert broken["status"] == 1, broken["text"]
    # The rest compares convkit with itself, or zeros.
    assert broken["tests"]["failed"] > 150
    assert broken["tests"]["failed"] + broken["tests"]["passed"] == sound["tests"]["passed"]
    assert any("pytest ended with 1" in line for line in run.complaints(broken, set()))


def test_a_name_that_reaches_no_verb_is_noticed(sound):
    without = {name: count for name, count in sound["reached"].items() if name != "scipy.signal.upfirdn"}
    assert run.complaints(sound | {"reached": without}, set()) == ["scipy.signal.upfirdn never reached a verb"]


def test_a_listed_test_that_passes_or_does_not_exist_is_noticed(sound, tmp_path, monkeypatch):
    outcome = sound | {"whole": True, "called": sound["called"] | dict.fromkeys(run.exchanged_names("scipy"), 1)}
    outcome["reached"] = outcome["called"]
    listed = {"scipy.signal.tests.test_upfirdn::TestUpfirdn::test_gone"}
    [line] = run.complaints(outcome, listed)
    assert line.endswith(f"lists a test that does not exist: {min(listed)}")
    expected = tmp_path / "expected_failures.toml"
    expected.write_text(
        '[[expected]]\ntest = "scipy.signal.tests.test_upfirdn::TestUpfirdn::test_shift_x*"\nreason = "none"\n'
    )
    monkeypatch.setenv("CONVKIT_SUITE_EXPECTED", str(expected))
    listed_but_passing = run.run("scipy", "test_shift_x", workers=0)
    assert listed_but_passing["status"] == 1
    assert "XPASS(strict)" in listed_but_passing["text"]


def test_a_suite_in_which_nothing_passes_is_noticed(sound):
    assert "no test passed" in run.complaints(sound | {"tests": {}}, set())
