"""ONNX's own backend tests pass: every one that its reference implementation can do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conventions import onnx_suite
from tests.conventions.onnx_suite import EXCLUDED, OPERATORS


def _group(name: str) -> str:
    return next(group for group, pattern in OPERATORS.items() if re.search(pattern, name))


@pytest.mark.parametrize("group", OPERATORS)
def test_onnx_itself(group: str, tmp_path: Path) -> None:
    names = [name for name in onnx_suite.tests() if _group(name) == group]
    chosen = [name for name in names if not any(re.search(pattern, name) for pattern in EXCLUDED)]
    assert len(chosen) >= 8
    result = onnx_suite.run(chosen, str(tmp_path))
    assert [(test.id(), text) for test, text in (*result.failures, *result.errors)] == []
    assert result.skipped == []
    assert result.testsRun == len(chosen)


def test_the_convolutions_of_the_suite_reach_the_verbs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from convkit import verbs

    def broken(*_: object, **__: object) -> object:
        raise AssertionError("a verb was called")

    for name in ("conv", "conv_transpose", "pool"):
        monkeypatch.setattr(verbs, name, broken)
    own = r"^test_(Conv\d|ConvTranspose|MaxPool|AvgPool|convinteger|qlinearconv|basic_conv|convtranspose|.*pool_[123]d)"
    names = [name for name in onnx_suite.tests() if re.search(own, name)]
    assert len(names) > 100
    result = onnx_suite.run(names, str(tmp_path))
    assert len(result.errors) + len(result.failures) == len(names)


@pytest.mark.parametrize("pattern", EXCLUDED)
def test_what_is_not_run_exists_and_has_a_reason(pattern: str) -> None:
    assert any(re.search(pattern, name) for name in onnx_suite.tests())
    assert len(EXCLUDED[pattern]) > 20
