"""From what a user asks for to a training that can begin or go on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from convkit.data import Collection, Pictures, divided, open_collection
from convkit.data.pictures import Note
from convkit.data.tree import LIMIT
from convkit.errors import DataError, FileError, RunError, by, choose
from convkit.nn.acceleration import twin
from convkit.nn.runs import checkpoint
from convkit.nn.runs.folder import Description, Folder, Run, described, load_statistics, save_statistics
from convkit.nn.runs.optimisation import usual_rate
from convkit.nn.runs.preprocessing import Preprocessing
from convkit.nn.runs.ranks import Ranks
from convkit.nn.runs.recipe import suited
from convkit.nn.runs.training import Training
from convkit.planner import machine


@dataclass(frozen=True)
class Session:
    """A training, with the data that it learns from.

    Attributes
    ----------
    training : Training
        Ready to run.
    parts : Collection
        With the test part that training never sees.
    about : Description
        What is written in ``run.json``.
    resumed : int
        Steps that were already done.
    """

    training: Training
    parts: Collection
    about: Description
    resumed: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user asks for.

    Attributes
    ----------
    place : str
        The data set.
    path : Path
        The run's folder.
    options : mapping
        Options of the recipe that were given; the others suit the data.
    size, channels, classes, limit
        As in `convkit.data.open_collection`.
    threads : int
        Threads that compute.
    resume : {"no", "yes"}
        Whether an earlier sitting goes on.
    start : Path or None
        The checkpoint to go on from; the newest unless given.
    """

    place: str
    path: Path
    options: Mapping[str, Any]
    size: tuple[int, int] | None = None
    channels: int | None = None
    classes: Sequence[str] | None = None
    limit: int = LIMIT
    threads: int = 1
    resume: str = "no"
    start: Path | None = None


def prepared(wish: Wish, ranks: Ranks) -> Session:
    """Open the data, and make a run or find the one that is there.

    Raises
    ------
    RunError
        ``run.exists``, ``run.inside-data``, ``run.no-folder``, ``run.other-options``, ``run.other-data``,
        ``run.other-model``, ``run.damaged``, ``run.damaged-checkpoint``, ``run.no-checkpoint-left``,
        ``run.cannot-save``, ``run.batch-and-ranks``.
    DataError, FileError, OptionError
        From the data and the options.
    """
    folder = Folder(wish.path)
    there = folder.description.is_file()
    ranks.wait()  # all have looked before the first one writes
    if there and wish.resume == "no":
        raise RunError("exists", path=str(wish.path))
    about = _checked(described(wish.path), wish) if there else None
    if wish.options.get("model") is not None:
        _refuse_other_tasks(wish.options["model"])  # before much is read
    opened = _opened(wish) if about is None else about.opened
    whole = _collection(wish, opened)
    fingerprint = whole.fingerprint()
    if about is not None and fingerprint != about.fingerprint:
        raise RunError("other-data", path=str(wish.path), data=about.data, place=about.place, given=wish.place)
    if about is None:
        recipe = suited(whole.kind, whole.shape, len(whole.train) if whole.train else 0).changed(wish.options)
    else:
        recipe = about.recipe
    parts = divided(whole, validation=recipe.validation, seed=recipe.seed)
    assert parts.train is not None
    rows, columns, channels = parts.shape
    from convkit.nn import zoo

    network = zoo.build(
        recipe.model,
        channels=channels,
        classes=len(parts.classes),
        size=(rows, columns),
        initialisation=recipe.initialisation,  # type: ignore[arg-type]
        seed=recipe.seed,
    )
    if about is None and wish.options.get("rate") is None:
        recipe = replace(recipe, rate=usual_rate(network, recipe.optimiser))
    preprocess = Preprocessing(recipe.preprocess, parts.shape)
    training = Training(network, preprocess, parts, recipe, folder, ranks, twin(network))
    if about is None:
        preprocess.learn(parts.train)
        about = Description(
            recipe,
            _absolute(wish.place),
            whole.name,
            whole.kind,
            fingerprint,
            parts.classes,
            parts.shape,
            opened,
            {name: len(part) for name, part in parts.parts().items()},
            asdict(machine.current()),
        )
        if ranks.writes:
            _found(folder, about, preprocess)
    else:
        load_statistics(folder, preprocess)
        _go_on(training, folder, wish.start)
    return Session(training, parts, about, len(training.history.losses))


