"""Folders of pictures, one a class, with or without parts above them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convkit.data.fitting import SUFFIXES, Frame, agree, decoded, header
from convkit.data.pictures import Collection, Note, Pictures, held
from convkit.data.tree import Tree
from convkit.errors import DataError

PARTS = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def found(tree: Tree) -> bool:
    """Whether there is a picture below a folder."""
    return any(name.lower().endswith(SUFFIXES) and "/" in name for name in tree.files)


def read_folder(tree: Tree, frame: Frame, only: Sequence[str] | None, limit: int) -> Collection:
    """Read ``part/class/.../picture`` or ``class/.../picture``.

    Parameters
    ----------
    tree : Tree
        Where the pictures are.
    frame : Frame
        What they are brought to.
    only : sequence of str or None
        The classes wanted; the others are not even opened.
    limit : int
        Bytes that pictures may take in memory. More than that are read when they are needed.

    Raises
    ------
    DataError
        ``data.empty-class``, ``data.unknown-class``, ``data.parts-and-others``, ``data.sizes-differ``,
        ``data.modes-differ``, ``data.mode``, ``data.deep``.
    FileError
        ``file.broken``, ``file.wrong-format``, ``file.empty``, ``file.unreadable``.
    """
    root = _root(tree)
    pictures, ignored = _sorted_by_part(tree, root)
    _refuse_empty(tree, root, pictures, only)
    classes = _classes(tree, pictures)
    chosen = [name for name in classes if only is None or name in only]
    places: dict[str, list[str]] = {}
    labels: dict[str, NDArray[np.int64]] = {}
    for part, by_class in pictures.items():
        rows = [(label, name) for label, one in enumerate(chosen) for name in by_class.get(one, [])]
        places[part] = [name for _, name in rows]
        labels[part] = np.array([label for label, _ in rows], np.int64)
    names = [name for part in places.values() for name in part]
    if not names:
        raise DataError("no-pictures", path=str(tree.path))
    shapes = [header(tree.read(name), tree.place(name), frame) for name in names]
    shape = agree(shapes, [tree.place(name) for name in names])
    stream = len(names) * int(np.prod(shape)) > limit
    parts = {part: _pictures(tree, places[part], labels[part], frame, shape, stream) for part in places}
    notes = (Note("ignored", {"count": len(ignored), "first": ignored[0]}),) if ignored else ()
    if stream:
        notes += (Note("streamed", {"count": len(names), "limit": limit >> 20}),)
    divided = "no" if list(parts) == ["all"] else "yes"
    three = {"train": parts["all"]} if divided == "no" else parts
    return Collection(
        tree.path.name,
        "folder",
        tuple(chosen),
        shape,
        three.get("train"),
        three.get("validation"),
        three.get("test"),
        divided,
        notes,
    )


def class_names(tree: Tree) -> tuple[str, ...]:
    """The names of the class folders."""
    pictures, _ = _sorted_by_part(tree, _root(tree))
    return tuple(_classes(tree, pictures))


def _root(tree: Tree) -> str:
    """The folders that everything lies in, such as the one that an archive was made from; they end with ``/``."""
    names = [name for name in tree.files if name.lower().endswith(SUFFIXES)]
    root = ""
    while True:
        here = {name.removeprefix(root).split("/")[0] for name in names}
        here |= {folder.removeprefix(root).split("/")[0] for folder in tree.folders if folder.startswith(root)}
        if len(here) != 1:
            return root
        below = f"{root}{here.pop()}/"
        is_a_part = below.rstrip("/").rpartition("/")[2].lower() in PARTS
        is_a_class = any("/" not in name.removeprefix(below) for name in names)
        if is_a_part or is_a_class:
            return root
        root = below


def _sorted_by_part(tree: Tree, root: str) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    """``{part: {class: [names]}}``, part ``all`` where there are none; and files that are passed over."""
    pictures: dict[str, dict[str, list[str]]] = {}
    ignored: list[str] = []
    inside = [name for name in tree.files if name.startswith(root)]
    parted = _parted(tree, root)
    for name in inside:
        steps = name.removeprefix(root).split("/")
        if not name.lower().endswith(SUFFIXES) or len(steps) < (3 if parted else 2):
            ignored.append(name)
        elif parted:
            pictures.setdefault(PARTS[steps[0].lower()], {}).setdefault(steps[1], []).append(name)
        else:
            pictures.setdefault("all", {}).setdefault(steps[0], []).append(name)
    ignored += [name for name in tree.files if not name.startswith(root)]
    if not pictures:
        raise DataError("no-pictures", path=str(tree.path))
    return pictures, ignored


def _parted(tree: Tree, root: str) -> bool:
    """Whether the folders are parts; parts and classes side by side are a mistake."""
    below = [name.removeprefix(root).split("/") for name in tree.files if name.startswith(root)]
    held = [steps for steps in below if len(steps) > 1 and steps[-1].lower().endswith(SUFFIXES)]
    parts = {steps[0] for steps in held if steps[0].lower() in PARTS}
    others = sorted({steps[0] for steps in held} - parts)
    deep = any(len(steps) > 2 for steps in held if steps[0] in parts)
    if parts and others and deep and any(PARTS[one.lower()] == "train" for one in parts):
        facts = {"parts": ", ".join(sorted(parts)), "others": ", ".join(others)}
        raise DataError("parts-and-others", path=str(tree.path), **facts)
    return bool(parts) and not others


def _refuse_empty(tree: Tree, root: str, pictures: dict[str, dict[str, list[str]]], only: Sequence[str] | None) -> None:
    """A class that has a folder and no picture is a mistake, not a class."""
    for folder in sorted(tree.folders):
        if not folder.startswith(root):
            continue
        steps = folder.removeprefix(root).split("/")
        if "all" in pictures:
            part, inner = "all", steps
        else:
            part, inner = PARTS.get(steps[0].lower(), ""), steps[1:]
        empty = len(inner) == 1 and part in pictures and inner[0] not in pictures[part]
        if empty and (only is None or inner[0] in only):
            raise DataError("empty-class", path=tree.place(folder), name=inner[0])


def _classes(tree: Tree, pictures: dict[str, dict[str, list[str]]]) -> list[str]:
    """Sorted by name; what is tested must have been taught."""
    taught = pictures.get("train")
    if taught is not None:
        for part, by_class in pictures.items():
            unknown = sorted(by_class.keys() - taught.keys())
            if unknown:
                facts = {"names": ", ".join(unknown), "part": part, "known": ", ".join(sorted(taught))}
                raise DataError("unknown-class", path=str(tree.path), **facts)
        return sorted(taught)
    return sorted({name for by_class in pictures.values() for name in by_class})


def _pictures(
    tree: Tree, names: list[str], labels: NDArray[np.int64], frame: Frame, shape: tuple[int, int, int], stream: bool
) -> Pictures:
    def read(chosen: Sequence[str]) -> NDArray[np.uint8]:
        images = np.empty((len(chosen), *shape), np.uint8)
        for i, name in enumerate(chosen):
            pixels = decoded(tree.read(name), tree.place(name), frame)
            if pixels.shape != shape:  # a photograph that its own header turns by a quarter
                agree(
                    [shape, shape, (pixels.shape[0], pixels.shape[1], pixels.shape[2])], [name, name, tree.place(name)]
                )
            images[i] = pixels
        return images

    if stream:
        return Pictures(labels, names, lambda indices: read([names[i] for i in indices.tolist()]))
    return held(read(names), labels, names)
