"""Measurements that the machine model takes of work done by others; they register themselves by the rate's name."""

from __future__ import annotations

from collections.abc import Callable

Timer = Callable[[Callable[[], object]], float]
Probe = Callable[[Timer], float | None]
_probes: dict[str, Probe] = {}


def register(rate: str, probe: Probe) -> None:
    """Give the function that measures ``rate`` of the machine model, or gives None where it cannot."""
    _probes[rate] = probe


def measured(rate: str, timer: Timer, otherwise: float) -> float:
    """What the registered probe measures; ``otherwise`` where there is none, or it cannot."""
    probe = _probes.get(rate)
    return (None if probe is None else probe(timer)) or otherwise
