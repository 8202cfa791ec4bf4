"""NumPy's own files: npy holds one array, npz several by name."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from convkit.data.content import Content, first_line, numeric
from convkit.errors import FileError

_ARRAY_MAGIC, _ARCHIVE_MAGIC = b"\x93NUMPY", b"PK"


def read_npy(path: Path, member: str | None) -> Content:
    """Read the one array of an npy file."""
    _check_start(path, _ARRAY_MAGIC, "npy")
    try:
        with path.open("rb") as stream:
            return Content(numeric(np.load(stream, allow_pickle=False), path))
    except FileError:
        raise
    except (ValueError, EOFError) as error:
        raise FileError("broken", path=str(path), format="npy", reason=first_line(error)) from error


def read_npz(path: Path, member: str | None) -> Content:
    """Read the array called ``member``, or the only one there is."""
    _check_start(path, _ARCHIVE_MAGIC, "npz")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            names = list(archive.files)
            if member is None and len(names) != 1:
                raise FileError("which-array", path=str(path), count=len(names), names=", ".join(names) or "-")
            if member is not None and member not in names:
                raise FileError("no-such-array", path=str(path), name=member, names=", ".join(names) or "-")
            return Content(numeric(archive[member or names[0]], path))
    except FileError:
        raise
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise FileError("broken", path=str(path), format="npz", reason=first_line(error)) from error


def write_npy(path: Path, content: Content, name: str) -> None:
    """Write one array."""
    with path.open("wb") as stream:
        np.save(stream, numeric(content.array, name), allow_pickle=False)


def write_npz(path: Path, content: Content, name: str) -> None:
    """Write one array, under the name ``array``."""
    with path.open("wb") as stream:
        np.savez_compressed(stream, array=numeric(content.array, name))


def _check_start(path: Path, magic: bytes, form: str) -> None:
    with path.open("rb") as stream:
        start = stream.read(len(magic))
    if start != magic:
        raise FileError("wrong-format", path=str(path), format=form, start=repr(start)[1:])
