"""What a recorded model does, step by step: chains of layers, and whatever else torch does between them.

Every step takes the list of the values known so far, by their numbers, and puts its own there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import Node

from convkit.nn.acceleration.told import Told
from convkit.verbs.chains import LINE, Chain

Values = list[Any]


class Slot(NamedTuple):
    """The place of a value among an operation's arguments."""

    number: int


class Other:
    """One operation, as the model's own code does it."""

    def __init__(self, node: Node, model: nn.Module, numbers: Mapping[Node, int]) -> None:
        self._function, self._out = _function(node, model), numbers[node]
        arguments = node.args[1:] if node.op == "get_attr" else node.args
        self._arguments, self._named = (with_slots(one, numbers) for one in (arguments, node.kwargs))

    def __call__(self, values: Values) -> None:
        """Do it."""
        values[self._out] = self._function(*filled(self._arguments, values), **filled(self._named, values))


def _function(node: Node, model: nn.Module) -> Callable[..., Any]:
    name = str(node.target)
    if node.op == "call_function":
        return node.target  # type: ignore[return-value]
    if node.op == "call_module":
        return model.get_submodule(name)
    if node.op == "call_method":
        return lambda value, *given, **named: getattr(value, name)(*given, **named)
    found = attrgetter(name)
    return lambda: found(model)


def with_slots(one: Any, numbers: Mapping[Node, int]) -> Any:
    """Arguments with the nodes' places in place of nodes."""
    if isinstance(one, Node):
        return Slot(numbers[one])
    if isinstance(one, slice):
        return slice(*(with_slots(part, numbers) for part in (one.start, one.stop, one.step)))
    if isinstance(one, dict):
        return {key: with_slots(part, numbers) for key, part in one.items()}
    if isinstance(one, list):
        return [with_slots(part, numbers) for part in one]
    if type(one) is tuple:
        return tuple([with_slots(part, numbers) for part in one])
    return one


def filled(one: Any, values: Values) -> Any:
    """Arguments with values in their places."""
    if type(one) is Slot:
        return values[one.number]
    if type(one) is tuple:
        return tuple([filled(part, values) for part in one])
    if type(one) is list:
        return [filled(part, values) for part in one]
    if type(one) is dict:
        return {key: filled(part, values) for key, part in one.items()}
    if type(one) is slice:
        return slice(*(filled(part, values) for part in (one.start, one.stop, one.step)))
    return one


@dataclass(frozen=True, slots=True)
class End:
    """An array at the beginning or the end of a chain.

    Attributes
    ----------
    number : int
        Of its value.
    told : Told
        What torch has there.
    strides : tuple of int
        What the chain takes or gives; where that is something else, it is copied.
    """

    number: int
    told: Told
    strides: tuple[int, ...]

    @property
    def sample(self) -> int:
        """Bytes from sample to sample."""
        return self.strides[0] * self.told.dtype.itemsize

    def given(self, values: Values) -> Tensor | None:
        """What comes in; None if it is not what was recorded."""
        tensor = values[self.number]
        if not self.told.fits(tensor):
            return None
        return tensor if self.strides == self.told.strides else self.empty(self.strides).copy_(tensor)

    def taken(self, values: Values, tensor: Tensor) -> None:
        """Put what goes out among the values."""
        same = self.strides == self.told.strides
        values[self.number] = tensor if same else self.empty(self.told.strides).copy_(tensor)

    def empty(self, strides: tuple[int, ...]) -> Tensor:
        """Memory for it."""
        return torch.empty_strided(self.told.shape, strides, dtype=self.told.dtype)


class Linked:
    """Layers as one job, or one by one where that does not fit what they are given.

    Parameters
    ----------
    chain : Chain
        For all samples, or for some.
    inputs, outputs : sequence of End
        What comes in and goes out.
    alone : sequence of Other
        The layers one by one.
    times : int
        How often the chain is to be run, each time for the samples that come next.
    """

    def __init__(
        self, chain: Chain, inputs: Sequence[End], outputs: Sequence[End], alone: Sequence[Other], times: int = 1
    ) -> None:  # fmt: skip
        self._chain, self._inputs, self._outputs, self._alone, self._times = chain, inputs, outputs, alone, times
        ends = (*inputs, *outputs)
        self._apart = [end.sample * (end.told.shape[0] // times) for end in ends]

    def __call__(self, values: Values) -> None:
        """Do them."""
        given = [end.given(values) for end in self._inputs]
        made = [end.empty(end.strides) for end in self._outputs]
        if not self._run(given, made):
            for other in self._alone:
                other(values)
            return
        for end, tensor in zip(self._outputs, made, strict=True):
            end.taken(values, tensor)

    def _run(self, given: list[Tensor | None], made: list[Tensor]) -> bool:
        if any(tensor is None for tensor in given) or any(tensor.data_ptr() % LINE for tensor in made):
            return False
        first = [tensor.data_ptr() for tensor in (*given, *made)]  # type: ignore[union-attr]
        return all(
            self._chain.run([place + n * apart for place, apart in zip(first, self._apart, strict=True)])
            for n in range(self._times)
        )
