"""The pages on the zoo list what there is, and their examples run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from convkit.catalogue import using
from convkit.nn import zoo

DOCS = Path(__file__).resolve().parents[3] / "docs"
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_examples(language):
    done = doctest.testfile(
        str(DOCS / language / "zoo.md"), module_relative=False, encoding="utf-8", optionflags=OPTIONS
    )
    assert done.attempted >= 12
    assert done.failed == 0


def row(model: zoo.Model) -> str:
    standard = model.standard
    picture = f"{standard.channels}x{standard.size[0]}x{standard.size[1]} -> {standard.classes}"
    cells = [f"`{model.name}`", model.summary, picture, f"{model.parameters:,}", str(model.least), model.source]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_table(language):
    rows = [line for line in (DOCS / language / "zoo.md").read_text(encoding="utf-8").splitlines() if "->" in line]
    with using(language):
        expected = [row(model) for model in zoo.MODELS.values()]
    assert [line for line in rows if line.startswith("| `")] == expected
