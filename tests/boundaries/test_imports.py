"""Who may import whom, and what ``import convkit`` costs. Each check here is shown to be able to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boundaries.project import (
    PACKAGE,
    ROOT,
    copy_package,
    import_contracts,
    loaded,
    modules_after,
)

HEAVY = ("torch", "typer", "rich", "scipy", "ducc0", "llvmlite", "matplotlib", "PIL", "sklearn", "cv2")
# What convkit may load beyond what NumPy loads itself, its own modules and the standard library's included.
# Counted rather than timed: the count is the same on every machine.
MODULE_BUDGET = 80


def test_contracts_hold(tmp_path: Path) -> None:
    copy_package(tmp_path)
    done = import_contracts(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("catalogue.py", "import convkit.errors", "The catalogue stands on the standard library alone"),
        ("errors.py", "import numpy", "Errors know the catalogue only"),
        ("spec/planted.py", "import numpy", "Spec says what is computed, without arrays"),
        ("oracle/planted.py", "from convkit.planner import registry", "The oracle is the definition"),
        ("oracle/planted.py", "import numpy", "The oracle computes without NumPy"),
        ("planner/planted.py", "from convkit.algorithms import direct", "The planner knows no algorithm"),
        ("storage.py", "import convkit.errors", "Storage stands on the standard library alone"),
        ("codegen/planted.py", "from convkit.planner import problem", "Codegen knows loops and machines"),
        ("algorithms/planted.py", "from convkit.algorithms import direct", "One algorithm does not import"),
        ("threads.py", "import numpy", "Threads know"),
        ("memory.py", "from convkit import threads", "Memory stands"),
        ("verbs/planted.py", "from convkit import explain", "The verbs serve the rooms"),
        ("explain/planted.py", "from convkit import algorithms", "Explanations come from"),
        ("compat/planted.py", "from convkit import explain", "Other libraries' signatures"),
        ("nn/planted.py", "from convkit import cli", "Networks are built on the verbs"),
        ("verbs/planted.py", "def later():\n    import torch", "torch is imported only in"),
        ("explain/planted.py", "import rich", "typer and rich are imported only in cli"),
        ("verbs/planted.py", "import ducc0", "ducc0 is imported only in algorithms"),
        ("algorithms/planted.py", "def later():\n    import llvmlite", "llvmlite is imported only in codegen"),
        ("compat/planted.py", "import scipy.ndimage", "Nothing is computed by a peer"),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, module: str, statement: str, contract: str) -> None:
    package = copy_package(tmp_path)
    with (package / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{statement}\n")
    done = import_contracts(tmp_path)
    broken = [line for line in done.stdout.splitlines() if "BROKEN" in line]
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(line.startswith(contract) for line in broken), done.stdout


def test_every_room_is_under_a_contract() -> None:
    contracts = (ROOT / ".importlinter").read_text(encoding="utf-8").split()
    rooms = [
        entry.stem
        for entry in PACKAGE.iterdir()
        if (entry.suffix == ".py" and not entry.stem.startswith("__")) or (entry / "__init__.py").exists()
    ]
    assert [room for room in sorted(rooms) if f"convkit.{room}" not in contracts] == []


def folders_of_loose_code(package: Path) -> list[str]:
    """Folders that hold Python files but are no package: the import contracts do not look into them."""
    folders = {file.parent for file in package.rglob("*.py")}
    return sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists())


def test_every_folder_of_code_is_a_package(tmp_path: Path) -> None:
    assert folders_of_loose_code(PACKAGE) == []
    loose = copy_package(tmp_path) / "loose"
    loose.mkdir()
    (loose / "code.py").touch()
    assert folders_of_loose_code(tmp_path / "convkit") == [str(loose)]


def test_importing_convkit_loads_nothing_heavy() -> None:
    assert loaded(HEAVY, modules_after("import convkit")) == []


def test_a_call_loads_numpy_and_no_optional_package() -> None:
    modules = modules_after("import convkit as ck; ck.convolve([1, 2, 3], [1, 2])")
    assert "numpy" in modules
    assert loaded(set(HEAVY) - {"ducc0"}, modules) == []


def test_importing_convkit_loads_few_modules() -> None:
    extra = modules_after("import convkit") - modules_after("import numpy")
    assert len(extra) <= MODULE_BUDGET, sorted(extra)


@pytest.mark.parametrize("package", ["torch", "typer", "matplotlib"])
def test_a_heavy_import_is_noticed(tmp_path: Path, package: str) -> None:
    plant(tmp_path, f"import {package}")
    assert package in loaded(HEAVY, modules_after("import convkit", path=tmp_path))


def test_many_modules_are_noticed(tmp_path: Path) -> None:
    plant(tmp_path, "import asyncio, email.message, http.server, sqlite3, unittest.mock, xml.dom.minidom")
    extra = modules_after("import convkit", path=tmp_path) - modules_after("import numpy")
    assert len(extra) > MODULE_BUDGET


def plant(folder: Path, statement: str) -> None:
    """Put a copy of the package whose ``__init__`` also runs ``statement`` into ``folder``."""
    with (copy_package(folder) / "__init__.py").open("a", encoding="utf-8") as file:
        file.write(f"\n{statement}\n")
