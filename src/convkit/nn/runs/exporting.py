"""A trained network for other programs: with its preprocessing inside, taking pictures in 0..1."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from convkit.data.content import first_line
from convkit.data.whole import written_whole
from convkit.errors import FileError
from convkit.nn.runs.folder import Run

FORMATS = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}


class Complete(nn.Module):
    """Preprocessing and network as one: brightness in 0..1 in, one score a class out.

    Parameters
    ----------
    run : Run
        The trained run.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.preprocess = run.preprocess
        self.network = run.network

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (batch, classes) of pictures (batch, channels, rows, columns)."""
        return self.network(self.preprocess(pictures))


def export(run: Run, form: str, path: Path) -> None:
    """Write the network of a run.

    Parameters
    ----------
    run : Run
        The trained run.
    form : {"onnx", "torch", "safetensors"}
        An ONNX file; a `torch.export` program; or weights and statistics by name, with the description in the header.
    path : Path
        The file, written whole or not at all.

    Raises
    ------
    MissingExtraError
        ``missing.onnx``.
    FileError
        ``file.unwritable``, ``file.no-folder``, ``file.is-a-folder``, ``file.not-a-file``.
    """
    from convkit.nn import zoo

    whole = Complete(run).eval()
    rows, columns, channels = run.about.shape
    example = torch.zeros(2, channels, rows, columns)
    if form == "onnx":
        zoo.write_onnx(whole, path, example)
    elif form == "torch":
        program = zoo.exported(whole, example)
        with written_whole(path) as temporary:
            try:
                torch.export.save(program, temporary, extra_files={"convkit.json": _about(run)})
            except RuntimeError as error:  # what torch's archive writer says of a full disk
                raise FileError("unwritable", path=str(path), reason=first_line(error)) from error
    else:
        tensors = {name: value.contiguous() for name, value in whole.state_dict().items()}
        with written_whole(path) as temporary:
            try:
                save_file(tensors, temporary, metadata={"convkit": _about(run)})
            except SafetensorError as error:
                raise FileError("unwritable", path=str(path), reason=first_line(error)) from error


def _about(run: Run) -> str:
    return json.dumps(run.about.facts(), ensure_ascii=False)
