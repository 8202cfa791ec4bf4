"""A data set from the name that a user gives: the embedded digits, or a folder or archive that is recognised."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from convkit.data import cifar, idx, image_folder
from convkit.data.digits import digits
from convkit.data.fitting import Frame, framed
from convkit.data.pictures import Collection, Pictures, held
from convkit.data.tree import LIMIT, Tree, plant
from convkit.errors import DataError, OptionError


def open_collection(
    place: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
    limit: int = LIMIT,
) -> Collection:
    """Open a data set of labelled pictures.

    Parameters
    ----------
    place : path
        ``digits``; or a folder, ``.zip``, ``.tar`` or ``.tar.gz`` that holds IDX files (MNIST), CIFAR's binary version,
        or pictures in one folder a class, with or without ``train``, ``val`` and ``test`` above them.
    size : (int, int), optional
        Bring every picture to these rows and columns; without it they must all be of one size.
    channels : 1 or 3, optional
        Bring every picture to grey or colour; without it they must all be the one or the other.
    classes : sequence of str, optional
        Take these classes only, in this order.
    limit : int
        Bytes that pictures may take in memory; larger folders are read batch by batch.

    Returns
    -------
    Collection
        Labels are places in its ``classes``.

    Raises
    ------
    FileError
        ``file.not-found``, ``file.unreadable``, ``file.broken``, ``file.empty``, ``file.wrong-format``.
    DataError
        ``data.no-data-set`` and what the format's reader says.
    OptionError
        ``option.unknown-value`` for a class that is not there.

    Examples
    --------
    >>> collection = open_collection("digits")
    >>> collection.shape, len(collection.train), len(collection.test)
    ((8, 8, 1), 1442, 355)
    """
    frame = Frame(size, channels)
    wanted = None if classes is None else [str(name) for name in classes]
    if os.fspath(place) == "digits":
        whole = _digits()
    else:
        tree = plant(Path(place), limit)
        whole = _recognised(tree, frame, wanted, limit)
    if whole.kind != "folder":
        whole = _framed(whole, frame)
    return whole if wanted is None else _only(whole, wanted)


def class_names(place: str | os.PathLike[str], limit: int = LIMIT) -> tuple[str, ...]:
    """The classes of a data set, without decoding a picture where folders name them.

    Raises
    ------
    FileError, DataError
        As `open_collection`.
    """
    if os.fspath(place) == "digits":
        return _digits().classes
    tree = plant(Path(place), limit)
    if idx.found(tree):
        return idx.read_idx(tree).classes
    if cifar.found(tree):
        return cifar.read_cifar(tree).classes
    return image_folder.class_names(tree)


def _recognised(tree: Tree, frame: Frame, wanted: Sequence[str] | None, limit: int) -> Collection:
    if idx.found(tree):
        return idx.read_idx(tree)
    if cifar.found(tree):
        return cifar.read_cifar(tree)
    if image_folder.found(tree):
        return image_folder.read_folder(tree, frame, wanted, limit)
    some = ", ".join(list(tree.files)[:3]) or "-"
    raise DataError("no-data-set", path=str(tree.path), found=some)


def _digits() -> Collection:
    d = digits()

    def part(images: np.ndarray, labels: np.ndarray, name: str) -> Pictures:  # type: ignore[type-arg]
        # 17 levels of ink, spread over a byte.
        pixels = ((images.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)[..., None]
        return held(pixels, labels.astype(np.int64), [f"{name} #{i}" for i in range(len(labels))])

    train = part(d.train_images, d.train_labels, "train")
    test = part(d.test_images, d.test_labels, "test")
    return Collection("digits", "digits", tuple("0123456789"), (8, 8, 1), train, None, test)


def _framed(whole: Collection, frame: Frame) -> Collection:
    rows, columns, channels = whole.shape
    rows, columns = frame.size or (rows, columns)
    shape = (rows, columns, frame.channels or channels)
    if shape == whole.shape:
        return whole
    parts = {
        name: held(framed(part.take(np.arange(len(part))), frame), part.labels, part.names)
        for name, part in whole.parts().items()
    }
    return whole.with_parts(parts, shape=shape)


def _only(whole: Collection, wanted: Sequence[str]) -> Collection:
    for name in wanted:
        if name not in whole.classes:
            known = ", ".join(whole.classes)
            raise OptionError("unknown-value", option="classes", value=repr(name), allowed=known, guess=known)
    if len(set(wanted)) != len(wanted):
        raise OptionError("repeated-class", classes=",".join(wanted))
    place = np.full(len(whole.classes), -1)
    for new, name in enumerate(wanted):
        place[whole.classes.index(name)] = new
    parts: dict[str, Pictures | None] = {}
    for name, part in whole.parts().items():
        labels = place[part.labels]
        kept = part.only(np.flatnonzero(labels >= 0))
        parts[name] = replace(kept, labels=labels[labels >= 0].astype(np.int64))
    return whole.with_parts(parts, classes=tuple(wanted))
