"""A folder or an archive as one thing: names, and the bytes behind them."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from convkit.data.content import first_line
from convkit.errors import DataError, FileError

LIMIT = 1 << 30
"""Bytes of pictures held in memory unless told otherwise; larger folders are read batch by batch."""

_HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_LISTS = {"MD5SUMS": "md5", "SHA1SUMS": "sha1", "SHA256SUMS": "sha256", "SHA512SUMS": "sha512"}


@dataclass(frozen=True)
class Tree:
    """Files by their names inside a folder or an archive.

    Attributes
    ----------
    path : Path
        The folder or the archive.
    kind : {"folder", "archive"}
        Where the files lie.
    files : mapping of str to callable
        Name, with ``/`` between folders, to a function that gives the file's bytes.
    sizes : mapping of str to int
        Bytes of each file.
    folders : frozenset of str
        Every folder, empty ones included.
    """

    path: Path
    kind: str
    files: Mapping[str, Callable[[], bytes]]
    sizes: Mapping[str, int]
    folders: frozenset[str] = field(default_factory=frozenset)

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        Raises
        ------
        FileError
            ``file.unreadable``, ``file.broken``.
        """
        try:
            return self.files[name]()
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: behind a password
            raise FileError("broken", path=self.place(name), format="zip", reason=first_line(error)) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise FileError("unreadable", path=self.place(name), reason=reason) from error

    def place(self, name: str) -> str:
        """A file's name as a user finds it."""
        return str(self.path / name)


def plant(path: Path, limit: int = LIMIT) -> Tree:
    """Look into a folder, a ``.zip`` or a ``.tar`` (also compressed); nothing is unpacked to disk.

    Raises
    ------
    FileError
        ``file.not-found``, ``file.unreadable``, ``file.broken``, ``file.empty``, ``file.wrong-format``.
    DataError
        ``data.archive-too-large``, ``data.unfinished-archive``, ``data.checksum``; ``data.no-data-set`` if the file is
        no archive and is not named like one.
    """
    if not path.exists():
        raise FileError("not-found", path=str(path), folder=str(path.parent))
    try:
        if path.is_dir():
            tree = _folder(path)
        elif zipfile.is_zipfile(path):
            tree = _zip(path)
        elif tarfile.is_tarfile(path):
            tree = _tar(path, limit)
        else:
            raise _no_archive(path)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FileError("broken", path=str(path), format=path.suffix[1:], reason=first_line(error)) from error
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or first_line(error)
        code = "unreadable" if isinstance(error, PermissionError) else "broken"
        raise FileError(code, path=str(path), format=path.suffix[1:], reason=reason) from error
    _check_lists(tree)
    return tree


def _seen(name: str) -> bool:
    return not any(part.startswith(".") or part in _HIDDEN for part in name.split("/"))


def _folder(path: Path) -> Tree:
    files: dict[str, Callable[[], bytes]] = {}
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    visited: set[str] = set()
    for root, below, names in os.walk(path, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:  # a link back to a folder above it
            below.clear()
            continue
        visited.add(real)
        below.sort()
        inside = Path(root).relative_to(path).as_posix()
        prefix = "" if inside == "." else inside + "/"
        folders.update(prefix + one for one in below if _seen(prefix + one))
        for one in sorted(names):
            place = Path(root) / one
            if _seen(prefix + one) and place.is_file():
                files[prefix + one] = place.read_bytes
                sizes[prefix + one] = place.stat().st_size
    return Tree(path, "folder", files, sizes, frozenset(folders))


def _zip(path: Path) -> Tree:
    archive = zipfile.ZipFile(path)
    files: dict[str, Callable[[], bytes]] = {}
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    for member in sorted(archive.infolist(), key=lambda one: one.filename):
        name = member.filename.strip("/")
        if not _seen(name):
            continue
        if member.is_dir():
            folders.add(name)
        else:
            files[name] = partial(archive.read, member)
            sizes[name] = member.file_size
    return Tree(path, "archive", files, sizes, frozenset(folders | _above(files)))


def _tar(path: Path, limit: int) -> Tree:
    """A compressed archive has no order but its own: it is read through once and kept."""
    held: dict[str, bytes] = {}
    folders: set[str] = set()
    total = 0
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.removeprefix("./").strip("/")
            if not _seen(name):
                continue
            if member.isdir():
                folders.add(name)
            elif member.isfile():
                total += member.size
                if total > limit:
                    raise DataError("archive-too-large", path=str(path), limit=limit >> 20)
                stream = archive.extractfile(member)
                held[name] = stream.read() if stream else b""
        _read_to_the_end(archive, path)
    files = {name: partial(held.__getitem__, name) for name in sorted(held)}
    return Tree(path, "archive", files, {name: len(held[name]) for name in files}, frozenset(folders | _above(files)))


def _read_to_the_end(archive: tarfile.TarFile, path: Path) -> None:
    """Tarfile ends in silence where a header is damaged, and before the checksum that compression keeps at the end."""
    stream = archive.fileobj
    assert stream is not None
    stream.seek(archive.offset)
    mark = stream.read(tarfile.BLOCKSIZE)
    if len(mark) != tarfile.BLOCKSIZE or any(mark):
        raise DataError("unfinished-archive", path=str(path), place=archive.offset)
    while stream.read(1 << 20):
        pass


def _no_archive(path: Path) -> Exception:
    """What is wrong with a file that is no archive."""
    form = next((one for one in _ARCHIVES if path.name.lower().endswith(one)), "")
    if not form:
        return DataError("no-data-set", path=str(path), found="-")
    with path.open("rb") as stream:
        start = stream.read(8)
    if not start:
        return FileError("empty", path=str(path))
    return FileError("wrong-format", path=str(path), format=form[1:], start=repr(start)[1:])


def _above(files: Mapping[str, object]) -> set[str]:
    """The folders that the names of files imply."""
    found: set[str] = set()
    for name in files:
        parts = name.split("/")
        found.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    return found


def _check_lists(tree: Tree) -> None:
    """Check every file that an ``MD5SUMS`` (``SHA256SUMS``, ...) beside it names."""
    for name in tree.files:
        folder, _, last = name.rpartition("/")
        if last not in _LISTS:
            continue
        for line in tree.read(name).decode("utf-8", "replace").splitlines():
            wanted, _, listed = line.strip().partition(" ")
            target = "/".join(filter(None, (folder, listed.strip().removeprefix("*").removeprefix("./"))))
            if target in tree.files:
                got = hashlib.new(_LISTS[last], tree.read(target)).hexdigest()
                if got != wanted.lower():
                    facts = {"path": tree.place(target), "list": last, "wanted": wanted, "got": got}
                    raise DataError("checksum", **facts)
