"""Everything that a run needs to go on, in one file: tensors in safetensors, the rest as JSON in its header.

A file is written under another name, flushed to the disk and then renamed, so that a kill at any moment leaves either
the old files or the new one. Its header holds a checksum of all tensors: a file that was damaged later is refused.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from convkit.data.content import first_line
from convkit.data.whole import written_whole
from convkit.errors import FileError, RunError

KEPT = 2
"""Checkpoints kept: if the newest is damaged, there is one before it."""

_FORMAT = "convkit.checkpoint.1"


@dataclass
class Checkpoint:
    """A moment of a run.

    Attributes
    ----------
    tensors : dict of str to Tensor
        Weights, the optimiser's state, the losses of all steps; the names say which.
    facts : dict
        Everything else, as plain data.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix``, without it."""
        start = prefix + "/"
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def write(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write ``folder/step-00000000.safetensors`` whole, and remove all but the newest `KEPT`.

    Raises
    ------
    RunError
        ``run.cannot-save``; what was there before is untouched.
    """
    path = folder / f"step-{step:08d}.safetensors"
    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    # One entry: safetensors writes several in any order, and equal checkpoints should be equal files.
    about = {"format": _FORMAT, "checksum": _checksum(tensors), "facts": checkpoint.facts}
    header = {"convkit": json.dumps(about)}
    with saving(path, folder):
        with written_whole(path) as temporary:
            save_file(tensors, temporary, metadata=header)
            _flush(temporary)
        for old in checkpoints(folder)[:-KEPT]:
            old.unlink(missing_ok=True)
    return path


@contextmanager
def saving(path: Path, folder: Path) -> Iterator[None]:
    """Say what cannot be written, and which checkpoints are still good.

    Raises
    ------
    RunError
        ``run.cannot-save``.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = str(error.facts.get("reason", error.code)) if isinstance(error, FileError) else ""
        reason = reason or getattr(error, "strerror", None) or first_line(error)
        left = ", ".join(one.name for one in checkpoints(folder)) or "-"
        raise RunError("cannot-save", path=str(path), reason=reason, left=left) from error


def read(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    RunError
        ``run.damaged-checkpoint``, ``run.no-checkpoint-left``.
    """
    others = [str(one) for one in checkpoints(path.parent) if one != path]
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("convkit", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dictionary)
        if header.get("format") != _FORMAT:
            raise ValueError(f"format {header.get('format')!r}")
        if header.get("checksum") != (found := _checksum(tensors)):
            raise ValueError(f"crc32 {found} != {header.get('checksum')}")
        facts = header["facts"]
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        facts = {"path": str(path), "reason": first_line(error)}
        if others:
            raise RunError("damaged-checkpoint", **facts, other=others[-1]) from error
        raise RunError("no-checkpoint-left", **facts) from error
    return Checkpoint(tensors, facts)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(name.encode(), value)
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
