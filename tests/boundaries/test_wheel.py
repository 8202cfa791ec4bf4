"""What travels in the wheel and in the source distribution."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.boundaries.project import PACKAGE, ROOT, python

PROJECT_FILES = ("pyproject.toml", "README.md", "LICENSE", ".gitignore")


def build(project: Path, to: Path) -> tuple[Path, Path]:
    """Build ``project`` without a network; return the wheel and the source distribution."""
    done = python("-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(to), path=project, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = to.glob("*.whl")
    (sdist,) = to.glob("*.tar.gz")
    return wheel, sdist


def sources(package: Path) -> set[str]:
    """Every file of the package, as ``convkit/...``."""
    return {
        f"convkit/{file.relative_to(package).as_posix()}"
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def sdist_names(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def test_the_wheel_holds_every_file_of_the_package(built: tuple[Path, Path]) -> None:
    packed = {name for name in wheel_names(built[0]) if name.startswith("convkit/")}
    assert packed == sources(PACKAGE)


def test_the_sdist_holds_every_file_of_the_package(built: tuple[Path, Path]) -> None:
    names = sdist_names(built[1])
    assert {f"src/{name}" for name in sources(PACKAGE)} <= names
    assert {"pyproject.toml", "LICENSE", "README.md", "constraints.txt", "Makefile"} <= names


def test_the_wheel_says_what_it_is(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        (entries,) = [name for name in archive.namelist() if name.endswith("dist-info/entry_points.txt")]
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
        lines = archive.read(metadata).decode("utf-8").splitlines()
        assert "convkit = convkit.cli:main" in archive.read(entries).decode("utf-8")
    assert "Name: convkit" in lines
    assert "License-Expression: BSD-3-Clause" in lines
    assert "Requires-Python: >=3.11" in lines
    required = sorted(line.split()[1].split(">")[0] for line in lines if is_base_requirement(line))
    assert required == ["ducc0", "llvmlite", "numpy", "rich", "typer"]


def is_base_requirement(line: str) -> bool:
    return line.startswith("Requires-Dist:") and "extra ==" not in line


def test_what_a_user_needs_is_there(built: tuple[Path, Path]) -> None:
    names = wheel_names(built[0])
    rooms = [entry.name for entry in PACKAGE.iterdir() if (entry / "__init__.py").exists()]
    data = [name for name in names if name.startswith("convkit/data/") and not name.endswith((".py", ".md"))]
    assert "convkit/py.typed" in names
    assert any(name.startswith("convkit/locales/en/") for name in names)
    assert any(name.startswith("convkit/locales/zh/") for name in names)
    assert [room for room in sorted(rooms) if f"convkit/{room}/README.md" not in names] == []
    assert data, "the wheel carries no embedded data"


def test_a_file_left_behind_is_noticed(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PACKAGE, project / "src" / "convkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PROJECT_FILES:
        shutil.copy(ROOT / name, project / name)
    with (project / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("\n*.json\n")
    wheel, _ = build(project, tmp_path / "dist")
    forgotten = sources(project / "src" / "convkit") - wheel_names(wheel)
    assert forgotten
    assert all(name.endswith(".json") for name in forgotten)
