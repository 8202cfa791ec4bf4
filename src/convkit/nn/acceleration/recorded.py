"""A traced model for inference that goes past its own code: for inputs seen before, layer after layer as one job.

What a model does with inputs of one kind is written down step by step: chains of layers, and between them whatever else
it does, as torch does it. Whoever watches (hooks, gradients, compilers) sees the model's own code run.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.fx import Node

from convkit.arrays.torch_layers import unwatched
from convkit.nn.acceleration.steps import Linked, Other, Values, filled, with_slots
from convkit.nn.acceleration.told import Told
from convkit.nn.acceleration.unchanged import Unchanged
from convkit.nn.acceleration.writing import Seen, Writer

MOST_KEPT = 8
"""Kinds of inputs that are remembered."""

_C: Any = torch._C


class Accelerated(fx.GraphModule):
    """A graph, and what was recorded of it."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        """The model's outputs."""
        if torch.compiler.is_compiling() or named:
            return super().__call__(*given, **named)
        known = None
        if self._unseen(given):
            records = self.__dict__.get("_records")
            if records is None:
                records = self.__dict__["_records"] = Records()
            known = records.find(self, given)
        return super().__call__(*given) if known is None else known(given)

    def pooled_layers(self, *given: Any) -> set[str]:
        """Layers whose results are pooled before they are stored, as it is done with inputs of this kind."""
        records = self.__dict__.get("_records")
        known = None if records is None else records.known(given)
        return set() if known is None else known.pooled

    def joined_layers(self, *given: Any) -> list[tuple[str, ...]]:
        """Layers that are done together, a few rows at a time, as it is done with inputs of this kind."""
        records = self.__dict__.get("_records")
        known = None if records is None else records.known(given)
        return [] if known is None else known.joined

    def _unseen(self, given: tuple[Any, ...]) -> bool:
        """Whether nobody watches what is done with these."""
        return (
            all(Told.of(one) is not None for one in given)
            and unwatched(*given)
            and not _C._len_torch_function_stack()
            and not torch.is_autocast_enabled("cpu")
            and not (torch.is_grad_enabled() and any(one.requires_grad for one in given))
            and not (self._forward_hooks or self._forward_pre_hooks)
        )


class Records:
    """What was recorded of a model, by what its inputs are."""

    def __init__(self) -> None:
        self._known: dict[Any, Record | None] = {}
        self._ready: dict[Any, Any] = {}
        self._unchanged: Unchanged | None = None
        self._code = ""
        self._making = threading.Lock()

    def __reduce__(self) -> Any:
        return Records, ()  # addresses are not to be copied

    def known(self, given: tuple[Any, ...]) -> Record | None:
        """How inputs of this kind are done, if that was written down."""
        return self._known.get(tuple(Told.of(one) for one in given))

    def find(self, model: fx.GraphModule, given: tuple[Any, ...]) -> Record | None:
        """How to do it; None for inputs that are new, or where somebody looks."""
        unchanged = self._unchanged
        if unchanged is None or self._code != model._code or not unchanged.holds():
            with self._making:
                self._known, self._ready, self._code = {}, {}, model._code
                unchanged = self._unchanged = Unchanged(model, _modules_called(model))
        if unchanged.hooked() or (torch.is_grad_enabled() and unchanged.wants_gradients()):
            return None
        key = tuple(Told.of(one) for one in given)
        if key not in self._known:  # inputs of one kind may come but once
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[key] = None
            return None
        known = self._known[key]
        if known is None:
            known = self._known[key] = Record(model, self._ready)
        return known


def _modules_called(model: fx.GraphModule) -> list[str]:
    return [str(node.target) for node in model.graph.nodes if node.op == "call_module"]


class Record:
    """What a model does with inputs of one kind: written down when it is first done."""

    def __init__(self, model: fx.GraphModule, ready: dict[Any, Any]) -> None:
        self._model, self._ready = model, ready
        self._steps: list[tuple[Other | Linked, tuple[int, ...]]] | None = None
        self._numbers = {node: n for n, node in enumerate(model.graph.nodes)}
        self._inputs = [n for node, n in self._numbers.items() if node.op == "placeholder"]
        (output,) = (node for node in model.graph.nodes if node.op == "output")
        self._result = with_slots(output.args[0], self._numbers)
        self._writing = threading.Lock()
        self.pooled: set[str] = set()
        self.joined: list[tuple[str, ...]] = []

    def __call__(self, given: Sequence[Any]) -> Any:
        """The model's outputs."""
        if len(given) != len(self._inputs):  # defaults, or too many
            return self._model.forward(*given)
        steps = self._steps
        if steps is None:
            if self._writing.acquire(blocking=False):
                try:
                    return self._first(given)
                finally:
                    self._writing.release()
            return self._model.forward(*given)
        values: Values = [None] * len(self._numbers)
        for number, value in zip(self._inputs, given, strict=True):
            values[number] = value
        for step, over in steps:
            step(values)
            for number in over:
                values[number] = None
        return filled(self._result, values)

    def _first(self, given: Sequence[Any]) -> Any:
        """Do it as it stands, and write it down."""
        seen = Seen(self._model)
        result = seen.run(*given)
        writer = Writer(self._model, self._numbers, seen.told, self._ready)
        self._steps = self._with_ends(writer.steps())
        self.pooled, self.joined = writer.pooled, list(writer.joined.values())
        return result

    def _with_ends(self, steps: list[tuple[Other | Linked, list[Node]]]) -> list[Any]:
        """Steps with the values that nobody reads afterwards."""
        last: dict[Node, int] = {}
        for n, (_, nodes) in enumerate(steps):
            for node in nodes:
                last[node] = n
                for read in node.all_input_nodes:
                    last[read] = n
        kept = {node for output in self._numbers if output.op == "output" for node in output.all_input_nodes}
        over: list[list[int]] = [[] for _ in steps]
        for node, n in last.items():
            if node not in kept:
                over[n].append(self._numbers[node])
        return [(step, tuple(numbers)) for (step, _), numbers in zip(steps, over, strict=True)]
