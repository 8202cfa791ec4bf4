"""The training loop: shuffle, shift a little, descend."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from convkit.errors import OptionError, ShapeError


def shifted(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Move every picture by up to ``reach`` pixels along rows and columns, each by its own; zeros come in.

    Parameters
    ----------
    images : Tensor, shape (pictures, channels, rows, columns)
        The pictures.
    reach : int
        The largest shift in pixels; 0 leaves them as they are.
    generator : torch.Generator
        Where the chance comes from.

    Examples
    --------
    >>> import torch
    >>> shifted(torch.ones(4, 1, 8, 8), 1, torch.Generator().manual_seed(3)).sum(dim=(1, 2, 3)).tolist()
    [64.0, 49.0, 56.0, 49.0]
    """
    count, _, rows, columns = images.shape
    padded = nn.functional.pad(images, (reach,) * 4)
    down, right = torch.randint(0, 2 * reach + 1, (2, count, 1, 1), generator=generator)
    row = down + torch.arange(rows).view(1, rows, 1)
    column = right + torch.arange(columns).view(1, 1, columns)
    picture = torch.arange(count).view(count, 1, 1)
    return padded[picture, :, row, column].movedim(-1, 1)


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch: int = 64,
    rate: float = 3e-3,
    shift: int = 0,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> list[float]:
    """Train ``network`` to tell ``labels`` from ``images`` with Adam and a rate that rises once and falls to zero.

    Parameters
    ----------
    network : Module
        Gives one score a class; it is left in evaluation mode.
    images : Tensor of float, shape (pictures, channels, rows, columns)
        What it sees.
    labels : Tensor of int64, shape (pictures,)
        What it should say.
    epochs, batch : int
        Passes over the pictures, and pictures a step.
    rate : float
        The largest learning rate.
    shift : int
        Largest random shift of a picture in pixels.
    seed : int
        Decides the order and the shifts.
    progress : callable, optional
        Called as ``progress(step, steps, loss)`` after every step.

    Returns
    -------
    list of float
        The mean loss of every epoch.

    Raises
    ------
    ShapeError
        ``shape.labels-differ``.
    OptionError
        ``option.too-small``.
    """
    if len(images) != len(labels):
        raise ShapeError("labels-differ", images=len(images), labels=len(labels))
    for option, value in (("epochs", epochs), ("batch", batch)):
        if value < 1:
            raise OptionError("too-small", option=option, value=value, least=1)
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(images) // batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    measure = nn.CrossEntropyLoss(label_smoothing=0.05)
    losses: list[float] = []
    step = 0
    network.train()
    for _ in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images), generator=generator).split(batch):
            loss = measure(network(shifted(images[chosen], shift, generator)), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(chosen)
            step += 1
            if progress is not None:
                progress(step, steps, loss.item())
        losses.append(total / len(images))
    network.eval()
    return losses
