"""Pictures shifted, turned, zoomed, mirrored and blotted, each by numbers of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from convkit.nn.runs.recipe import Augmentation

NUMBERS = 8
"""Uniform numbers that a picture draws: shift down and right, turn, zoom, two mirrors, the blot's place."""


def changed(images: Tensor, augment: Augmentation, numbers: Tensor) -> Tensor:
    """Change every picture as its numbers say.

    Parameters
    ----------
    images : Tensor of float, shape (pictures, channels, rows, columns)
        The pictures; they stay as they are.
    augment : Augmentation
        How far changes may go.
    numbers : Tensor, shape (pictures, 8)
        In 0..1, from `chance.draws`.

    Examples
    --------
    >>> import torch
    >>> picture = torch.arange(6.0).view(1, 1, 2, 3)
    >>> changed(picture, Augmentation(flip="horizontal"), torch.zeros(1, 8))
    tensor([[[[2., 1., 0.],
              [5., 4., 3.]]]])
    """
    mirrored = [
        augment.flip in ("vertical", "both"),
        augment.flip in ("horizontal", "both"),
    ]
    flips = [(numbers[:, 4 + axis] < 0.5) & mirrored[axis] for axis in (0, 1)]
    if augment.rotate or augment.zoom:
        images = _turned(images, augment, numbers, flips)
    elif augment.shift or any(mirrored):
        images = _moved(images, augment, numbers, flips)
    return _blotted(images, augment.erase, numbers[:, 6:8]) if augment.erase else images


def _moved(images: Tensor, augment: Augmentation, numbers: Tensor, flips: list[Tensor]) -> Tensor:
    """Whole pixels only: rows and columns are looked up, mirrored at the border."""
    count, _, *sides = images.shape
    places = []
    for axis, side in enumerate(sides):
        reach = min(augment.shift, side - 1)
        moves = (numbers[:, axis] * (2 * reach + 1)).long().clamp(max=2 * reach) - reach
        place = torch.arange(side) + moves[:, None]
        place = place.abs()
        place = torch.where(place >= side, 2 * side - 2 - place, place).clamp(min=0)
        places.append(torch.where(flips[axis][:, None], side - 1 - place, place))
    picture = torch.arange(count).view(-1, 1, 1)
    return images[picture, :, places[0][:, :, None], places[1][:, None, :]].movedim(-1, 1).contiguous()


def _turned(images: Tensor, augment: Augmentation, numbers: Tensor, flips: list[Tensor]) -> Tensor:
    """Turn, zoom, shift and mirror in one interpolation, so that a picture is blurred once."""
    rows, columns = images.shape[-2:]
    signed = 2 * numbers[:, :4] - 1
    angle = signed[:, 2] * math.radians(augment.rotate)
    scale = 1 + signed[:, 3] * augment.zoom
    down = 2 * augment.shift / rows * signed[:, 0]
    right = 2 * augment.shift / columns * signed[:, 1]
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    down_sign, right_sign = (1 - 2 * flip.float() for flip in flips)
    # Coordinates run from -1 to 1 along both axes: a turn of a picture that is no square needs its ratio of sides.
    ratio = rows / columns
    first = torch.stack([cosine * right_sign, -sine * ratio * down_sign, right], dim=1)
    second = torch.stack([sine / ratio * right_sign, cosine * down_sign, down], dim=1)
    grid = nn.functional.affine_grid(torch.stack([first, second], dim=1), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _blotted(images: Tensor, side: int, numbers: Tensor) -> Tensor:
    """A square somewhere becomes the picture's mean; it may hang over the border."""
    rows, columns = images.shape[-2:]
    top = (numbers[:, 0] * rows).long() - side // 2
    left = (numbers[:, 1] * columns).long() - side // 2
    row, column = torch.arange(rows), torch.arange(columns)
    inside = ((row >= top[:, None]) & (row < top[:, None] + side))[:, :, None] & (
        (column >= left[:, None]) & (column < left[:, None] + side)
    )[:, None, :]
    return torch.where(inside[:, None], images.mean(dim=(2, 3), keepdim=True), images)
