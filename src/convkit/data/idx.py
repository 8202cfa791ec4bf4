"""The IDX format of MNIST and its relatives: a magic number, sizes, bytes."""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from convkit.data.content import first_line
from convkit.data.pictures import Collection, Note, Pictures, held
from convkit.data.tree import Tree
from convkit.errors import DataError, FileError

_NAME = re.compile(
    r"(?:.*/)?(?P<stem>.*?)(?P<part>train|t10k|test|valid(?:ation)?|val)(?P<between>[-_.])"
    r"(?P<what>images|labels)[-_.]idx(?P<axes>[1234])[-_.](?P<type>ubyte|int)(?P<gz>\.gz)?",
    re.IGNORECASE,
)
_PARTS = {"train": "train", "t10k": "test", "test": "test", "val": "validation", "valid": "validation"}
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# MD5 sums of the unpacked files as their authors published them, so that compressing anew changes nothing.
_PUBLISHED = {
    "6bbc9ace898e44ae57da46a324031adb": "MNIST",
    "2646ac647ad5339dbf082846283269ea": "MNIST",
}
# And of the packed files, of relatives that are known by these alone.
_PUBLISHED_PACKED = {
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d": "Fashion-MNIST",
    "bef4ecab320f06d8554ea6380940ec79": "Fashion-MNIST",
    "bdb82020997e1d708af4cf47b453dcf7": "KMNIST",
    "5c965bf0a639b31b8f53240b1b52f4d7": "KMNIST",
}
MOST_CLASSES = 65_536
"""Labels that lie further apart than this are no classes."""

