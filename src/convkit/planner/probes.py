"""Measurements that the machine model takes of work done by others; they register themselves."""

from __future__ import annotations

from collections.abc import Callable

Timer = Callable[[Callable[[], object]], float]
_transform: list[Callable[[Timer], float]] = []
_fused: list[Callable[[Timer], float | None]] = []


def register_transform(probe: Callable[[Timer], float]) -> None:
    """Give the function that measures the rate of the FFT in use, in operations per second."""
    _transform[:] = [probe]


def transform_rate(timer: Timer) -> float | None:
    """Operations per second of the registered FFT; None before any algorithm has registered."""
    return _transform[0](timer) if _transform else None


def register_fused(probe: Callable[[Timer], float | None]) -> None:
    """Give the function that measures compiled multiply-adds, in operations per second, or None without any."""
    _fused[:] = [probe]


def fused_rate(timer: Timer) -> float | None:
    """Operations per second of compiled multiply-adds; None where nothing is compiled."""
    return _fused[0](timer) if _fused else None
