"""The ``convkit`` command."""

from __future__ import annotations

from convkit.cli.app import build, main

__all__ = ["build", "main"]
