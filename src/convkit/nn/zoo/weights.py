"""Weights in safetensors files: written whole, checked when they are read, and never for another network."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from convkit.data.whole import written_whole
from convkit.errors import FileError, OptionError
from convkit.nn.zoo.registry import MODELS, Configuration, build, configuration

_CONFIGURATION, _CHECKSUM = "convkit.configuration", "crc32"
_NAMED = 4
"""A message names so many parameters; the rest are counted."""


def save(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the weights of a network that `build` made, with what it was built for, whole or not at all.

    Raises
    ------
    OptionError
        ``option.not-from-the-zoo``.
    FileError
        ``file.unwritable``, ``file.no-folder``, ``file.is-a-folder``, ``file.not-a-file``.
    """
    known = configuration(network)
    if known is None:
        raise OptionError("not-from-the-zoo", type=type(network).__name__)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # One entry: safetensors writes several in any order, and equal weights should be equal files.
    about = {_CONFIGURATION: json.dumps({**known.facts(), _CHECKSUM: _checksum(state)})}
    with written_whole(path) as temporary:
        try:
            save_file(state, temporary, metadata=about)
        except SafetensorError as error:  # a full disk, said by the library in its own way
            raise FileError("unwritable", path=str(path), reason=_line(error)) from error


def load(path: str | os.PathLike[str]) -> nn.Module:
    """Build the network that a file written by `save` holds, in evaluation mode.

    Raises
    ------
    FileError
        ``file.not-found``, ``file.is-a-folder``, ``file.unreadable``, ``file.broken``, ``file.no-configuration``,
        ``file.weights-differ``.
    """
    state, about = _read(path)
    stored = _configuration(path, about)
    if stored is None:
        raise FileError("no-configuration", path=str(path))
    with torch.device("meta"):  # nothing is drawn only to be overwritten
        network = build(stored.name, channels=stored.channels, classes=stored.classes, size=stored.size)
    _fill(network, state, path, "assign")
    return network.eval()


def load_weights(network: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Read weights into ``network``: from `save`, or from any safetensors file with the same names and shapes.

    Raises
    ------
    FileError
        As `load`; ``file.another-model`` where the file says what it holds and it is something else. The network keeps
        its weights then.
    """
    state, about = _read(path)
    stored, wanted = _configuration(path, about), configuration(network)
    if stored is not None and wanted is not None and stored != wanted:
        raise FileError("another-model", path=str(path), stored=str(stored), wanted=str(wanted))
    _fill(network, state, path, "copy")
    return network


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    named = Path(path)
    if named.is_dir():
        raise FileError("is-a-folder", path=str(path))
    if not named.exists():
        raise FileError("not-found", path=str(path), folder=str(named.parent))
    try:
        with safe_open(named, framework="pt") as file:
            about = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dictionary)
    except SafetensorError as error:
        raise FileError("broken", path=str(path), format="safetensors", reason=_line(error)) from error
    except OSError as error:
        raise FileError("unreadable", path=str(path), reason=error.strerror or _line(error)) from error
    wanted = _stated_checksum(about)
    if wanted is not None and wanted != (found := _checksum(state)):
        reason = f"crc32 {found} != {wanted}"
        raise FileError("broken", path=str(path), format="safetensors", reason=reason)
    return state, about


def _stated_checksum(about: Mapping[str, str]) -> str | None:
    try:
        return json.loads(about[_CONFIGURATION]).get(_CHECKSUM)
    except (KeyError, ValueError, AttributeError):  # not a file of ours, or said so where the configuration is read
        return None


def _configuration(path: str | os.PathLike[str], about: Mapping[str, str]) -> Configuration | None:
    if _CONFIGURATION not in about:
        return None
    try:
        facts = json.loads(about[_CONFIGURATION])
        rows, columns = facts["size"]
        stored = Configuration(facts["name"], int(facts["channels"]), int(facts["classes"]), (int(rows), int(columns)))
    except (ValueError, TypeError, KeyError) as error:
        raise FileError("broken", path=str(path), format="safetensors", reason=_line(error)) from error
    if stored.name not in MODELS:
        raise FileError("another-model", path=str(path), stored=str(stored), wanted=" | ".join(MODELS))
    return stored


def _fill(network: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike[str], way: str) -> None:
    """Put the tensors in, after every name and shape has been compared."""
    own = network.state_dict()
    shapes = [
        f"{name} {tuple(state[name].shape)} != {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    missing = [f"- {name}" for name in own if name not in state]
    unknown = [f"+ {name}" for name in state if name not in own]
    wrong = shapes + missing + unknown
    if wrong:
        rest = ["..."] if len(wrong) > _NAMED else []
        raise FileError(
            "weights-differ",
            path=str(path),
            model=str(configuration(network) or type(network).__name__),
            count=len(wrong),
            total=len(own),
            which=", ".join(wrong[:_NAMED] + rest),
        )
    network.load_state_dict(state, assign=way == "assign")


def _checksum(state: Mapping[str, Tensor]) -> str:
    """Of the names and bytes of all tensors: the format itself notices a cut, not a changed byte."""
    value = 0
    for name in sorted(state):
        value = zlib.crc32(name.encode(), value)
        value = zlib.crc32(state[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
