"""The cache of compiled objects: found again, never trusted, dispensable; and what happens without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from convkit.codegen import cache, library
from convkit.codegen.direct import schedule_for
from convkit.codegen.target import host
from tests.boundaries.project import ROOT
from tests.codegen.kernel_calls import address, convolve

PROGRAM = """
import numpy as np
import convkit as ck
x, k = np.arange(90000.0).reshape(300, 300) % 7, np.arange(20.0).reshape(4, 5) % 3
plan = ck.plan(x.shape, k.shape)
print(plan.choice, float(np.sum(ck.convolve(x, k))))
print(next(row.why_not for row in plan.report().rows if row.algorithm == "compiled"))
"""
EXPECTED = float(np.sum(np.arange(90000.0) % 7) * np.sum(np.arange(20.0) % 3))


def run(program: str = PROGRAM, **environment: str) -> list[str]:
    """The lines that a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no kernel remembered from before."""
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "_addresses", {})
    return tmp_path / "cache" / "kernels"


def compute() -> None:
    """Make a kernel and see that it is right."""
    library._addresses.clear()
    address.cache_clear()
    machine = host()
    assert machine is not None
    library.address_of(schedule_for(machine, "float64", 3))
    out = np.empty((4, 20))
    convolve(np.ones((6, 21)), np.full((3, 2), 2.0), out, machine)
    assert (out == 12).all()


def test_an_object_is_kept_and_found_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute()
    (kept,) = folder.iterdir()
    assert (kept.suffix, len(kept.stem)) == (".o", 64)

    def refuse(*_: object) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(library, "build", refuse)
    compute()
    kept.unlink()
    with pytest.raises(AssertionError, match="compiled again"):
        compute()


@pytest.mark.parametrize("damage", ["empty", "truncated", "a bit", "the checksum", "text"])
def test_a_damaged_object_is_built_anew(folder: Path, damage: str) -> None:
    compute()
    (kept,) = folder.iterdir()
    sound = kept.read_bytes()
    flipped = {"a bit": len(sound) // 2, "the checksum": 3}.get(damage)
    if flipped is not None:
        spoiled = sound[:flipped] + bytes([sound[flipped] ^ 1]) + sound[flipped + 1 :]
    else:
        spoiled = {"empty": b"", "truncated": sound[:-100], "text": b"not machine code " * 50}[damage]
    kept.write_bytes(spoiled)
    assert cache.fetch(kept.stem) is None
    compute()
    assert kept.read_bytes() == sound


def test_another_kernels_object_is_not_taken(folder: Path) -> None:
    compute()
    (kept,) = folder.iterdir()
    other = "0" * 64
    kept.rename(kept.with_stem(other))
    assert cache.fetch(other) is None
    compute()
    assert kept.exists()


def test_the_key_tells_processors_and_programs_apart() -> None:
    from dataclasses import replace

    from convkit.codegen.target import host

    target = host()
    assert target is not None
    keys = {
        cache.key_of("a", target),
        cache.key_of("b", target),
        cache.key_of("a", replace(target, cpu="another")),
        cache.key_of("a", replace(target, features="+other")),
    }
    assert len(keys) == 4


def test_a_folder_that_cannot_be_written_does_no_harm(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("in the way")
    compute()
    assert folder.read_text() == "in the way"


@pytest.mark.parametrize(
    ("module", "function", "error"),
    [
        (os, "replace", OSError(28, "No space left on device")),
        (os, "fdopen", OSError(28, "No space left on device")),
        (tempfile, "mkstemp", PermissionError(13, "Permission denied")),
    ],
)
def test_a_full_or_read_only_folder_is_left_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, function: str, error: OSError
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, function, fail)
    compute()
    assert list(folder.iterdir()) == []


def test_switched_off_by_the_environment(tmp_path: Path) -> None:
    choice, why_not = run(CONVKIT_JIT="0", CONVKIT_CACHE_DIR=str(tmp_path))
    assert choice.split()[0] != "compiled"
    assert float(choice.split()[1]) == pytest.approx(EXPECTED)
    assert why_not == "compiling is switched off by CONVKIT_JIT=0"
    choice, why_not = run(CONVKIT_CACHE_DIR=str(tmp_path))
    assert choice.split()[0] == "compiled"
    assert float(choice.split()[1]) == pytest.approx(EXPECTED)
    assert why_not == "None"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("sys.modules['llvmlite'] = None", "is not installed"),
        ("sys.modules['llvmlite.binding'] = None", "could not be loaded or run"),
        ("from convkit.codegen import target; target.host = lambda: None", "none of the vector instructions"),
        ("from convkit.codegen import library; library._PROOF = 'no IR'", "could not be loaded or run"),
    ],
)
def test_everything_works_without_a_compiler(broken: str, reason: str, tmp_path: Path) -> None:
    choice, why_not = run(f"import sys\n{broken}\n{PROGRAM}", CONVKIT_CACHE_DIR=str(tmp_path))
    assert choice.split()[0] != "compiled"
    assert float(choice.split()[1]) == pytest.approx(EXPECTED)
    assert reason in why_not
