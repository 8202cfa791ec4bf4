"""The register of networks: what each is called, where it comes from, and how it is built for a picture size."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Literal, TypeVar

import torch
from torch import nn

from convkit.catalogue import say
from convkit.errors import OptionError, ShapeError, choose
from convkit.nn.zoo.initialisation import Initialisation, initialise

Builder = Callable[[int, int, tuple[int, int]], nn.Module]
_Own = TypeVar("_Own", bound=Builder)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a network was built for: enough to build it again.

    Attributes
    ----------
    name : str
        Its name in the register.
    channels, classes : int
        Channels of a picture; classes told apart.
    size : (int, int)
        Rows and columns of a picture.
    """

    name: str
    channels: int
    classes: int
    size: tuple[int, int]

    def facts(self) -> dict[str, object]:
        """As plain data, for a file."""
        return asdict(self)

    def __str__(self) -> str:
        rows, columns = self.size
        return f"{self.name} ({self.channels}x{rows}x{columns} -> {self.classes})"


@dataclass(frozen=True, slots=True)
class Model:
    """A network of the register.

    Attributes
    ----------
    standard : Configuration
        As its source describes it; `build` uses its numbers where none are given.
    task : {"classification", "segmentation"}
        Whether it gives one score a class for a picture, (batch, classes), or for every pixel,
        (batch, classes, rows, columns).
    parameters : int
        Learned numbers in the standard configuration.
    source : str
        The publication.
    least : int
        The smallest side of a picture that it can take.
    initialisation : {"he", "xavier"}
        What suits its activations.
    builder : callable
        ``builder(channels, classes, (rows, columns))``.
    """

    standard: Configuration
    task: Literal["classification", "segmentation"]
    parameters: int
    source: str
    least: int
    initialisation: Initialisation
    builder: Builder

    @property
    def name(self) -> str:
        """Its name in the register."""
        return self.standard.name

    @property
    def summary(self) -> str:
        """What it is, in one sentence."""
        return say(f"zoo.{self.name}")


MODELS: dict[str, Model] = {}


def model(
    name: str,
    *,
    standard: tuple[int, int, int],
    parameters: int,
    source: str,
    least: int = 1,
    task: Literal["classification", "segmentation"] = "classification",
    initialisation: Initialisation = "he",
) -> Callable[[_Own], _Own]:
    """Register the builder below; ``standard`` is (channels, classes, side)."""

    def register(builder: _Own) -> _Own:
        channels, classes, side = standard
        whole = Configuration(name, channels, classes, (side, side))
        MODELS[name] = Model(whole, task, parameters, source, least, initialisation, builder)
        return builder

    return register


def find(name: str) -> Model:
    """The model of that name.

    Raises
    ------
    OptionError
        ``option.unknown-value``, with the nearest name.
    """
    return MODELS[choose("model", name, MODELS)]


def build(
    name: str,
    *,
    channels: int | None = None,
    classes: int | None = None,
    size: int | tuple[int, int] | None = None,
    initialisation: Initialisation | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Build a network for pictures of ``channels`` x ``size`` and as many ``classes``.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    channels, classes : int, optional
        As in the source unless given.
    size : int or (int, int), optional
        Side, or rows and columns, of a picture; as in the source unless given.
    initialisation : {"he", "xavier", "torch"}, optional
        How weights start; what suits the network's activations unless given. ``"torch"`` keeps what torch's layers
        start with.
    seed : int, optional
        Makes the weights repeatable, and leaves torch's random numbers as they were.

    Raises
    ------
    OptionError
        ``option.unknown-value``, ``option.too-small``.
    ShapeError
        ``shape.picture-too-small``.

    Examples
    --------
    >>> import torch
    >>> network = build("lenet5", classes=4, size=(20, 24))
    >>> network(torch.zeros(2, 1, 20, 24)).shape
    torch.Size([2, 4])
    """
    chosen = find(name)
    rows_columns = chosen.standard.size if size is None else (size, size) if isinstance(size, int) else tuple(size)
    wanted = Configuration(
        name,
        chosen.standard.channels if channels is None else channels,
        chosen.standard.classes if classes is None else classes,
        (rows_columns[0], rows_columns[1]),
    )
    for option, value in (("channels", wanted.channels), ("classes", wanted.classes)):
        if value < 1:
            raise OptionError("too-small", option=option, value=value, least=1)
    if min(wanted.size) < chosen.least:
        rows, columns = wanted.size
        raise ShapeError("picture-too-small", model=name, rows=rows, columns=columns, least=chosen.least)
    with nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        network = chosen.builder(wanted.channels, wanted.classes, wanted.size)
        initialise(network, chosen.initialisation if initialisation is None else initialisation)
    network.convkit_configuration = wanted  # type: ignore[assignment]  (torch's stubs allow tensors and modules only)
    return network


def configuration(network: nn.Module) -> Configuration | None:
    """What `build` made ``network`` for, or None where it came from elsewhere."""
    found = getattr(network, "convkit_configuration", None)
    return found if isinstance(found, Configuration) else None


def parameters(network: nn.Module) -> int:
    """How many numbers ``network`` learns.

    Examples
    --------
    >>> parameters(build("perceptron", channels=1, classes=2, size=(2, 1)))
    6
    """
    return sum(weights.numel() for weights in network.parameters())