@contextmanager
def alone(path: Path, ranks: Ranks) -> Iterator[None]:
    """Keep a second training out of the same folder for as long as this one runs.

    Raises
    ------
    RunError
        ``run.busy``.
    FileError
        ``file.unwritable``.
    """
    if not ranks.writes:
        yield
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise FileError("unwritable", path=str(path), reason=error.strerror or str(error)) from error
    try:
        try:
            import fcntl
        except ImportError:  # no such locks on this system
            yield
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a killed process loses it
        except OSError as error:
            raise RunError("busy", path=str(path)) from error
        yield
    finally:
        os.close(handle)
        _leave(path)


def _leave(path: Path) -> None:
    """A folder in which no run was begun is not left behind."""
    if (path / "run.json").exists():
        return
    try:
        (path / ".lock").unlink()
        path.rmdir()
    except OSError:
        pass  # something else lies in it, or another process was faster


def part_to_judge(
    run: Run, place: str, *, which: str = "auto", limit: int = LIMIT
) -> tuple[Pictures, str, tuple[Note, ...]]:
    """The pictures of a data set that a run's network may be asked about, labelled as the run labels them.

    Of the data that the run was trained on this is the part held out; of other data its test part, or everything where
    there are no parts.

    Parameters
    ----------
    run : Run
        The trained run.
    place : str
        The data set.
    which : {"auto", "train", "validation", "test", "all"}
        The part wanted.
    limit : int
        Bytes in memory.

    Returns
    -------
    part : Pictures
        With labels as places in ``run.about.classes``.
    name : str
        Which part it is.
    notes : tuple of Note
        What the user should know.

    Raises
    ------
    DataError
        ``data.wrong-size``, ``data.unknown-label``, ``data.no-part``, and what the format's reader says.
    """
    about = run.about
    whole = open_collection(
        place,
        size=_pair(about.opened["size"]),
        channels=about.opened["channels"],
        classes=_present(about.opened["classes"], place, limit),
        limit=limit,
    )
    if whole.shape != about.shape:
        raise DataError("wrong-size", path=place, got=by(whole.shape), wanted=by(about.shape), size=by(about.shape[:2]))
    notes = whole.notes
    if whole.fingerprint() == about.fingerprint:
        whole = divided(whole, validation=about.recipe.validation, seed=about.recipe.seed)
        notes = (Note("same-data"),)
    parts = whole.parts()
    if which == "auto":
        which = "test" if "test" in parts else "validation" if "validation" in parts else "train"
        name = which if whole.divided == "yes" or "test" in parts else "all"
        part = parts[which]
    elif which == "all":
        name, part = which, _together(list(parts.values()))
    elif which in parts:
        name, part = which, parts[which]
    else:
        raise DataError("no-part", path=place, part=which, parts=", ".join(parts))
    if not len(part):
        raise DataError("no-pictures", path=place)
    return _relabelled(part, whole, about, place), name, notes


def _present(classes: Sequence[str] | None, place: str, limit: int) -> Sequence[str] | None:
    """The classes that a run was restricted to, as far as the data set has them: test data may lack some."""
    if classes is None:
        return None
    from convkit.data.collections import class_names

    known = class_names(place, limit)
    return [name for name in classes if name in known] or list(classes)


def _together(parts: list[Pictures]) -> Pictures:
    if len(parts) == 1:
        return parts[0]
    import numpy as np

    starts = np.cumsum([0, *(len(part) for part in parts)])
    labels = np.concatenate([part.labels for part in parts])
    names = [name for part in parts for name in part.names]

    def take(indices):  # type: ignore[no-untyped-def]
        where = np.searchsorted(starts, indices, side="right") - 1
        images = [parts[p].take(np.array([i - starts[p]])) for i, p in zip(indices, where)]
        return np.concatenate(images)

    return Pictures(labels, names, take)


def _relabelled(part: Pictures, whole: Collection, about: Description, place: str) -> Pictures:
    """Labels by the run's list of classes: by name, or by number where a format has numbers only."""
    import numpy as np

    if whole.kind == "idx" and about.kind == "idx":
        if (most := int(part.labels.max())) >= len(about.classes):
            raise DataError("unknown-label", path=place, names=str(most), known=", ".join(about.classes))
        return part
    present = sorted(set(part.labels.tolist()))
    unknown = [whole.classes[label] for label in present if whole.classes[label] not in about.classes]
    if unknown:
        raise DataError("unknown-label", path=place, names=", ".join(unknown), known=", ".join(about.classes))
    places = np.array([about.classes.index(name) if name in about.classes else -1 for name in whole.classes], np.int64)
    return Pictures(places[part.labels], part.names, part.take)


