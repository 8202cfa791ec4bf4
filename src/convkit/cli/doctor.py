"""``convkit doctor``: whether everything is here, and computes rightly."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

from convkit.catalogue import say
from convkit.cli.options import Json, Lang

REQUIRED = ("numpy", "ducc0", "llvmlite", "typer", "rich")
EXTRAS = {
    "image": ("pillow", "soundfile", "matplotlib"),
    "nn": ("torch", "safetensors"),
    "peers": ("scipy", "opencv-python-headless", "astropy", "onnx"),
}
_FEATURES = (
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx2",
    "avx_vnni",
    "fma",
    "f16c",
    "asimd",
    "asimddp",
    "sve",
    "bf16",
)
_COMPILER_FEATURES = (
    "avx512f", "avx512vnni", "avx512bf16", "avx2", "avxvnni", "fma", "f16c", "neon", "dotprod", "bf16", "sve",
)  # fmt: skip
"""The same, as LLVM names them: those that decide which kernels can be written."""


def doctor_command(as_json: Json = False, lang: Lang = None) -> None:
    """Look at the installation; exit 1 if something that convkit needs is missing or computes wrongly."""
    facts = examined()
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        _show(facts)
    raise typer.Exit(0 if facts["healthy"] else 1)


def examined() -> dict[str, Any]:
    """Everything that doctor looks at."""
    import convkit
    from convkit.planner.machine import cpu_name
    from convkit.storage import cache_folder
    from convkit.threads import num_threads

    required = {name: _version(name) for name in REQUIRED}
    folder = cache_folder()
    check = _self_test()
    return {
        "convkit": convkit.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_name(),
        "features": _cpu_features(),
        "cores": os.cpu_count(),
        "threads": num_threads(),
        "required": required,
        "extras": {extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()},
        "cache": {"folder": None if folder is None else str(folder), "state": _state(folder)},
        "compiler": _compiler(),
        "machine": _machine(),
        "self_test": check,
        "healthy": all(required.values()) and check == "ok",
    }


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(overflow="fold")
    missing = say("cli.doctor.missing")
    for key in ("convkit", "python", "system", "cpu"):
        table.add_row(say(f"cli.doctor.{key}"), str(facts[key]))
    table.add_row(say("cli.doctor.features"), " ".join(facts["features"]) or say("cli.doctor.none"))
    table.add_row(say("cli.doctor.threads"), say("cli.doctor.of", threads=facts["threads"], cores=facts["cores"]))
    for name, found in facts["required"].items():
        table.add_row(name, found or f"[red]{missing}[/]")
    for extra, packages in facts["extras"].items():
        line = ", ".join(f"{name} {found or missing}" for name, found in packages.items())
        hint = "" if all(packages.values()) else f"   pip install 'convkit\\[{extra}]'"
        table.add_row(say("cli.doctor.extra", extra=extra), line + hint)
    cache = facts["cache"]
    table.add_row(say("cli.doctor.cache"), f"{cache['folder']}: {say('cli.doctor.state.' + cache['state'])}")
    for label, line in _compiler_lines(facts["compiler"]):
        table.add_row(label, line)
    rates = ", ".join(f"{say('cli.doctor.rate.' + name)} {value:.3g}" for name, value in facts["machine"].items())
    table.add_row(say("cli.doctor.machine"), rates)
    test = facts["self_test"]
    table.add_row(say("cli.doctor.self-test"), say("cli.doctor.right") if test == "ok" else f"[red]{test}[/]")
    console = Console()
    console.print(table)
    console.print(say("cli.doctor.healthy") if facts["healthy"] else f"[red]{say('cli.doctor.ill')}[/]")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_features() -> list[str]:
    """Vector features of the CPU that matter to convolution, as Linux names them; elsewhere none are known."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    line = next((item for item in text.splitlines() if item.startswith(("flags", "Features"))), "")
    present = set(line.partition(":")[2].split())
    return [name for name in _FEATURES if name in present]


def _state(folder: Path | None) -> str:
    """``absent`` is no fault: the folder is made when something is remembered."""
    if folder is None:
        return "none"
    if not folder.exists():
        return "absent"
    return "writable" if folder.is_dir() and os.access(folder, os.W_OK) else "read-only"


def _compiler() -> dict[str, Any]:
    """What kernels are compiled for and where they are kept, or why none can be."""
    from convkit import codegen
    from convkit.codegen import target

    why_not = codegen.why_not()
    facts: dict[str, Any] = {"state": why_not or "ready", "llvm": None, "kernels": _kept()}
    host = None if why_not else target.host()
    if host is not None:
        present = {name[1:] for name in host.features.split(",") if name.startswith("+")}
        facts |= {
            "llvm": ".".join(map(str, target.binding().llvm_version_info)),
            "target": host.cpu,
            "vector_bytes": host.vector_bytes,
            "registers": host.registers,
            "features": [name for name in _COMPILER_FEATURES if name in present],
        }
    return facts


def _kept() -> dict[str, Any]:
    """The folder of compiled kernels: how many objects, how many bytes."""
    from convkit.codegen.cache import path_of

    at = path_of("any")
    folder = None if at is None else at.parent
    try:
        sizes = [path.stat().st_size for path in folder.glob("*.o")] if folder is not None else []
    except OSError:
        sizes = []
    return {
        "folder": None if folder is None else str(folder),
        "state": _state(folder),
        "objects": len(sizes),
        "bytes": sum(sizes),
    }


def _compiler_lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [
        (say("cli.doctor.compiler"), say(f"plan.reason.{facts['state']}") if facts["llvm"] is None else _target(facts))
    ]
    kept = facts["kernels"]
    size = f"{kept['bytes'] / 1024:.1f}"
    state = say(f"cli.doctor.state.{kept['state']}")
    line = say("cli.doctor.kept", folder=kept["folder"], state=state, count=kept["objects"], size=size)
    lines.append((say("cli.doctor.kernels"), line))
    return lines


def _target(facts: dict[str, Any]) -> str:
    features = " ".join(facts["features"]) or say("cli.doctor.none")
    known = {name: facts[name] for name in ("llvm", "target", "vector_bytes", "registers")}
    return say("cli.doctor.compiles", features=features, **known)


def _machine() -> dict[str, float]:
    from dataclasses import asdict

    from convkit.planner.machine import current

    return asdict(current())


def _self_test() -> str:
    """A small convolution against the exact loops: ``ok``, or what went wrong."""
    try:
        import numpy as np

        import convkit as ck
        from convkit import oracle
        from convkit.spec import ConvSpec

        x, k = np.arange(1, 7), np.array([1, 2, 3])
        operator = oracle.array_operator(ConvSpec.of_arrays(1), (6,), (3,))
        truth = operator.apply(oracle.Grid.of(x.tolist()), oracle.Grid.of(k.tolist())).values
        for kind in (np.int64, np.float32, np.float64):
            if not np.array_equal(ck.convolve(x.astype(kind), k.astype(kind)), truth):
                return f"convolve({kind.__name__})"
    except Exception as error:  # whatever stops the self-test is what doctor is here to report
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "ok"
