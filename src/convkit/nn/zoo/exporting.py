"""Networks for other programs: as a `torch.export` program, or as an ONNX file."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from convkit.data.whole import written_whole
from convkit.errors import MissingExtraError, OptionError
from convkit.nn.zoo.registry import configuration

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def plain_torch(network: nn.Module) -> nn.Module:
    """A copy whose convolution layers are torch's own, with the same weights: it runs where convkit is not installed.

    Raises
    ------
    OptionError
        ``option.not-in-torch``: a layer does what torch's layers cannot.

    Examples
    --------
    >>> from convkit.nn import zoo
    >>> [type(m).__module__ for m in plain_torch(zoo.build("lenet5")).modules() if isinstance(m, nn.Conv2d)]
    ['torch.nn.modules.conv', 'torch.nn.modules.conv']
    """
    twin = copy.deepcopy(network)
    for name, layer in twin.named_modules():
        if isinstance(layer, _CONVOLUTIONS):
            for option, value in _beyond(layer):
                raise OptionError("not-in-torch", layer=name, option=option, value=repr(value))
            layer.__class__ = next(kind for kind in type(layer).__mro__ if kind in _CONVOLUTIONS)  # type: ignore[assignment]
    return twin


def exported(network: nn.Module, example: Tensor | None = None) -> ExportedProgram:
    """The network in evaluation mode as a `torch.export` program, for any number of pictures of the size it has.

    Parameters
    ----------
    network : Module
        Any network of plain torch layers and convkit's.
    example : Tensor, shape (batch, channels, rows, columns), optional
        What it takes, at least two of them; needed only for a network that `build` did not make.

    Raises
    ------
    OptionError
        ``option.example-needed``, ``option.not-in-torch``.

    Examples
    --------
    >>> from convkit.nn import zoo
    >>> program = exported(zoo.build("lenet5"))
    >>> program.module()(torch.zeros(7, 1, 28, 28)).shape
    torch.Size([7, 10])
    """
    twin = plain_torch(network).eval()
    with torch.no_grad():
        return export(twin, (_example(network, example),), dynamic_shapes=({0: Dim("batch")},))


def write_onnx(network: nn.Module, path: str | os.PathLike[str], example: Tensor | None = None) -> None:
    """Write the network in evaluation mode as an ONNX file, whole or not at all.

    Its input is called ``pictures`` and its output ``scores``; the number of pictures is open.

    Parameters
    ----------
    network, example
        As in `exported`.
    path : path
        The file to write; weights stand inside it.

    Raises
    ------
    MissingExtraError
        ``missing.onnx``.
    OptionError
        ``option.example-needed``, ``option.not-in-torch``.
    FileError
        ``file.unwritable``, ``file.no-folder``, ``file.is-a-folder``, ``file.not-a-file``.
    """
    if any(find_spec(package) is None for package in ("onnx", "onnxscript")):
        raise MissingExtraError("onnx")
    program = exported(network, example)
    log = logging.getLogger("torch.onnx")
    before = log.level
    with written_whole(path) as temporary, warnings.catch_warnings():
        # What the exporter says about operators of torchvision and about itself is of no use here.
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                program,
                f=str(temporary),
                input_names=["pictures"],
                output_names=["scores"],
                external_data=False,
                verbose=False,
            )
        finally:
            log.setLevel(before)


def _beyond(layer: Any) -> Iterator[tuple[str, object]]:
    """The options of a layer that torch's namesake does not have, where they matter."""
    for option, usual in (("operation", "correlation"), ("boundary", None), ("activation", None)):
        value = getattr(layer, option, usual)
        if value != usual:
            yield option, value
    padding, stride = layer.padding, layer.stride
    if isinstance(padding, str):
        if padding == "same" and any(step != 1 for step in stride):
            yield "padding", padding
    elif not all(isinstance(pad, int) for pad in padding):
        yield "padding", padding


def _example(network: nn.Module, given: Tensor | None) -> Tensor:
    if given is not None:
        return given
    known = configuration(network)
    if known is None:
        raise OptionError("example-needed", type=type(network).__name__)
    weights = next(network.parameters())
    return torch.zeros(2, known.channels, *known.size, dtype=weights.dtype, device=weights.device)
