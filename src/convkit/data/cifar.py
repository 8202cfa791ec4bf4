"""The binary version of CIFAR-10 and CIFAR-100: records of one or two labels and 3072 colour values."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from convkit.data.pictures import Collection, Note, Pictures, held
from convkit.data.tree import Tree
from convkit.errors import DataError, FileError

_TEN = re.compile(r"(?:.*/)?(?:data_batch_\d+|test_batch)\.bin")
_HUNDRED = re.compile(r"(?:.*/)?(?:train|test)\.bin")
_PICKLED = re.compile(r"(?:.*/)?(?:data_batch_\d+|test_batch|batches\.meta|(?:train|test|meta))")
_SUMS = {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
         "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"}  # fmt: skip
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PIXELS = 3 * 32 * 32


def found(tree: Tree) -> bool:
    """Whether any file of the tree is named as CIFAR's are; the pickled version counts, to be refused."""
    return any(_TEN.fullmatch(name) or _HUNDRED.fullmatch(name) for name in tree.files) or bool(_pickled(tree))


def _pickled(tree: Tree) -> str:
    for name in tree.files:
        # Protocol 2 and later begin with 0x80; Python 2 wrote CIFAR's files so.
        if _PICKLED.fullmatch(name) and tree.sizes[name] > 1000 and tree.read(name)[:1] == b"\x80":
            return name
    return ""


def read_cifar(tree: Tree) -> Collection:
    """Read the parts that are there; colour planes become the last axis.

    Raises
    ------
    DataError
        ``data.pickled``, ``data.truncated``, ``data.label-too-large``.
    FileError
        ``file.empty``.
    """
    pickled = _pickled(tree)
    binary = [name for name in tree.files if _TEN.fullmatch(name)]
    labels = 1
    if not binary:
        binary, labels = [name for name in tree.files if _HUNDRED.fullmatch(name)], 2
    if not binary:
        raise DataError("pickled", path=tree.place(pickled))
    classes, notes = _class_names(tree, labels)
    parts: dict[str, list[tuple[str, np.ndarray]]] = {}  # type: ignore[type-arg]
    for name in sorted(binary):
        records = _records(tree, name, labels, len(classes))
        part = "test" if name.rpartition("/")[2].startswith("test") else "train"
        parts.setdefault(part, []).append((name, records))
    notes += _checked(tree)
    made = {part: _joined(records, labels) for part, records in parts.items()}
    return Collection(
        f"CIFAR-{len(classes)}", "cifar", classes, (32, 32, 3), made.get("train"), None, made.get("test"), notes=notes
    )


def _class_names(tree: Tree, labels: int) -> tuple[tuple[str, ...], tuple[Note, ...]]:
    wanted = "batches.meta.txt" if labels == 1 else "fine_label_names.txt"
    for name in tree.files:
        if name.rpartition("/")[2] == wanted:
            lines = tuple(line.strip() for line in tree.read(name).decode("utf-8", "replace").splitlines())
            listed = tuple(line for line in lines if line)
            if len(set(listed)) == len(listed) == (10 if labels == 1 else 100):
                return listed, ()
            raise DataError(
                "class-list", path=tree.place(name), count=len(set(listed)), wanted=10 if labels == 1 else 100
            )
    return (_CLASSES if labels == 1 else tuple(f"class {i}" for i in range(100))), (
        Note("no-class-names", {"file": wanted}),
    )


def _records(tree: Tree, name: str, labels: int, classes: int) -> np.ndarray:  # type: ignore[type-arg]
    content = tree.read(name)
    width = labels + _PIXELS
    if not content:
        raise FileError("empty", path=tree.place(name))
    if len(content) % width:
        raise DataError("truncated", path=tree.place(name), wanted=-(-len(content) // width) * width, got=len(content))
    records = np.frombuffer(content, np.uint8).reshape(-1, width)
    wrong = np.flatnonzero(records[:, labels - 1] >= classes)
    if wrong.size:
        facts = {"label": int(records[wrong[0], labels - 1]), "record": int(wrong[0]), "classes": classes}
        raise DataError("label-too-large", path=tree.place(name), **facts)
    return records


def _joined(records: list[tuple[str, np.ndarray]], labels: int) -> Pictures:  # type: ignore[type-arg]
    whole = np.concatenate([part for _, part in records])
    images = np.ascontiguousarray(whole[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    names = [f"{name} #{i}" for name, part in records for i in range(len(part))]
    return held(images, whole[:, labels - 1].astype(np.int64), names)


def _checked(tree: Tree) -> tuple[Note, ...]:
    """An archive under its published name is compared with its published MD5."""
    wanted = _SUMS.get(tree.path.name)
    if tree.kind != "archive" or wanted is None:
        return ()
    with tree.path.open("rb") as stream:
        got = hashlib.file_digest(stream, "md5").hexdigest()
    return () if got == wanted else (Note("checksum-differs", {"path": str(tree.path), "wanted": wanted, "got": got}),)
