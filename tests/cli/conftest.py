"""The command line in this process and in one of its own; a small folder of the user's files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from convkit import catalogue, data
from convkit.cli import build

SOURCE = str(Path(data.__file__).parents[2])


@pytest.fixture(autouse=True)
def english(monkeypatch):
    """Every test begins in English, whatever the machine speaks, and leaves it so."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "CONVKIT_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    token = catalogue._chosen.set(None)
    yield
    catalogue._chosen.reset(token)


@pytest.fixture
def convkit():
    """Run a command in this process."""

    def run(*arguments):
        given = [str(argument) for argument in arguments]
        return CliRunner().invoke(build(given), given, prog_name="convkit", catch_exceptions=False)

    return run


@pytest.fixture
def process():
    """Run a command in a process of its own."""

    def run(*arguments, **environment):
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
        return subprocess.run(
            [sys.executable, "-m", "convkit", *map(str, arguments)],
            env={**inherited, "PYTHONPATH": SOURCE, "PYTHONIOENCODING": "utf-8", **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a photograph, a coloured one, a sound, a table and an array, as the current one."""
    monkeypatch.chdir(tmp_path)
    data.write("photo.png", data.photograph()[:60, :80])
    data.write("flower.png", data.photograph("colour")[:30, :40])
    data.write("deep.tiff", data.photograph()[:60, :80].astype(np.uint16) * 200)
    time = np.arange(400) / 8000
    tones = np.stack([np.sin(2000 * time), np.cos(900 * time)], axis=1) * 0.4
    data.write("tone.wav", data.Content(tones, "sound", 8000, "PCM_16"))
    data.write("table.csv", [1, 2, 3, 4, 5])
    data.write("kernel.npy", [1, 2, 1])
    return tmp_path
