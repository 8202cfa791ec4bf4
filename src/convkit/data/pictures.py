"""Pictures with labels: in memory, or read from files when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from convkit.catalogue import say


@dataclass(frozen=True)
class Note:
    """Something about the data that the user should know, and that stops nothing."""

    key: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return say(f"data.note.{self.key}", **self.facts)


@dataclass(frozen=True)
class Pictures:
    """One part of a data set.

    Attributes
    ----------
    labels : ndarray of int64, shape (pictures,)
        What each shows, as a place in the list of classes.
    names : list of str
        Where each comes from.
    take : callable
        ``take(indices)`` gives uint8 pictures of shape (len(indices), rows, columns, channels).
    """

    labels: NDArray[np.int64]
    names: list[str]
    take: Callable[[NDArray[np.int64]], NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, indices: NDArray[np.int64]) -> Pictures:
        """The pictures at ``indices``, in that order."""

        def take(chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
            return self.take(indices[chosen])

        return Pictures(self.labels[indices], [self.names[i] for i in indices.tolist()], take)


def held(images: NDArray[np.uint8], labels: NDArray[np.int64], names: list[str]) -> Pictures:
    """Pictures that lie in memory, shape (pictures, rows, columns, channels)."""
    return Pictures(labels, names, lambda indices: images[indices])


@dataclass(frozen=True)
class Collection:
    """A data set: its parts, as far as there are any, and what they have in common.

    Attributes
    ----------
    name : str
        For people: ``MNIST``, or a folder's name.
    kind : {"digits", "idx", "cifar", "folder"}
        The format it came in.
    classes : tuple of str
        Names of the classes; labels are places in it.
    shape : tuple of int
        Rows, columns and channels of every picture.
    train, validation, test : Pictures or None
        The parts that the data itself tells apart. Pictures in no part at all are ``train``.
    divided : {"yes", "no"}
        Whether the data itself has parts; without any, everything lies in ``train``.
    notes : tuple of Note
        What the user should know.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train: Pictures | None
    validation: Pictures | None
    test: Pictures | None
    divided: str = "yes"
    notes: tuple[Note, ...] = ()

    def parts(self) -> dict[str, Pictures]:
        """The parts there are, by name."""
        three = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in three.items() if part is not None}

    def with_parts(self, parts: Mapping[str, Pictures | None], **changes: object) -> Collection:
        """The same data set, divided otherwise."""
        three = {name: parts.get(name) for name in ("train", "validation", "test")}
        return replace(self, **three, **changes)  # type: ignore[arg-type]

    def fingerprint(self) -> str:
        """A short hash of names, labels and a few hundred pictures: tells another data set from this one."""
        whole = hashlib.sha256(repr((self.classes, self.shape)).encode())
        for name, part in self.parts().items():
            whole.update(f"{name}{len(part)}".encode())
            whole.update(part.labels.tobytes())
            whole.update("\n".join(part.names).encode())
            some = np.unique(np.linspace(0, len(part) - 1, 256).astype(np.int64))
            whole.update(np.ascontiguousarray(part.take(some)).tobytes())
        return whole.hexdigest()[:16]
