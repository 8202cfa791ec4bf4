"""The cache folder: what is remembered between runs. It may be missing, full, read-only or damaged without harm."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path | None:
    """``CONVKIT_CACHE_DIR``, or ``convkit`` in the user's cache folder; None if there is no home."""
    chosen = os.environ.get("CONVKIT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base) / "convkit" if base else Path.home() / ".cache" / "convkit"
    except RuntimeError:
        return None


def cache_file(name: str) -> Path | None:
    """A file of the cache folder, which need not exist."""
    folder = cache_folder()
    return None if folder is None else folder / name


def write_whole(path: Path | None, content: str | bytes) -> bool:
    """Write ``content`` under ``path`` whole or not at all; False where the folder cannot be written."""
    if path is None:
        return False
    scratch = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(scratch, path)
    except OSError:
        if scratch and os.path.exists(scratch):
            os.unlink(scratch)
        return False
    return True
