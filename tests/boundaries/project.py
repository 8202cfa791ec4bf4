"""Where the project lies, and how its boundaries are asked about."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "convkit"


def python(*arguments: str, path: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a fresh Python in which ``convkit`` is the package under ``path``."""
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd or path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def copy_package(to: Path) -> Path:
    """Copy the package and its import contracts into ``to``; return the copied package."""
    shutil.copy(ROOT / ".importlinter", to)
    return Path(shutil.copytree(PACKAGE, to / "convkit", ignore=shutil.ignore_patterns("__pycache__")))


def import_contracts(path: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package under ``path`` against the contracts lying beside it."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return python("-c", command, "--no-cache", path=path)


def modules_after(statement: str, *, path: Path = PACKAGE.parent) -> set[str]:
    """Return the modules that are loaded in a fresh Python after ``statement``."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = python("-c", code, path=path)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def loaded(packages: Iterable[str], modules: set[str]) -> list[str]:
    """Return those of ``packages`` that are among ``modules``."""
    return sorted(set(packages) & modules)
