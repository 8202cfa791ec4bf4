"""A model's run written down as steps: as many layers in a row as can be linked are one."""

from __future__ import annotations

from typing import Any

from torch import fx, nn
from torch.fx import Node

from convkit.nn.acceleration.native import Link, link
from convkit.nn.acceleration.steps import End, Linked, Other
from convkit.nn.acceleration.told import Told
from convkit.verbs.chains import LINE, Value, chained


class Seen(fx.Interpreter):
    """Runs a model node by node and keeps what its values are."""

    def __init__(self, model: fx.GraphModule) -> None:
        super().__init__(model)
        self.told: dict[Node, Told | None] = {}

    def run_node(self, n: Node) -> Any:
        """One node."""
        result = super().run_node(n)
        self.told[n] = Told.of(result)
        return result


class Writer:
    """Writes the steps of a model: as many layers in a row as can be linked are one."""

    def __init__(
        self, model: fx.GraphModule, numbers: dict[Node, int], told: dict[Node, Told | None], ready: dict[Any, Any]
    ) -> None:  # fmt: skip
        self.model, self.numbers, self.told = model, numbers, told
        self.modules: dict[str, nn.Module] = dict(model.named_modules())
        self.ready = ready
        self.pooled: set[str] = set()
        """Layers whose results are pooled before they are stored."""
        self.joined: dict[str, tuple[str, ...]] = {}
        """Layers that are done together, by the first of them."""
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
        for n, node in enumerate(row):
            one = self.links[node]
            if one is not None and one.make is None and node.users.keys() - set(row[n:]):
                # What is passed on is no array of its own that could go out.
                alone = Other(node, self.model, self.numbers)
                return [*self.linked(row[:n]), (alone, [node]), *self.linked(row[n + 1 :])]
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
        same: dict[Node, Node] = {}
        links: list[Link] = []
        makers: list[Node] = []
        for node, one in zip(row, found, strict=True):
            assert one is not None
            x, add = same.get(one.x, one.x), one.add and same.get(one.add, one.add)
            if one.make is None:
                same[node] = x
            else:
                links.append(one._replace(x=x, add=add, like=one.like and same.get(one.like, one.like)))
                makers.append(node)
        inside = set(makers)
        added = {one.add for one in links if one.add is not None}
        reads = dict.fromkeys(node for one in links for node in (one.x, one.add) if node is not None)
        # What is added lies as the sums do, with channels side by side; and pooling leaves them as they lie.
        beside = inside | added
        inputs = [self.end(node, node in added) for node in reads if node not in inside]
        outputs = [
            self.end(node, one.like in beside)
            for node, one in zip(makers, links, strict=True)
            if node.users.keys() - set(row)
        ]  # fmt: skip
        ends = {end.number: end for end in (*inputs, *outputs)}
        numbers = {node: n for n, node in enumerate(dict.fromkeys((*reads, *makers)))}
        values = [_value(told[node], ends.get(self.numbers[node])) for node in numbers]
        steps = [
            one.make(numbers[one.x], None if one.add is None else numbers[one.add], numbers[node])
            for node, one in zip(makers, links, strict=True)
            if one.make is not None
        ]  # fmt: skip
        place = {self.numbers[node]: n for node, n in numbers.items()}
        made = chained(values, steps, [place[end.number] for end in inputs], [place[end.number] for end in outputs])
        if isinstance(made, int):
            return row.index(makers[made])
        named = {n: str(node.target) for node, n in numbers.items()}
        self.pooled |= {named[n] for n in made.pooled}
        self.joined.update(
            {named[first]: tuple(map(named.__getitem__, (first, *rest))) for first, *rest in made.joined}
        )
        return made, inputs, outputs

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
