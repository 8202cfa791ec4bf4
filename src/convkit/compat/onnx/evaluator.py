"""Running a graph: node by node, each value forgotten after its last use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from convkit.catalogue import say
from convkit.compat.onnx import convolutions, elementwise, integers, pooling
from convkit.compat.onnx.errors import OnnxError, OnnxUnsupportedError
from convkit.compat.onnx.fusion import Fusion
from convkit.compat.onnx.operation import Operation
from convkit.errors import ConvError

OPERATIONS: dict[str, type[Operation]] = {
    operation.__name__: operation
    for operation in (
        convolutions.Conv,
        convolutions.ConvTranspose,
        integers.ConvInteger,
        integers.QLinearConv,
        pooling.MaxPool,
        pooling.AveragePool,
        pooling.LpPool,
        pooling.GlobalAveragePool,
        pooling.GlobalMaxPool,
        elementwise.Relu,
        elementwise.LeakyRelu,
        elementwise.Clip,
        elementwise.Sigmoid,
        elementwise.HardSigmoid,
        elementwise.HardSwish,
        elementwise.Tanh,
        elementwise.Add,
        elementwise.Sub,
        elementwise.Mul,
        elementwise.Softmax,
        elementwise.BatchNormalization,
    )
}
"""What is computed here, by ONNX's names; everything else is left to ONNX's reference implementation."""


class Evaluator(ReferenceEvaluator):
    """A graph, a function or a subgraph with its nodes ready to run."""

    def _init(self) -> None:
        super()._init()
        for value in self.rt_inits_.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        outputs = self._ends
        fixed = self.rt_inits_.keys() - set(self.input_names)
        reads = [list(_read(node)) for node in self.rt_nodes_]
        self.rt_nodes_ = Fusion(self.rt_nodes_, self.rt_inits_, fixed, outputs, reads).joined()
        needed = {name for node in self.rt_nodes_ for name in _read(node)} | outputs
        for name in fixed - needed:
            del self.rt_inits_[name]
        self._forgotten = _last_uses(self.rt_nodes_, outputs | set(self.rt_inits_))
        self._reusable = _reusable(self.rt_nodes_, outputs)

    @property
    def _ends(self) -> set[str]:
        """What is handed out; a graph's outputs, like a function's, are names here."""
        return {str(name) for name in self.output_names}

    def _load_impl(self, node: NodeProto, input_types: Any = None) -> Any:
        known = OPERATIONS.get(node.op_type) if node.domain == "" else None
        version = self.opsets.get(node.domain)
        if known is not None and version is not None and known.takes(node, version):
            return known
        try:
            return super()._load_impl(node, input_types)
        except (NotImplementedError, RuntimeError) as reason:
            if type(reason).__name__ == "RuntimeContextError":  # to be asked again with the inputs' types
                raise
            raise OnnxUnsupportedError(
                "unsupported-operator", operator=node.op_type, domain=node.domain or "ai.onnx", version=version or "-",
                node=node.name or next(iter(node.output), ""),
            ) from reason  # fmt: skip

    def run(
        self,
        output_names: Any,
        feed_inputs: dict[str, Any],
        attributes: dict[str, Any] | None = None,
        intermediate: bool = False,
        **options: Any,
    ) -> Any:
        """The outputs named, or all; with ``intermediate`` every value, as the reference implementation gives them."""
        if intermediate:
            return super().run(output_names, feed_inputs, attributes, intermediate, **options)
        values: dict[str, Any] = {"": None, **self.rt_inits_, **feed_inputs}
        for place, node in enumerate(self.rt_nodes_):
            inputs = [values[name] for name in node.input]
            linked = attributes if node.has_linked_attribute and attributes else None
            try:
                outputs = _outputs(node, inputs, linked, values, place in self._reusable)
            except ConvError as error:
                error.add_note(say("compat.onnx.in-node", operator=node.op_type, node=_label(node)))
                raise
            except Exception as cause:
                raise OnnxError("node-failed", operator=node.op_type, node=_label(node), cause=_root(cause)) from cause
            values.update(zip(node.output, outputs, strict=False))
            values[""] = None
            del inputs, outputs
            for name in self._forgotten[place]:
                values.pop(name, None)
        return [values[str(name)] for name in output_names or self.output_names]


def _outputs(node: OpRun, inputs: list[Any], linked: Any, values: dict[str, Any], reuse: bool) -> tuple[Any, ...]:
    if isinstance(node, Operation):
        first = inputs[0]
        into = {"out": first} if reuse and isinstance(first, np.ndarray) and first.flags.writeable else {}
        return node.compute(inputs, linked, **into)
    extra = {"linked_attributes": linked} if linked is not None else {}
    if node.need_context():
        extra["context"] = dict(values)
    return node.run(*inputs, **extra)


def _label(node: OpRun) -> str:
    return node.onnx_node.name or next(iter(node.output), "")


def _root(cause: BaseException) -> str:
    """The first line of what was wrong in the first place."""
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return f"{type(cause).__name__}: {str(cause).strip()}".split("\n")[0]


def _last_uses(nodes: list[OpRun], kept: set[str]) -> list[list[str]]:
    """For each node the values that nobody needs after it."""
    last: dict[str, int] = {}
    for place, node in enumerate(nodes):
        for name in (*_read(node), *node.output):
            last[name] = place
    forgotten: list[list[str]] = [[] for _ in nodes]
    for name, place in last.items():
        if name and name not in kept:
            forgotten[place].append(name)
    return forgotten


def _reusable(nodes: list[OpRun], kept: set[str]) -> set[int]:
    """The nodes that may write into their first input: it is new memory, and they are the only ones who read it."""
    readers: dict[str, list[int]] = {}
    for place, node in enumerate(nodes):
        for name in _read(node):
            readers.setdefault(name, []).append(place)
    fresh = {name for node in nodes if isinstance(node, Operation) for name in node.output}
    return {
        place
        for place, node in enumerate(nodes)
        if isinstance(node, Operation) and node.in_place and node.input[0] in fresh - kept
        and readers[node.input[0]] == [place]
    }  # fmt: skip


def _read(node: OpRun) -> Iterator[str]:
    """The names a node reads, those that its subgraphs take from around them included."""
    yield from node.input
    for attribute in node.onnx_node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from _read_inside(attribute.g)


def _read_inside(graph: GraphProto) -> Iterator[str]:
    yield from (output.name for output in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _read_inside(attribute.g)