def _checked(about: Description, wish: Wish) -> Description:
    """An earlier sitting goes on with its own options; others are refused, not ignored."""
    other = {
        name
        for name, value in about.recipe.changed(wish.options).facts().items()
        if about.recipe.facts()[name] != value
    }
    opened = _opened(wish)
    other |= {
        name
        for name in ("size", "channels", "classes")
        if opened[name] is not None and opened[name] != about.opened[name]
    }
    if other:
        kept = ", ".join(f"{name}={_shown(about, name)}" for name in sorted(other))
        raise RunError("other-options", path=str(wish.path), options=", ".join(sorted(other)), kept=kept)
    return about


def _shown(about: Description, name: str) -> object:
    return about.opened[name] if name in about.opened else getattr(about.recipe, name)


def _opened(wish: Wish) -> dict[str, Any]:
    return {
        "size": list(wish.size) if wish.size else None,
        "channels": wish.channels,
        "classes": list(wish.classes) if wish.classes else None,
        "threads": wish.threads,
    }


def _pair(size: Sequence[int] | None) -> tuple[int, int] | None:
    return (size[0], size[1]) if size else None


def _absolute(place: str) -> str:
    return place if place == "digits" else str(Path(place).resolve())


def _refuse_other_tasks(model: str) -> None:
    from convkit.nn import zoo

    known = [name for name, one in zoo.MODELS.items() if one.task == "classification"]
    if model in zoo.MODELS and model not in known:
        raise RunError("not-a-classifier", model=model, known=", ".join(known))
    choose("model", model, known)


def _collection(wish: Wish, opened: Mapping[str, Any]) -> Collection:
    """The data, unless the run would be one of its classes."""
    data = Path(wish.place)
    inside = wish.place != "digits" and wish.path.resolve().is_relative_to(data.resolve())
    wrong = RunError("inside-data", run=str(wish.path), data=wish.place, beside=str(data.parent / f"{data.name}-run"))
    size = _pair(opened["size"])
    try:
        whole = open_collection(
            wish.place, size=size, channels=opened["channels"], classes=opened["classes"], limit=wish.limit
        )
    except DataError as error:  # the run's own folder has no picture
        if inside and error.code == "data.empty-class":
            raise wrong from error
        raise
    if inside and whole.kind == "folder":
        raise wrong
    return whole


def _found(folder: Folder, about: Description, preprocess: Preprocessing) -> None:
    """Make the folder; ``run.json`` comes last, so that a folder with it is complete."""
    try:
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError("unwritable", path=str(folder.path), reason=error.strerror or str(error)) from error
    save_statistics(folder, preprocess)
    folder.write_json(folder.description, about.facts())


def _go_on(training: Training, folder: Folder, start: Path | None) -> None:
    for left in [*folder.path.glob(".convkit-*"), *folder.checkpoints.glob(".convkit-*")]:
        if training.ranks.writes:
            left.unlink(missing_ok=True)  # begun when the run was killed
    kept = checkpoint.checkpoints(folder.checkpoints)
    chosen = start or (kept[-1] if kept else None)
    if chosen is None:
        return  # killed before its first checkpoint: it begins anew
    if not chosen.is_file():
        raise FileError("not-found", path=str(chosen), folder=str(folder.checkpoints))
    training.restore(checkpoint.read(chosen))


def one_thread_for_small(shape: tuple[int, int, int], threads: int) -> int:
    """Torch's threads: one where pictures are so small that waking a second takes longer than its work."""
    rows, columns, _ = shape
    return 1 if rows * columns < 256 else threads


def planned_as(about: Description) -> AbstractContextManager[None]:
    """Algorithms are chosen by the rates with which the run began: measuring the machine anew changes no bits."""
    return machine.used(machine.Machine(**about.machine)) if about.machine else nullcontext()


def use_threads(shape: tuple[int, int, int], threads: int) -> None:
    """Let convkit and torch compute with ``threads`` threads, and keep denormal numbers from slowing them."""
    from convkit.threads import set_num_threads

    set_num_threads(threads)
    torch.set_num_threads(one_thread_for_small(shape, threads))
