"""An output file is written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convkit.errors import ConvError, FileError


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary file in the folder of ``path``, and rename it to ``path`` when the block ends well.

    A rename within a folder is atomic, so a reader sees the old file or the new one and never a part. If the block
    fails, the old file stays as it was and the temporary one is removed.

    Raises
    ------
    FileError
        ``file.is-a-folder``, ``file.no-folder``, ``file.not-a-file``, ``file.unwritable``.
    """
    named = Path(path)
    if named.is_dir():
        raise FileError("is-a-folder", path=str(named))
    target = named.resolve()  # through a symbolic link: the file it points to is replaced, not the link
    if not target.parent.is_dir():
        raise FileError("no-folder", path=str(named), folder=str(named.parent))
    if target.exists() and not target.is_file():
        raise FileError("not-a-file", path=str(named))  # a rename would replace a device or a pipe
    try:
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(13, os.strerror(13), str(named))
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".convkit-", suffix=target.suffix)
        os.close(handle)
    except OSError as error:
        raise FileError("unwritable", path=str(named), reason=error.strerror or str(error)) from error
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except ConvError:
        raise
    except OSError as error:
        raise FileError("unwritable", path=str(named), reason=error.strerror or str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _mode(target: Path) -> int:
    """The old file's permissions, or what a new file gets under the user's mask (mkstemp gives 0600)."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
