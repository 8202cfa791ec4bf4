"""What an algorithm is: the five questions it answers, and the records it answers them with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from convkit.catalogue import say
from convkit.planner.finishing import Operands
from convkit.planner.machine import Machine
from convkit.planner.problem import Problem

Array = NDArray[Any]

Alone = Callable[[Array, Array | None], Array | None]
"""From samples and, if there is one, the array for the result, to the result; None for arrays that need more care."""


class Reason:
    """Why an algorithm does not apply, as a sentence of the catalogue (``plan.reason.<name>``)."""

    __slots__ = ("facts", "name")

    def __init__(self, name: str, /, **facts: object) -> None:
        self.name = name
        self.facts = facts

    def __str__(self) -> str:
        return say(f"plan.reason.{self.name}", **self.facts)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an algorithm is predicted to spend.

    Attributes
    ----------
    flops : float
        Floating-point operations.
    bytes : float
        Bytes moved between memory and the processor.
    seconds : float
        Predicted time on the machine model.
    workspace : int
        Bytes allocated beyond the input and the output, at most.
    """

    flops: float
    bytes: float
    seconds: float
    workspace: int


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """How wrong a result can be.

    ``elementwise``: ``|error[i]| <= factor * sum_j |x||k|`` over the terms of output i.
    ``norm``: ``|error[i]| <= factor * |x|_2 * |k|_2``. ``exact``: no error.

    An elementwise bound implies the bound by norms with the same factor (Cauchy and Schwarz).
    """

    kind: Literal["exact", "elementwise", "norm"]
    factor: float

    def __float__(self) -> float:
        return self.factor

    def __str__(self) -> str:
        return say(f"plan.bound.{self.kind}", factor=f"{self.factor:.2g}")

    def absolute(self, x: Array, k: Array) -> float:
        """The largest error that the bound allows for these arrays, one sum over all channels."""
        if self.kind == "exact":
            return 0.0
        wide = np.longdouble if x.dtype.kind != "c" and k.dtype.kind != "c" else np.complex128
        norms = (
            np.linalg.norm(np.ravel(x).astype(wide).astype(np.complex128)),
            np.linalg.norm(np.ravel(k).astype(np.complex128)),
        )
        return float(self.factor * norms[0] * norms[1])

    def meets(self, accuracy: str | float) -> bool:
        """Whether the bound keeps what ``accuracy`` asks for."""
        if isinstance(accuracy, float):
            return self.factor <= accuracy
        return accuracy == "norm" or self.kind != "norm"


class Algorithm(Protocol):
    """One way of doing a convolution: it answers five questions.

    Eight more it may answer: ``finishes(problem)``, whether it does ``problem.epilogue`` as it stores (see
    `Finishing`); ``pools(problem)``, whether it does so with the pooling of one;
    ``calls(problem, prepared, x, out, operands)``, all that ``run`` would do as calls of programs (see `Calling`);
    ``in_rows(problem, prepared, bias)``, the same a few rows at a time (see `convkit.planner.bands`);
    ``quick(problem, order)``, the bare arithmetic of a tiny problem; ``alone(problem, prepared)``, the run for one
    array whose axes are all convolved, all else worked out; ``describe(problem)``, the name of the schedule its loops
    follow; ``kernels(problem)``, the compiled kernels that they are. ``kernel_types`` names the types of kernels of
    half as many bytes as sums that it reads as they lie: upstream gradients are as large as images.

    Attributes
    ----------
    name : str
        How ``method=`` and reports call it.
    """

    name: str

    def applies(self, problem: Problem) -> Reason | None:
        """None if the algorithm can do ``problem``, otherwise why not."""
        ...

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        """What it would spend on ``problem``."""
        ...

    def bound(self, problem: Problem) -> ErrorBound:
        """How wrong the result can be."""
        ...

    def prepare(self, problem: Problem, kernel: Array) -> Any:
        """Whatever can be worked out from the kernel alone, once.

        ``kernel`` has the shape ``problem.kernel_shape``; it may be a view with any strides and is not modified.
        """
        ...

    def run(self, problem: Problem, prepared: Any, x: Array, out: Array) -> Literal["finite"] | None:
        """Write the result for ``x`` (``problem.input_shape``) into ``out`` (``problem.output_shape``).

        Both may be views with any strides; ``out`` shares no memory with ``x`` and has the compute dtype, unless the
        algorithm has a method ``stores(problem) -> str`` that names another: the type in which results are stored, into
        which it then brings its sums itself, rounded once, saturated or checked as ``problem.overflow`` says.
        ``"finite"`` says that every output is, so that nobody need look again.
        """
        ...


class Finishing(Algorithm, Protocol):
    """An algorithm that does the epilogue of some problems itself, in the registers that it stores from.

    Where it says so, it is given the problem with its epilogue and the operands with it. Otherwise it never sees
    an epilogue: it is given `Problem.plain`, and the plan finishes the sums in place.
    """

    def finishes(self, problem: Problem) -> bool:
        """Whether it does ``problem.epilogue``."""
        ...

    def run(
        self, problem: Problem, prepared: Any, x: Array, out: Array, operands: Operands = ...
    ) -> Literal["finite"] | None:
        """As `Algorithm.run`; ``out`` becomes ``activation(sums + bias + add)``, in this order.

        One that may spread infinite numbers over other outputs looks at its sums before their epilogue, and says
        ``"finite"`` or is done again by another.
        """
        ...


class Call(NamedTuple):
    """A program and the memory that it is run on: what `convkit.codegen.pool.run` takes.

    Attributes
    ----------
    program : Program
        See `convkit.codegen.program`.
    bases : tuple of int
        Addresses, the result's and the input's first.
    seconds : float
        A guess at what it takes one thread.
    status : int
        Which of the bases is that of a word that says whether infinite numbers were met; -1 for none.
    held : tuple
        What must live as long as the addresses are used, besides the arrays given.
    """

    program: Any
    bases: tuple[int, ...]
    seconds: float
    status: int = -1
    held: tuple[Any, ...] = ()


class Calling(Finishing, Protocol):
    """An algorithm whose run is nothing but calls of programs, which may be made later, and more than once."""

    def calls(
        self, problem: Problem, prepared: Any, x: Array, out: Array, operands: Operands = ...
    ) -> Sequence[Call] | None:
        """The calls that `run` would make, with the same arrays; None where it would do more than that."""
        ...


def unit_roundoff(dtype: str) -> float:
    """Half the distance from 1 to the next number of ``dtype``."""
    return float(np.finfo(np.dtype(dtype)).eps) / 2


def summation_bound(problem: Problem, terms: int) -> ErrorBound:
    """The bound of any order of summing ``terms`` products (Higham, Accuracy and Stability, section 3.1)."""
    if problem.exact:
        return ErrorBound("exact", 0.0)
    u = unit_roundoff(problem.compute_dtype)
    # A complex product costs four real ones; sqrt(8) covers it (Higham, section 3.6).
    growth = (terms + 2) * u * (2.83 if problem.compute_dtype.startswith("c") else 1.0)
    return ErrorBound("elementwise", growth / (1 - growth) if growth < 1 else float("inf"))
