"""Parts of a data set: what is learned from, what is chosen by, and what is asked about at the very end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convkit.data.pictures import Collection, Note, Pictures
from convkit.errors import DataError, OptionError

HELD_OUT = 0.2
"""Share of a data set without parts of its own that is kept for the end."""


def divided(whole: Collection, *, validation: float, seed: int) -> Collection:
    """A data set with a training part, a validation part and a test part.

    Where the data has no test part, a fifth of each class becomes one; where it has no validation part, the share
    ``validation`` of each class of the rest does. Both depend on ``seed`` and the labels alone.

    Parameters
    ----------
    whole : Collection
        As it was opened.
    validation : float
        Share of the training pictures to choose by, 0 to below 1; 0 makes no validation part.
    seed : int
        Which pictures these are.

    Raises
    ------
    DataError
        ``data.nothing-to-learn``, ``data.one-class``, ``data.empty-class``, ``data.label-gap``, ``data.too-few``.
    OptionError
        ``option.share``.

    Examples
    --------
    >>> from convkit.data.collections import open_collection
    >>> parts = divided(open_collection("digits"), validation=0.1, seed=0)
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (1299, 143, 355)
    """
    if not 0 <= validation < 1:
        raise OptionError("share", option="validation", value=validation)
    if whole.train is None:
        raise DataError("nothing-to-learn", name=whole.name, parts=", ".join(whole.parts()))
    _check_classes(whole)
    train, check, test = whole.train, whole.validation, whole.test
    notes = list(whole.notes)
    if test is None:
        kept, out = _cut(train, HELD_OUT, seed)
        if not len(out):
            least = int(np.ceil(1 / HELD_OUT))
            count = int(np.bincount(train.labels).min())
            raise DataError("too-few", name=whole.name, count=count, least=least)
        train, test = train.only(kept), train.only(out)
        notes.append(Note("held-out", {"count": len(test), "seed": seed}))
    if check is None and validation > 0:
        kept, out = _cut(train, validation, seed + 1)
        if len(out):
            train, check = train.only(kept), train.only(out)
    return whole.with_parts({"train": train, "validation": check, "test": test}, notes=tuple(notes))


def _check_classes(whole: Collection) -> None:
    assert whole.train is not None
    counts = np.bincount(whole.train.labels, minlength=len(whole.classes))
    if np.count_nonzero(counts) < 2:
        present = [name for name, count in zip(whole.classes, counts) if count]
        raise DataError("one-class", name=whole.name, only=", ".join(present) or "-")
    for name, count in zip(whole.classes, counts):
        if count == 0 and whole.kind == "idx":
            last = int(whole.train.labels.argmax())
            facts = {"label": whole.classes[whole.train.labels[last]], "record": whole.train.names[last]}
            raise DataError("label-gap", path=whole.name, missing=name, **facts)
        if count == 0:
            raise DataError("empty-class", path=whole.name, name=name)


def _cut(part: Pictures, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places that stay and places that go, each in order; of every class about the same share goes."""
    chance = np.random.Generator(np.random.PCG64(seed))
    going: list[NDArray[np.int64]] = []
    for label in np.unique(part.labels):
        members = np.flatnonzero(part.labels == label)
        going.append(chance.permutation(members)[: round(share * len(members))])
    out = np.sort(np.concatenate(going))
    return np.setdiff1d(np.arange(len(part)), out), out
