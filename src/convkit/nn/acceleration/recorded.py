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
from convkit.nn.acceleration.native import link
from convkit.nn.acceleration.steps import End, Linked, Other, Slot, Values, filled
from convkit.nn.acceleration.told import Told
from convkit.nn.acceleration.unchanged import Unchanged
from convkit.verbs.chains import LINE, Value, chained

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

    def _unseen(self, given: tuple[Any, ...]) -> bool:
        """Whether nobody watches what is done with these."""
        return (
            all(Told.of(one) is not None for one in given)
            and unwatched(*given)
            and not _C._len_torch_function_stack()
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
        self._result = _with_slots(output.args[0], self._numbers)
        self._writing = threading.Lock()

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
        seen = _Seen(self._model)
        result = seen.run(*given)
        self._steps = self._with_ends(_Writer(self._model, self._numbers, seen.told, self._ready).steps())
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


def _with_slots(one: Any, numbers: dict[Node, int]) -> Any:
    return fx.node.map_aggregate(one, lambda leaf: Slot(numbers[leaf]) if isinstance(leaf, Node) else leaf)


class _Seen(fx.Interpreter):
    """Runs a model node by node and keeps what its values are."""

    def __init__(self, model: fx.GraphModule) -> None:
        super().__init__(model)
        self.told: dict[Node, Told | None] = {}

    def run_node(self, n: Node) -> Any:
        """One node."""
        result = super().run_node(n)
        self.told[n] = Told.of(result)
        return result


class _Writer:
    """Writes the steps of a model: as many layers in a row as can be linked are one."""

    def __init__(
        self, model: fx.GraphModule, numbers: dict[Node, int], told: dict[Node, Told | None], ready: dict[Any, Any]
    ) -> None:  # fmt: skip
        self.model, self.numbers, self.told = model, numbers, told
        self.modules, self.ready = dict(model.named_modules()), ready
        self.links = {node: link(node, self.modules, told, ready) for node in numbers}

    def steps(self) -> list[tuple[Other | Linked, list[Node]]]:
        """All of them, with their nodes."""
        found: list[tuple[Other | Linked, list[Node]]] = []
        row: list[Node] = []
        for node in self.numbers:
            if self.links[node] is not None:
                row.append(node)
                continue
            found += self.linked(row)
            row = []
            if node.op not in ("placeholder", "output"):
                found.append((Other(node, self.model, self.numbers), [node]))
        return found + self.linked(row)

    def linked(self, row: list[Node]) -> list[tuple[Other | Linked, list[Node]]]:
        """Nodes in a row as one chain, or as two where there is a node between them that cannot be linked after all."""
        if not row:
            return []
        alone = [Other(node, self.model, self.numbers) for node in row]
        made = self.chain(row, self.told)
        if isinstance(made, int):
            return [*self.linked(row[:made]), (alone[made], [row[made]]), *self.linked(row[made + 1 :])]
        chain, inputs, outputs = made
        batch = self.batch(row)
        samples = chain.samples_at_once(batch) if batch else 0
        if samples < batch and not any(end.sample * samples % LINE for end in outputs):
            some = {node: told and told.of_batch(samples) for node, told in self.told.items()}
            chain = self.chain(row, some)[0]
            return [(Linked(chain, inputs, outputs, alone, batch // samples), row)]
        return [(Linked(chain, inputs, outputs, alone), row)]

    def batch(self, row: list[Node]) -> int:
        """Of all that the nodes read and make; 0 if it is not the same."""
        touched = {*row, *(read for node in row for read in node.all_input_nodes)}
        batches = {told.shape[0] for node in touched if (told := self.told[node]) is not None}
        return batches.pop() if len(batches) == 1 else 0

    def chain(self, row: list[Node], told: dict[Node, Told | None]) -> Any:
        """A chain with what comes in and what goes out; or the first node that cannot be linked."""
        found = [link(node, self.modules, told, self.ready) for node in row]
        links = [one for one in found if one is not None]
        inside = set(row)
        added = {one.add for one in links if one.add is not None}
        reads = dict.fromkeys(node for one in links for node in (one.x, one.add) if node is not None)
        # What is added lies as the sums do, with channels side by side; and pooling leaves them as they lie.
        beside = inside | added
        inputs = [self.end(node, node in added) for node in reads if node not in inside]
        outputs = [
            self.end(node, one.like in beside)
            for node, one in zip(row, links, strict=True)
            if node.users.keys() - inside
        ]  # fmt: skip
        ends = {end.number: end for end in (*inputs, *outputs)}
        numbers = {node: n for n, node in enumerate(dict.fromkeys((*reads, *row)))}
        values = [_value(told[node], ends.get(self.numbers[node])) for node in numbers]
        steps = [
            one.make(numbers[one.x], None if one.add is None else numbers[one.add], numbers[node])
            for node, one in zip(row, links, strict=True)
        ]  # fmt: skip
        place = {self.numbers[node]: n for node, n in numbers.items()}
        made = chained(values, steps, [place[end.number] for end in inputs], [place[end.number] for end in outputs])
        return made if isinstance(made, int) else (made, inputs, outputs)

    def end(self, node: Node, side_by_side: bool) -> End:
        """What comes in, or goes out, as it lies or with its channels side by side."""
        told = self.told[node]
        assert told is not None
        return End(self.numbers[node], told, told.side_by_side if side_by_side else told.strides)


def _value(told: Told | None, end: End | None) -> Value:
    """A value of a chain."""
    assert told is not None
    kind = str(told.dtype).removeprefix("torch.")
    strides = None if end is None else tuple(told.dtype.itemsize * stride for stride in end.strides)
    return Value(tuple(told.shape), kind, strides)
