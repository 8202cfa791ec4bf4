"""One picture file as uint8 of a given size and number of channels, or a refusal that says why not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.data.content import first_line
from convkit.errors import DataError, FileError, by

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_GREY = ("1", "L")
_COLOUR = ("RGB", "P", "CMYK", "YCbCr", "LAB", "HSV")
_SEE_THROUGH = ("LA", "PA", "La", "RGBA", "RGBa")


@dataclass(frozen=True, slots=True)
class Frame:
    """What every picture is brought to.

    Attributes
    ----------
    size : (int, int) or None
        Rows and columns: the shorter side is scaled and the middle cut out. None takes pictures as they are.
    channels : 1, 3 or None
        Grey or colour; None takes pictures as they are.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None


def pillow() -> ModuleType:
    """Pillow, or ``missing.pictures``."""
    from convkit.data.images import pillow_module

    return pillow_module()


def header(content: bytes, path: str, frame: Frame) -> tuple[int, int, int]:
    """Rows, columns and channels that a file will have, without decoding it.

    Raises
    ------
    FileError
        ``file.broken``, ``file.empty``.
    DataError
        ``data.mode``.
    """
    with _opened(content, path) as image:
        columns, rows = image.size
        channels = frame.channels or _channels(image, path)
        _refuse_deep(image, path)
        rows, columns = frame.size or (rows, columns)
        return rows, columns, channels


def decoded(content: bytes, path: str, frame: Frame) -> NDArray[np.uint8]:
    """The picture itself, shape (rows, columns, channels).

    Raises
    ------
    FileError
        ``file.broken``, ``file.empty``.
    DataError
        ``data.mode``.
    """
    module = pillow()
    try:
        with _opened(content, path) as image:
            _refuse_deep(image, path)
            channels = frame.channels or _channels(image, path)
            upright = module.ImageOps.exif_transpose(image)
            if upright.mode in _SEE_THROUGH or "transparency" in upright.info:
                upright = _on_white(upright)
            plain = upright.convert("L" if channels == 1 else "RGB")
            if frame.size is not None:
                plain = fitted(plain, frame.size)
            pixels = np.array(plain, np.uint8)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        if isinstance(error, (DataError, FileError)):
            raise
        raise FileError("broken", path=path, format=_suffix(path), reason=first_line(error)) from error
    return pixels.reshape(*pixels.shape[:2], channels)


def fitted(image: Any, size: tuple[int, int]) -> Any:
    """Scale the shorter side to what is wanted and cut out the middle; nothing is stretched."""
    module = pillow()
    rows, columns = size
    if image.size == (columns, rows):
        return image
    return module.ImageOps.fit(image, (columns, rows), method=module.Image.Resampling.BILINEAR)


def framed(images: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
    """Pictures in memory, shape (pictures, rows, columns, channels), brought to another size or to other colours."""
    channels = images.shape[-1]
    if frame.size is not None and tuple(images.shape[1:3]) != frame.size:
        module = pillow()
        shape = (len(images), *frame.size, channels)
        resized = np.empty(shape, np.uint8)
        for i, one in enumerate(images):
            image = module.Image.fromarray(one[..., 0] if channels == 1 else one)
            resized[i] = np.asarray(fitted(image, frame.size)).reshape(shape[1:])
        images = resized
    if frame.channels == 3 and channels == 1:
        images = np.repeat(images, 3, axis=-1)
    elif frame.channels == 1 and channels == 3:
        # The luma of ITU-R BT.601, as Pillow's "L".
        images = np.rint(images @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
    return images


def agree(shapes: Sequence[tuple[int, int, int]], places: Sequence[str]) -> tuple[int, int, int]:
    """The shape that all pictures have.

    Raises
    ------
    DataError
        ``data.sizes-differ``, ``data.modes-differ``.
    """
    counts: dict[tuple[int, int, int], int] = {}
    for shape in shapes:
        counts[shape] = counts.get(shape, 0) + 1
    usual = max(counts, key=lambda shape: counts[shape])
    if len(counts) > 1:
        odd = next(i for i, shape in enumerate(shapes) if shape != usual)
        wrong = shapes[odd]
        if wrong[:2] != usual[:2]:
            facts = {"size": by(wrong[:2]), "others": by(usual[:2]), "count": counts[usual]}
            raise DataError("sizes-differ", path=places[odd], **facts)
        facts = {"channels": wrong[2], "others": usual[2], "count": counts[usual]}
        raise DataError("modes-differ", path=places[odd], **facts)
    return usual


def _opened(content: bytes, path: str) -> Any:
    module = pillow()
    if not content:
        raise FileError("empty", path=path)
    try:
        return module.Image.open(io.BytesIO(content))
    except (OSError, ValueError, SyntaxError, module.Image.DecompressionBombError) as error:
        whole = not content.startswith((b"\x89PNG", b"\xff\xd8", b"GIF8", b"RIFF"))  # a picture, cut in its first lines
        if whole and isinstance(error, module.UnidentifiedImageError):
            start = repr(content[:6])[1:]
            raise FileError("wrong-format", path=path, format=_suffix(path), start=start) from error
        raise FileError("broken", path=path, format=_suffix(path), reason=first_line(error)) from error


def _suffix(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _channels(image: Any, path: str) -> int:
    if image.mode in _GREY:
        return 1
    if image.mode in _COLOUR and "transparency" not in image.info:
        return 3
    if image.mode in _SEE_THROUGH or image.mode in _COLOUR:
        raise DataError("mode", path=path, mode=image.mode)
    raise DataError("deep", path=path, mode=image.mode)


def _refuse_deep(image: Any, path: str) -> None:
    if image.mode not in (*_GREY, *_COLOUR, *_SEE_THROUGH):
        raise DataError("deep", path=path, mode=image.mode)


def _on_white(image: Any) -> Any:
    module = pillow()
    layer = image.convert("RGBA")
    return module.Image.alpha_composite(module.Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
