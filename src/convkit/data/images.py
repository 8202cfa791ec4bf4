"""Pictures, through pillow."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from convkit.data.content import Content, first_line, numeric
from convkit.errors import FileError, MissingExtraError

# How pillow's modes become arrays; a mode that is not here is turned into the nearest one that is.
_AS_THEY_ARE = ("L", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I", "F")
_TURNED = {"1": "L", "LA": "RGBA", "La": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "RGBX": "RGB"}
_DEPTHS = {"uint8": 8, "uint16": 16, "float32": 32}
_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "tiff": "TIFF"}


def read_picture(path: Path, member: str | None) -> Content:
    """Read a picture upright, as (rows, columns) grey or (rows, columns, channels) colour.

    Grey keeps its depth: uint8, uint16, int32 or float32. Palettes become colours.
    """
    pillow = pillow_module()
    try:
        with path.open("rb") as stream, pillow.Image.open(stream) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise FileError("many-pictures", path=str(path), count=image.n_frames)
            if image.mode in ("RGB", "RGBA") and any(";16" in str(tile[3]) for tile in image.tile):
                # Pillow would drop the lower eight bits without a word.
                raise FileError("deep-colour", path=str(path))
            image.load()
            upright = pillow.ImageOps.exif_transpose(image)
            return Content(np.array(_plain(upright)), "picture")
    except FileError:
        raise
    except pillow.UnidentifiedImageError as error:
        with path.open("rb") as stream:
            start = stream.read(6)
        form = path.suffix[1:].lower()
        raise FileError("wrong-format", path=str(path), format=form, start=repr(start)[1:]) from error
    except (OSError, ValueError, SyntaxError, EOFError, pillow.Image.DecompressionBombError) as error:
        if isinstance(error, PermissionError):
            raise
        form = path.suffix[1:].lower()
        raise FileError("broken", path=str(path), format=form, reason=first_line(error)) from error


def write_picture(path: Path, content: Content, name: str) -> None:
    """Write grey or colour; each format refuses what it would have to change.

    png holds uint8, and uint16 in grey; tiff holds float32 in grey as well; jpg holds uint8 without transparency.
    """
    pillow = pillow_module()
    array = numeric(content.array, name)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * 255
    form = Path(name).suffix[1:].lower()
    grey = array.ndim == 2
    channels = 1 if grey else array.shape[-1] if array.ndim == 3 else 0
    depths = {"png": (8, 16), "tif": (8, 16, 32), "tiff": (8, 16, 32)}.get(form, (8,))
    depth = _DEPTHS.get(str(array.dtype), 0)
    colours = (1, 3) if form in ("jpg", "jpeg") else (1, 3, 4)
    if channels not in colours or depth not in depths or (depth > 8 and not grey) or array.size == 0:
        shape = "x".join(map(str, array.shape))
        holds = {(8,): "uint8", (8, 16): "uint8, uint16 (grey)"}.get(depths, "uint8, uint16 / float32 (grey)")
        holds += f"; {', '.join(map(str, colours))} channel(s)"
        raise FileError("cannot-hold", path=name, format=form, array=f"{array.dtype} {shape}", holds=holds)
    options = {"quality": 95, "subsampling": 0} if form in ("jpg", "jpeg") else {}
    pillow.Image.fromarray(np.ascontiguousarray(array)).save(path, format=_FORMATS[form], **options)


def _plain(image):  # type: ignore[no-untyped-def]
    if image.mode in _AS_THEY_ARE:
        return image
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert(_TURNED.get(image.mode, "RGB"))


def pillow_module() -> ModuleType:
    """Pillow with the parts that are used here, or ``missing.pictures``."""
    try:
        import PIL
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise MissingExtraError("pictures") from error
    return PIL
