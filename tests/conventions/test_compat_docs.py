"""What the pages on the drop-in modules show is what they give, and both languages say the same."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_examples(language):
    done = doctest.testfile(str(DOCS / language / "compat.md"), module_relative=False, encoding="utf-8")
    assert done.attempted == 10
    assert done.failed == 0


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("room", ["numpy", "scipy_signal", "scipy_ndimage"])
def test_every_function_is_named(language, room):
    text = (DOCS / language / "compat.md").read_text(encoding="utf-8")
    [listed] = re.findall(rf"^- \*\*{room}\*\*[:：](.*?)(?=^- |^$)", text, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == set(importlib.import_module(f"convkit.compat.{room}").__all__)
