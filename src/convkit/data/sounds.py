"""Sounds, through soundfile."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from convkit.data.content import Content, numeric
from convkit.errors import FileError, MissingExtraError

DEFAULT_RATE = 44100
_ENCODINGS = {
    "int16": "PCM_16",
    "int32": "PCM_32",
    "uint8": "PCM_U8",
    "float64": "DOUBLE",
    "float32": "FLOAT",
}


def read_sound(path: Path, member: str | None) -> Content:
    """Read samples as float64 in -1..1, shape (samples,) or (samples, channels)."""
    soundfile = _soundfile()
    try:
        with soundfile.SoundFile(path) as sound:
            return Content(sound.read(dtype="float64"), "sound", sound.samplerate, sound.subtype)
    except soundfile.LibsndfileError as error:
        raise FileError("broken", path=str(path), format="wav", reason=error.error_string.rstrip(".")) from error


def write_sound(path: Path, content: Content, name: str) -> None:
    """Write samples at the content's rate and encoding; what exceeds -1..1 is clipped where the encoding is whole."""
    soundfile = _soundfile()
    array = numeric(content.array, name)
    if array.ndim > 2 or array.dtype.kind == "c" or (array.ndim == 2 and array.shape[1] > 1024):
        shape = "x".join(map(str, array.shape))
        raise FileError("cannot-hold", path=name, format="wav", array=f"{array.dtype} {shape}", holds="1-D / 2-D, real")
    encoding = content.encoding or _ENCODINGS.get(str(array.dtype), "FLOAT")
    if str(array.dtype) not in ("int16", "int32", "float32", "float64"):
        array = array.astype(np.float64)
    try:
        soundfile.write(path, array, content.rate or DEFAULT_RATE, subtype=encoding, format="WAV")
    except soundfile.LibsndfileError as error:
        raise FileError("unwritable", path=name, reason=error.error_string.rstrip(".")) from error


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package is there, its library is not
        raise MissingExtraError("sounds") from error
    return soundfile
