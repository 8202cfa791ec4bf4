"""Ways of convolving a signal that arrives in blocks: what such a way answers, and those that registered themselves.

A stream's problem has one axis, boundary taken care of: ``y[n] = sum_m u[n - m] * h[m]`` for every sample n, where h is
the laid kernel reversed, with zeros between its elements if it is dilated.
"""

from __future__ import annotations

from typing import Protocol

from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason
from convkit.planner.machine import Machine
from convkit.planner.problem import Problem
from convkit.spec.options import Latency


class Running(Protocol):
    """One stream under way."""

    def push(self, samples: Array) -> Array:
        """Take ``(rows, n)`` samples and give the sums y that became known, ``(rows, m)``, in order."""
        ...


class Streaming(Protocol):
    """A way of streaming.

    A ``problem`` describes one block: ``count`` windows, stride 1, on as many samples as they need. With latency
    ``"zero"``, y[n] is given when u[n] arrives; with ``"block"``, when the block of u[n] is complete.

    Attributes
    ----------
    name : str
        How reports call it.
    """

    name: str

    def applies(self, problem: Problem, latency: Latency) -> Reason | None:
        """None if it can do ``problem``, otherwise why not."""
        ...

    def cost(self, problem: Problem, latency: Latency, machine: Machine) -> Cost:
        """What one block takes; ``workspace`` is what a stream holds from its beginning to its end."""
        ...

    def bound(self, problem: Problem, latency: Latency) -> ErrorBound:
        """How wrong y can be, ``|u|`` and ``|k|`` being the norms of one window and of the kernel."""
        ...

    def begin(self, problem: Problem, latency: Latency, kernel: Array) -> Running:
        """A stream that begins, zeros before its first sample. ``kernel``, finite, has ``problem.kernel_shape``."""
        ...


_ways: dict[str, Streaming] = {}


def register(way: Streaming) -> None:
    """Add a way; a second one of the same name takes its place."""
    _ways[way.name] = way


def ways() -> tuple[Streaming, ...]:
    """All of them."""
    return tuple(_ways.values())
