"""What every picture goes through before the network: learned from the training part, then fixed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convkit.data import Pictures
from convkit.errors import OptionError, choose
from convkit.nn.runs.recipe import PREPROCESSINGS

LARGEST = 4096
"""Numbers a picture may have for its covariance to be worked out."""

KEPT = 0.99
"""Share of the variance that the components kept by ``pca`` hold."""

FLOOR = 1e-2
"""What ``whiten`` adds to every variance, as a share of the mean one: directions that hold only noise stay small."""

_BATCH = 1024


def pixels(images: NDArray[np.uint8]) -> Tensor:
    """Bytes (pictures, rows, columns, channels) as float32 in 0..1, (pictures, channels, rows, columns)."""
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
    return torch.from_numpy(planes if planes.flags.writeable else planes.copy()).div_(255)


class Preprocessing(nn.Module):
    """A fixed map of pictures to pictures of the same shape.

    ===========  ==============================================================================================
    kind         computes
    ===========  ==============================================================================================
    none         ``x``, brightness in 0..1
    mean         ``x - m``, ``m`` the mean picture
    normalise    ``(x - m_c) / s_c`` with a mean and a deviation for each channel
    pca          ``V V^T (x - m)``, ``V`` the components that hold 99 % of the variance
    whiten       ``V (L + e)^(-1/2) V^T (x - m)``: uncorrelated, of equal variance, and still a picture (ZCA)
    ===========  ==============================================================================================

    Parameters
    ----------
    kind : str
        One of the above.
    shape : (int, int, int)
        Rows, columns, channels of a picture.
    """

    mean: Tensor
    scale: Tensor
    mix: Tensor

    def __init__(self, kind: str, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.kind = choose("preprocess", kind, PREPROCESSINGS)
        rows, columns, channels = shape
        numbers = rows * columns * channels
        mixing = kind in ("pca", "whiten")
        if mixing and numbers > LARGEST:
            raise OptionError("covariance-too-large", preprocess=kind, numbers=numbers, most=LARGEST)
        one = (1, channels, 1, 1)
        self.register_buffer("mean", torch.zeros((1, channels, rows, columns) if mixing or kind == "mean" else one))
        self.register_buffer("scale", torch.ones(one))
        self.register_buffer("mix", torch.eye(numbers) if mixing else torch.zeros(0))

    def learn(self, part: Pictures) -> Preprocessing:
        """Take the statistics of ``part``, the training part and nothing else, in float64."""
        if self.kind == "none":
            return self
        count, total, mean = len(part), 0.0, torch.zeros(())
        for images in _doubles(part):
            total = total + images.sum(dim=0)
        mean = torch.as_tensor(total) / count
        if self.kind == "mean":
            self.mean.copy_(mean[None])
        elif self.kind == "normalise":
            channel = mean.mean(dim=(1, 2), keepdim=True)
            squares = sum(
                ((images - channel) ** 2).mean(dim=(2, 3), keepdim=True).sum(dim=0) for images in _doubles(part)
            )
            deviation = (torch.as_tensor(squares) / count).sqrt()
            self.mean.copy_(channel[None])
            # A channel that is the same everywhere is left as it is.
            self.scale.copy_(torch.where(deviation > 1e-6, 1 / deviation.clamp(min=1e-6), 1.0)[None])
        else:
            self.mean.copy_(mean[None])
            self.mix.copy_(self._mixing(part, mean))
        return self

    def _mixing(self, part: Pictures, mean: Tensor) -> Tensor:
        numbers = mean.numel()
        covariance = torch.zeros(numbers, numbers, dtype=torch.float64)
        for images in _doubles(part):
            flat = (images - mean).flatten(1)
            covariance.addmm_(flat.T, flat)
        variances, components = torch.linalg.eigh(covariance / len(part))
        variances = variances.clamp(min=0)
        if self.kind == "pca":
            held = variances.flip(0).cumsum(0) / variances.sum().clamp(min=1e-30)
            kept = components[:, numbers - int((held < KEPT).sum()) - 1 :]
            return kept @ kept.T
        floor = FLOOR * variances.mean()
        return (components / (variances + floor).clamp(min=1e-30).sqrt()) @ components.T

    def forward(self, images: Tensor) -> Tensor:
        """Pictures (batch, channels, rows, columns) in 0..1 to what the network sees."""
        if self.kind == "none":
            return images
        centred = (images - self.mean) * self.scale
        if self.kind in ("pca", "whiten"):
            return (centred.flatten(1) @ self.mix).view(images.shape)
        return centred


def _doubles(part: Pictures) -> Iterator[Tensor]:
    for start in range(0, len(part), _BATCH):
        chosen = np.arange(start, min(start + _BATCH, len(part)))
        yield pixels(part.take(chosen)).double()
