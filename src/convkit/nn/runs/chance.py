"""Random numbers that depend on what they are for, never on what was drawn before.

Every draw has its own seed: of the run, the purpose, the epoch, the step. So nothing has to be remembered to go on
after a kill, and neither batches nor processes change what a picture goes through.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def seed_for(*purpose: object) -> int:
    """A seed of 63 bits for a purpose.

    Examples
    --------
    >>> seed_for(0, "order", 3) == seed_for(0, "order", 3), seed_for(0, "order", 3) == seed_for(0, "order", 4)
    (True, False)
    """
    return int.from_bytes(hashlib.sha256(repr(purpose).encode()).digest()[:8], "big") >> 1


def order(pictures: int, batch: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The batches of an epoch: a new order in each, and only full batches (what is left over comes another time)."""
    batch = min(batch, pictures)
    whole = np.random.Generator(np.random.PCG64(seed_for(seed, "order", epoch))).permutation(pictures)
    return [whole[start : start + batch] for start in range(0, pictures - batch + 1, batch)]


def draws(pictures: int, numbers: int, seed: int, epoch: int) -> Tensor:
    """``numbers`` uniform numbers in 0..1 for every picture, shape (pictures, numbers)."""
    generator = torch.Generator().manual_seed(seed_for(seed, "changes", epoch))
    return torch.rand(pictures, numbers, generator=generator)
