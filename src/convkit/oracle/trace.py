"""The same loops keeping every term: for each output, all the products whose sum it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any

from convkit.errors import ConvError
from convkit.oracle.grid import Grid, Index, Number
from convkit.oracle.operator import Operator, Outside


class TraceError(ConvError):
    """A trace whose terms do not give its values."""

    family = "trace"


@dataclass(frozen=True, slots=True)
class Term:
    """One product.

    Attributes
    ----------
    source : tuple of int, "zero" or "fill"
        Index of the input's sample, or what stands outside the input there.
    kernel : tuple of int
        Index of the kernel's element.
    x, k : number
        The two values, ``k`` conjugated where the operator says so; ``x`` is 0 where nothing stands.
    product : number
        ``x * k``, and 0 where nothing stands.
    """

    source: Index | Outside
    kernel: Index
    x: Number
    k: Number
    product: Number


@dataclass(slots=True)
class Step:
    """One output: its index, its terms in the order of addition, the bias (or None), its value."""

    output: Index
    terms: list[Term] = field(default_factory=list[Term])
    bias: Number | None = None
    value: Number = 0

    def sum(self) -> Number:
        """The sum of the terms that hold something, and of the bias."""
        products = [term.product for term in self.terms if term.source != "zero"]
        products += [] if self.bias is None else [self.bias]
        total: Number = products[0] if products else 0
        for one in products[1:]:
            total = total + one
        return total


class Trace:
    """Every step of an operator's work; iterating gives the `Step`s in the order of the outputs.

    Parameters
    ----------
    shape : tuple of int
        Shape of the output.
    steps : list of Step
        One for every output that was asked for.
    """

    def __init__(self, shape: Sequence[int], steps: list[Step]) -> None:
        self.shape: Index = tuple(shape)
        self.steps = steps

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, output: Index) -> Step:
        """The step of one output, by its index."""
        for step in self.steps:
            if step.output == output:
                return step
        raise KeyError(output)

    def values(self) -> list[Number]:
        """The outputs, in order."""
        return [step.value for step in self.steps]

    def verify(self) -> None:
        """Check that every product is that of its factors and every value the sum of its terms.

        Raises
        ------
        TraceError
            ``trace.wrong-product`` or ``trace.wrong-sum``, naming the output.
        """
        for step in self.steps:
            for term in step.terms:
                product = 0 if term.source == "zero" else term.x * term.k
                if not _same(product, term.product):
                    raise TraceError(
                        "wrong-product",
                        output=_index(step.output),
                        kernel=_index(term.kernel),
                        x=term.x,
                        k=term.k,
                        product=term.product,
                        expected=product,
                    )
            total = step.sum()
            if not _same(total, step.value):
                raise TraceError(
                    "wrong-sum",
                    output=_index(step.output),
                    value=step.value,
                    expected=total,
                    count=len(step.terms),
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, for JSON: a Fraction is ``"1/3"``, a complex ``[re, im]``."""
        return {
            "shape": list(self.shape),
            "steps": [
                {
                    "output": list(step.output),
                    "value": _plain(step.value),
                    "bias": None if step.bias is None else _plain(step.bias),
                    "terms": [
                        {
                            "source": term.source if isinstance(term.source, str) else list(term.source),
                            "kernel": list(term.kernel),
                            "x": _plain(term.x),
                            "k": _plain(term.k),
                            "product": _plain(term.product),
                        }
                        for term in step.terms
                    ],
                }
                for step in self.steps
            ],
        }


def trace(
    operator: Operator, x: Grid, k: Grid, bias: Grid | None = None, outputs: Sequence[Index] | None = None
) -> Trace:
    """Run ``operator`` keeping every term.

    Parameters
    ----------
    operator : Operator
        From `array_operator`, `network_operator` or `transposed_operator`.
    x, k : Grid
        Input and kernel.
    bias : Grid, optional
        One number an output channel (axis 1).
    outputs : sequence of index, optional
        The outputs to follow; all of them by default.

    Examples
    --------
    >>> from convkit.oracle import array_operator
    >>> from convkit.spec import ConvSpec
    >>> steps = trace(array_operator(ConvSpec.of_arrays(1), (3,), (2,)), Grid.of([1, 2, 3]), Grid.of([1, 10]))
    >>> [(term.source, term.kernel, term.product) for term in steps[(1,)].terms], steps[(1,)].value
    ([((1,), (0,), 2), ((0,), (1,), 10)], 12)
    """
    wanted = Grid.full(operator.output_shape, 0).indices() if outputs is None else outputs
    steps = {index: Step(index) for index in wanted}
    for link in operator.links():
        if link.output in steps:
            sample, element = operator.sample(x, link), operator.element(k, link)
            product = 0 if link.source == "zero" else sample * element
            steps[link.output].terms.append(Term(link.source, link.kernel, sample, element, product))
    for step in steps.values():
        step.bias = None if bias is None else bias[step.output[1:2]]
        step.value = step.sum()
    return Trace(operator.output_shape, list(steps.values()))


def _same(a: Number, b: Number) -> bool:
    return bool(a == b) or (a != a and b != b)


def _index(index: Index) -> str:
    return ", ".join(map(str, index))


def _plain(value: Number) -> int | float | str | list[float]:
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Fraction | Decimal):
        return str(value)
    return str(value)