_CLASSES = {
    "Fashion-MNIST": (
        "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    "KMNIST": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}  # fmt: skip


def found(tree: Tree) -> bool:
    """Whether any file of the tree is named as IDX files are."""
    return any(_NAME.fullmatch(name) for name in tree.files)


def read_idx(tree: Tree) -> Collection:
    """Read the pictures and labels of every part that is there.

    Raises
    ------
    DataError
        ``data.wrong-magic``, ``data.truncated``, ``data.counts-differ``, ``data.no-partner``, ``data.sizes-differ``,
        ``data.which-files``, ``data.negative-label``, ``data.label-gap``.
    FileError
        ``file.broken`` where a compressed file's own checksum does not agree.
    """
    files = _files(tree)
    parts: dict[str, Pictures] = {}
    shapes: dict[str, tuple[int, int, int]] = {}
    known: set[str] = set()
    for part, pair in files.items():
        for what, other in (("images", "labels"), ("labels", "images")):
            if what not in pair:
                raise DataError("no-partner", path=tree.place(pair[other]), what=what)
        images, title = _array(tree, pair["images"])
        labels, _ = _array(tree, pair["labels"])
        images = _as_pictures(images, tree.place(pair["images"]))
        if labels.ndim == 2 and labels.shape[1] == 8:  # QMNIST: the first of eight columns is the class
            labels = labels[:, 0]
        if labels.ndim != 1 or len(images) != len(labels):
            facts = {"images": tree.place(pair["images"]), "labels": tree.place(pair["labels"])}
            raise DataError("counts-differ", pictures=len(images), named=len(labels), **facts)
        if len(labels) == 0:
            raise FileError("empty", path=tree.place(pair["images"]))
        if labels.min() < 0 or labels.dtype.kind not in "iu":
            raise DataError("negative-label", path=tree.place(pair["labels"]), label=labels.min())
        known.add(title)
        names = [f"{part} #{i}" for i in range(len(labels))]
        parts[part] = held(images, labels.astype(np.int64), names)
        shapes[part] = (images.shape[1], images.shape[2], images.shape[3])
    if len(set(shapes.values())) > 1:
        (one, size), (other, wrong), *_ = shapes.items()
        facts = {
            "path": tree.place(files[other]["images"]),
            "others": "x".join(map(str, size[:2])),
            "count": len(parts[one]),
        }
        raise DataError("sizes-differ", size="x".join(map(str, wrong[:2])), **facts)
    title = known.pop() if len(known) == 1 else ""
    notes = () if title else (Note("not-published", {"path": str(tree.path)}),)
    classes, least = _classes(str(tree.path), title, list(parts.values()))
    if least:
        parts = {name: replace(part, labels=part.labels - least) for name, part in parts.items()}
    shape = next(iter(shapes.values()))
    three = (parts.get("train"), parts.get("validation"), parts.get("test"))
    return Collection(title or tree.path.name, "idx", classes, shape, *three, notes=notes)


def _classes(path: str, title: str, parts: list[Pictures]) -> tuple[tuple[str, ...], int]:
    """The names of the classes, and the label of the first: EMNIST's letters are counted from 1."""
    least = min(int(part.labels.min()) for part in parts)
    largest = max(parts, key=lambda part: int(part.labels.max()))
    count = int(largest.labels.max()) + 1
    if count - least > MOST_CLASSES:
        present = np.unique(np.concatenate([part.labels for part in parts]))
        record = largest.names[int(largest.labels.argmax())]
        missing = int(present[np.flatnonzero(np.diff(present) > 1)[0]]) + 1
        raise DataError("label-gap", path=path, label=count - 1, record=record, missing=missing)
    if title:
        names = _CLASSES.get(title, ())
        return (names if len(names) >= count else tuple(map(str, range(max(count, 10))))), 0
    return tuple(map(str, range(least, count))), least


def _files(tree: Tree) -> dict[str, dict[str, str]]:
    """``{"train": {"images": name, "labels": name}, ...}``; a plain file comes before its packed twin."""
    files: dict[str, dict[str, str]] = {}
    stems: set[str] = set()
    for name in sorted(tree.files, key=lambda one: (one.endswith(".gz"), one)):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        word = match["part"].lower()
        pair = files.setdefault(_PARTS.get(word, word), {})
        twin = pair.setdefault(match["what"].lower(), name)
        if twin != name and twin + ".gz" != name:
            raise DataError("which-files", path=str(tree.path), one=twin, other=name)
        stems.add(match["stem"])
    if len(stems) > 1:
        one, other, *_ = (
            next(n for n in tree.files if (m := _NAME.fullmatch(n)) and m["stem"] == s) for s in sorted(stems)
        )
        raise DataError("which-files", path=str(tree.path), one=one, other=other)
    return files


def _array(tree: Tree, name: str) -> tuple[NDArray[np.generic], str]:
    """The numbers of one IDX file, and the data set that publishes it, if it is known."""
    place = tree.place(name)
    packed = tree.read(name)
    content = packed
    title = ""
    if packed[:2] == b"\x1f\x8b":
        title = _PUBLISHED_PACKED.get(hashlib.md5(packed, usedforsecurity=False).hexdigest(), "")
        try:
            content = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error) as error:
            raise FileError("broken", path=place, format="gz", reason=first_line(error)) from error
    title = title or _PUBLISHED.get(hashlib.md5(content, usedforsecurity=False).hexdigest(), "")
    if len(content) < 4:
        raise DataError("truncated", path=place, wanted=4, got=len(content))
    zero, kind, axes = struct.unpack(">HBB", content[:4])
    if zero != 0 or kind not in _TYPES or not 1 <= axes <= 4:
        raise DataError("wrong-magic", path=place, magic=content[:4].hex(" "), what="IDX", wanted="00 00 08 0n")
    match = _NAME.fullmatch(name)
    if match is not None and axes != int(match["axes"]):
        wanted_magic = f"00 00 {kind:02x} 0{match['axes']}"
        raise DataError("wrong-magic", path=place, magic=content[:4].hex(" "), what="IDX", wanted=wanted_magic)
    start = 4 + 4 * axes
    if len(content) < start:
        raise DataError("truncated", path=place, wanted=start, got=len(content))
    shape = struct.unpack(f">{axes}I", content[4:start])
    dtype = np.dtype(_TYPES[kind])
    wanted = start + math.prod(shape) * dtype.itemsize
    if len(content) != wanted:
        raise DataError("truncated", path=place, wanted=wanted, got=len(content))
    return np.frombuffer(content, dtype, offset=start).reshape(shape), title


def _as_pictures(array: NDArray[np.generic], place: str) -> NDArray[np.uint8]:
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.dtype != np.uint8 or array.shape[-1] not in (1, 3):
        said = f"{array.dtype} {'x'.join(map(str, array.shape))}"
        raise DataError("wrong-magic", path=place, magic=said, what="IDX", wanted="uint8 n x rows x columns")
    return array  # type: ignore[return-value]
