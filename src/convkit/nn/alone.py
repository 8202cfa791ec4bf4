"""Small trainings that repeat: one thread of torch's, and random numbers of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def alone(seed: int) -> Iterator[None]:
    """Draw from ``seed``, leave the caller's random numbers alone, and give torch one thread.

    Torch's own share of the work is tiny in small networks, and its idle threads would spin against those of `ck.conv`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
