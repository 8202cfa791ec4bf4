"""Several processes that train one network together, or one alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this is.

    Attributes
    ----------
    rank, world : int
        This process, counted from 0, and how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def total(self, numbers: list[float]) -> list[float]:
        """The sums over all processes."""
        if self.world == 1:
            return numbers
        whole = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(whole)
        return whole.tolist()

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.world > 1:
            distributed.barrier()

    def same(self, network: nn.Module) -> None:
        """Give every process the running statistics of the first."""
        if self.world > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, 0)

    def wrapped(self, network: nn.Module) -> nn.Module:
        """``network``, with gradients averaged over all processes while they are computed."""
        return network if self.world == 1 else nn.parallel.DistributedDataParallel(network)

    def share(self, whole: Tensor) -> Tensor:
        """The part of a batch that is this process's: every ``world``-th entry."""
        return whole[self.rank :: self.world]


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun started, with gloo; alone where it did not."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    distributed.init_process_group("gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def asked_world() -> int:
    """How many processes torchrun started on this machine, 1 where it did not."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "1")))
