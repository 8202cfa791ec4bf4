"""What every test may rely on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from convkit import catalogue


@pytest.fixture(autouse=True)
def own_language() -> Iterator[None]:
    """A test that chooses a language leaves it as it was."""
    before = catalogue._chosen.get()
    yield
    catalogue._chosen.set(before)
