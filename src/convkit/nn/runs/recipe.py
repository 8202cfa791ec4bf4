"""How a network is trained: every choice, as plain data that a file can hold; and what suits the data at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from convkit.errors import OptionError, choose

OPTIMISERS = ("adamw", "adam", "sgd")
SCHEDULES = ("one-cycle", "cosine", "constant")
PREPROCESSINGS = ("none", "mean", "normalise", "pca", "whiten")
INITIALISATIONS = ("he", "xavier", "torch")
FLIPS = ("none", "horizontal", "vertical", "both")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Changes that leave a picture's class alone; each picture draws its own in every epoch.

    Attributes
    ----------
    shift : int
        Pixels along rows and along columns, at most; what comes in is mirrored.
    rotate : float
        Degrees to either side, at most.
    zoom : float
        Share by which the picture grows or shrinks, at most.
    erase : int
        Side of a square that is blotted out with the picture's mean.
    flip : {"none", "horizontal", "vertical", "both"}
        Which mirror images occur, each half of the time.
    """

    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    erase: int = 0
    flip: str = "none"

    def __post_init__(self) -> None:
        for name, value, most in (("shift", self.shift, 64), ("rotate", self.rotate, 180), ("zoom", self.zoom, 0.9)):
            if not 0 <= value <= most:
                raise OptionError("augment", name=name, value=value, most=most)
        if not 0 <= self.erase <= 64:
            raise OptionError("augment", name="erase", value=self.erase, most=64)
        choose("flip", self.flip, FLIPS)

    @classmethod
    def of(cls, text: str) -> Augmentation:
        """Read ``shift=2,rotate=10,flip=horizontal``, or ``none``.

        Examples
        --------
        >>> Augmentation.of("shift=2,flip=horizontal")
        Augmentation(shift=2, rotate=0.0, zoom=0.0, erase=0, flip='horizontal')
        """
        values: dict[str, Any] = {}
        kinds = {"shift": int, "rotate": float, "zoom": float, "erase": int, "flip": str}
        for part in [] if text == "none" else text.split(","):
            name, _, value = part.strip().partition("=")
            kind = kinds[choose("augment", name, kinds)]
            try:
                values[name] = kind(value)
            except ValueError:
                raise OptionError("augment", name=name, value=value or '""', most=64) from None
        return cls(**values)

    def __str__(self) -> str:
        set_ = {name: value for name, value in asdict(self).items() if value not in (0, "none")}
        return ",".join(f"{name}={value}" for name, value in set_.items()) or "none"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every choice of a training run.

    Attributes
    ----------
    model : str
        A name of `convkit.nn.zoo.MODELS`.
    epochs, batch : int
        Passes over the training pictures, and pictures a step.
    rate : float
        The largest learning rate.
    optimiser : {"adamw", "adam", "sgd"}
        torch's; SGD with Nesterov's momentum 0.9.
    schedule : {"one-cycle", "cosine", "constant"}
        How the rate goes: up and down again (Smith and Topin 2018), down along a cosine, or not at all.
    decay : float
        Weight decay, of weights and not of biases and norms.
    smoothing : float
        Label smoothing: the share of certainty given to all classes alike.
    preprocess : {"none", "mean", "normalise", "pca", "whiten"}
        As in `Preprocessing`.
    augment : Augmentation
        What pictures go through while they are learned from.
    initialisation : {"he", "xavier", "torch"}
        How weights start.
    patience : int
        Epochs without a smaller validation loss after which training stops; 0 never stops.
    validation : float
        Share of the training pictures that choices are made by.
    seed : int
        Decides weights, order, changes and parts.
    """

    model: str = "small_cnn"
    epochs: int = 10
    batch: int = 128
    rate: float = 4e-3
    optimiser: str = "adamw"
    schedule: str = "one-cycle"
    decay: float = 1e-2
    smoothing: float = 0.05
    preprocess: str = "normalise"
    augment: Augmentation = field(default_factory=Augmentation)
    initialisation: str = "he"
    patience: int = 0
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for option, least in (("epochs", 1), ("batch", 1), ("patience", 0), ("seed", 0)):
            value = getattr(self, option)
            if value < least:
                raise OptionError("too-small", option=option, value=value, least=least)
        if not self.rate > 0:
            raise OptionError("not-positive", option="rate", value=self.rate)
        if not self.decay >= 0:
            raise OptionError("too-small", option="decay", value=self.decay, least=0)
        for option in ("smoothing", "validation"):
            if not 0 <= getattr(self, option) < 1:
                raise OptionError("share", option=option, value=getattr(self, option))
        choose("optimiser", self.optimiser, OPTIMISERS)
        choose("schedule", self.schedule, SCHEDULES)
        choose("preprocess", self.preprocess, PREPROCESSINGS)
        choose("initialisation", self.initialisation, INITIALISATIONS)

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "augment": asdict(self.augment)}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Recipe:
        """From plain data."""
        known = {one.name for one in fields(cls)}
        given = {name: value for name, value in facts.items() if name in known}
        return cls(**{**given, "augment": Augmentation(**facts["augment"])})

    def changed(self, given: Mapping[str, Any]) -> Recipe:
        """With the options that were given (those that are not None)."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def suited(kind: str, shape: tuple[int, int, int], pictures: int) -> Recipe:
    """What to train with unless told otherwise, by the kind of data, its size and how much there is of it.

    Fewer pictures are seen more often. Colour pictures are taken for photographs, which may be mirrored; grey ones may
    be writing, which may not.

    Parameters
    ----------
    kind : {"digits", "idx", "cifar", "folder"}
        The format of the data.
    shape : (int, int, int)
        Rows, columns, channels.
    pictures : int
        How many there are to learn from.
    """
    rows, columns, channels = shape
    side = min(rows, columns)
    batch = 128 if pictures >= 4096 else 64 if pictures >= 512 else max(2, min(32, pictures // 4))
    if channels == 3:
        augment = Augmentation(shift=max(1, side // 8), flip="horizontal")
        epochs = _passes(pictures, 120_000, 10, 60)
    else:
        # Pictures of a few pixels across lose too much when they shrink.
        augment = Augmentation(shift=max(1, side // 14), rotate=10.0, zoom=0.1 if side >= 16 else 0.0)
        epochs = _passes(pictures, 250_000 if side >= 16 else 40_000, 4, 60)
    return Recipe(epochs=epochs, batch=batch, augment=augment, validation=0.1 if pictures < 50_000 else 0.08)


def _passes(pictures: int, wanted: int, least: int, most: int) -> int:
    return max(least, min(most, round(wanted / max(1, pictures))))
