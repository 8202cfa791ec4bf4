"""Read and write the user's files: one door, the format told by the suffix, every failure said plainly."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from convkit.data import arrays, images, sounds, tables
from convkit.data.content import Content
from convkit.data.whole import written_whole
from convkit.errors import FileError

__all__ = ["SUFFIXES", "Content", "format_of", "read", "write"]

Kind = Literal["array", "table", "sound", "picture"]


@dataclass(frozen=True, slots=True)
class Format:
    """How one kind of file is read and written."""

    kind: Kind
    read: Callable[[Path, str | None], Content]
    write: Callable[[Path, Content, str], None]


_ARRAY = Format("array", arrays.read_npy, arrays.write_npy)
_ARCHIVE = Format("array", arrays.read_npz, arrays.write_npz)
_TABLE = Format("table", tables.read_csv, tables.write_csv)
_SOUND = Format("sound", sounds.read_sound, sounds.write_sound)
_PICTURE = Format("picture", images.read_picture, images.write_picture)

FORMATS: dict[str, Format] = {
    ".npy": _ARRAY,
    ".npz": _ARCHIVE,
    ".csv": _TABLE,
    ".wav": _SOUND,
    ".png": _PICTURE,
    ".jpg": _PICTURE,
    ".jpeg": _PICTURE,
    ".tif": _PICTURE,
    ".tiff": _PICTURE,
}
SUFFIXES = tuple(FORMATS)


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format that a file's suffix names.

    Raises
    ------
    FileError
        ``file.unknown-suffix``.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise FileError("unknown-suffix", path=str(path), suffix=suffix or '""', known=" ".join(SUFFIXES))
    return FORMATS[suffix]


def output_format(path: str | os.PathLike[str]) -> Format:
    """The format of a file to write; what cannot be written to is refused before any work is done.

    Raises
    ------
    FileError
        ``file.is-a-folder``, ``file.unknown-suffix``, ``file.no-folder``.
    """
    place = Path(path)
    if place.is_dir():
        raise FileError("is-a-folder", path=str(place))
    form = format_of(place)
    if not place.resolve().parent.is_dir():
        raise FileError("no-folder", path=str(place), folder=str(place.parent))
    return form


def read(path: str | os.PathLike[str]) -> Content:
    """Read a file of numbers, a sound or a picture.

    Parameters
    ----------
    path : path
        ``.npy``, ``.npz`` (``file.npz:name`` picks one array of several), ``.csv``, ``.wav``, ``.png``, ``.jpg``,
        ``.tiff``.

    Returns
    -------
    Content
        The array, and what is needed to write a result in the same manner. Pictures are (rows, columns) or
        (rows, columns, channels); sounds are float64 in -1..1, (samples,) or (samples, channels).

    Raises
    ------
    FileError
        ``file.not-found``, ``file.is-a-folder``, ``file.unknown-suffix``, ``file.unreadable``, ``file.empty``,
        ``file.broken``, ``file.not-a-number``, ``file.ragged``, ``file.not-numeric``, ``file.which-array``,
        ``file.no-such-array``, ``file.deep-colour``, ``file.many-pictures``.
    MissingExtraError
        ``missing.pictures``, ``missing.sounds``.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "x.csv"
    >>> write(path, [1, 2, 3])
    >>> read(path).array
    array([1, 2, 3])
    """
    place, member = _split(os.fspath(path))
    form = format_of(place)
    if not place.exists():
        raise FileError("not-found", path=str(place), folder=str(place.parent))
    if place.is_dir():
        raise FileError("is-a-folder", path=str(place))
    try:
        if place.stat().st_size == 0:
            raise FileError("empty", path=str(place))
        content = form.read(place, member)
    except FileError:
        raise
    except (PermissionError, IsADirectoryError) as error:
        raise FileError("unreadable", path=str(place), reason=error.strerror or str(error)) from error
    if content.array.size == 0:
        raise FileError("empty", path=str(place))
    return content


def write(path: str | os.PathLike[str], content: Content | ArrayLike) -> None:
    """Write an array or a `Content` to a file, whole or not at all.

    If anything fails, an older file of that name stays as it was and nothing else is left behind.

    Raises
    ------
    FileError
        ``file.unknown-suffix``, ``file.cannot-hold``, ``file.is-a-folder``, ``file.no-folder``, ``file.not-a-file``,
        ``file.unwritable``.
    MissingExtraError
        ``missing.pictures``, ``missing.sounds``.
    """
    place = Path(path)
    form = output_format(place)
    if not isinstance(content, Content):
        content = Content(np.asarray(content), form.kind)
    with written_whole(place) as temporary:
        form.write(temporary, content, str(place))


def _split(path: str) -> tuple[Path, str | None]:
    """``file.npz:name`` as a path and an array's name."""
    stem, found, member = path.rpartition(".npz:")
    return (Path(f"{stem}.npz"), member) if found else (Path(path), None)
