"""What every test may rely on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from convkit import catalogue

# What is chosen does not depend on what was measured here before.
os.environ.setdefault("CONVKIT_MACHINE", "default")

# How long an example takes is no question of a test: the first one may compile a kernel.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def own_language() -> Iterator[None]:
    """A test that chooses a language leaves it as it was."""
    before = catalogue._chosen.get()
    yield
    catalogue._chosen.set(before)
