"""Joining a convolution with what follows it: batch normalisation, a sum, an activation.

Only where nobody else reads the values in between. The joined node stands where the last of its parts stood, so that
both terms of a sum are there.
"""

from __future__ import annotations

from collections.abc import Collection, MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto
from onnx.reference.op_run import OpRun

from convkit.compat.onnx.convolutions import Conv, ConvTranspose, Layer
from convkit.compat.onnx.elementwise import (
    Add,
    BatchNormalization,
    Clip,
    HardSigmoid,
    HardSwish,
    Mul,
    Relu,
    Sigmoid,
    Tanh,
)
from convkit.compat.onnx.operation import Array

PLAIN: dict[type[OpRun], str] = {Relu: "relu", Sigmoid: "sigmoid", Tanh: "tanh", HardSwish: "hardswish"}
"""Nodes that are one activation of the verbs, whatever their attributes."""

GATED = {"sigmoid": "silu", "hardsigmoid": "hardswish"}
"""What ``x`` times an activation of ``x`` is."""


@dataclass
class _Chain:
    """A convolution, the nodes that it takes in, and what they make of its sums."""

    layer: Layer
    places: list[int]
    value: str
    weights: list[str]
    add: str = ""
    activation: str = ""
    parts: list[BatchNormalization] = field(default_factory=list)


class Fusion:
    """One pass over the nodes of a graph.

    Parameters
    ----------
    nodes : sequence of OpRun
        In the order in which they run.
    constants : mapping
        Initialisers by name; those of the weights that a normalisation is folded into are added to it.
    fixed : collection of str
        Those of them that no input can replace.
    outputs : collection of str
        Values that must be there in the end.
    reads : sequence of sequence of str
        What each node reads.
    """

    def __init__(
        self,
        nodes: Sequence[OpRun],
        constants: MutableMapping[str, Array],
        fixed: Collection[str],
        outputs: Collection[str],
        reads: Sequence[Sequence[str]],
    ) -> None:
        self.nodes, self.constants, self.fixed, self.outputs = nodes, constants, fixed, outputs
        self.taken: set[int] = set()
        self.readers: dict[str, list[int]] = {}
        for place, names in enumerate(reads):
            for name in names:
                self.readers.setdefault(name, []).append(place)

    def joined(self) -> list[OpRun]:
        """The nodes, fewer where convolutions took in what follows them."""
        result: list[OpRun | None] = list(self.nodes)
        for place, node in enumerate(self.nodes):
            if not isinstance(node, Layer) or node.has_linked_attribute:
                continue
            chain = self._chain(place, node)
            if len(chain.places) == 1:
                continue
            self.taken |= set(chain.places)
            for gone in chain.places:
                result[gone] = None
            result[max(chain.places)] = self._layer(chain)
        return [node for node in result if node is not None]

    def _chain(self, place: int, layer: Layer) -> _Chain:
        names = [*layer.input, ""][:3]
        chain = _Chain(layer, [place], layer.output[0], names)
        while self._normalised(chain):
            pass
        if isinstance(layer, Conv):
            self._added(chain)
        self._activated(chain)
        return chain

    def _only(self, name: str, kind: type[OpRun]) -> int | None:
        """The place of the one node that reads a value, if it is of this kind."""
        readers = self.readers.get(name, [])
        if name in self.outputs or len(readers) != 1 or readers[0] in self.taken:
            return None
        return readers[0] if type(self.nodes[readers[0]]) is kind else None

    def _take(self, chain: _Chain, *places: int) -> None:
        chain.places += places
        chain.value = self.nodes[max(places)].output[0]

    def _normalised(self, chain: _Chain) -> bool:
        """Take in a batch normalisation whose numbers, like the weights, are known and of one type."""
        place = self._only(chain.value, BatchNormalization)
        if place is None or self.nodes[place].input[0] != chain.value:
            return False
        names = [name for name in (*chain.weights[1:], *self.nodes[place].input[1:]) if name]
        if not all(name in self.fixed for name in names):
            return False
        kinds = {self.constants[name].dtype for name in names}
        if len(kinds) != 1 or kinds.pop() not in (np.float32, np.float64):
            return False
        part = self.nodes[place]
        assert isinstance(part, BatchNormalization)
        chain.parts.append(part)
        self._take(chain, place)
        return True

    def _added(self, chain: _Chain) -> None:
        place = self._only(chain.value, Add)
        if place is None:
            return
        first, second = self.nodes[place].input
        if first != second:
            chain.add = second if first == chain.value else first
            self._take(chain, place)

    def _activated(self, chain: _Chain) -> None:
        readers = self.readers.get(chain.value, [])
        if chain.value in self.outputs:
            return
        if len(readers) == 1:
            word = self._word(self.nodes[readers[0]])
            if word and self.nodes[readers[0]].input[0] == chain.value:
                chain.activation = word
                self._take(chain, readers[0])
        elif len(readers) == 2:
            gate, product = sorted(readers)
            inner = self.nodes[gate].output[0]
            word = GATED.get(self._word(self.nodes[gate]), "")
            if word and self._only(inner, Mul) == product and {*self.nodes[product].input} == {chain.value, inner}:
                chain.activation = word
                self._take(chain, gate, product)

    def _word(self, node: OpRun) -> str:
        if node.has_linked_attribute:  # a function's own parameter
            return ""
        if isinstance(node, HardSigmoid):
            return "hardsigmoid" if np.isclose(node.alpha, 1 / 6) and node.beta == 0.5 else ""  # type: ignore[attr-defined]
        if isinstance(node, Clip):
            limits = [self.constants.get(name) if name in self.fixed else None for name in node.input[1:3]]
            if len(limits) < 2:
                limits = [getattr(node, "min", None), getattr(node, "max", None)]
            return "relu6" if None not in limits and [float(limit) for limit in limits] == [0.0, 6.0] else ""  # type: ignore[arg-type]
        return PLAIN.get(type(node), "")

    def _layer(self, chain: _Chain) -> Layer:
        """The joined node."""
        layer, names = chain.layer, list(chain.weights)
        for part in chain.parts:
            names = self._folded(layer, names, part)
        last = self.nodes[max(chain.places)]
        proto = NodeProto()
        proto.CopyFrom(layer.onnx_node)
        del proto.input[:], proto.output[:]
        proto.input.extend([*names, chain.add] if chain.add else names)
        proto.output.append(chain.value)
        proto.name = layer.label
        assert last.output[0] == chain.value
        joined = type(layer)(proto, layer.run_params)
        joined.activation = chain.activation or None
        return joined

    def _folded(self, layer: Layer, names: list[str], part: BatchNormalization) -> list[str]:
        """The names of weights and bias with a normalisation in them."""
        w = self.constants[names[1]]
        numbers = [self.constants[name].astype(np.float64) for name in part.input[1:5]]
        scale, bias, mean, variance = numbers
        slope = scale / np.sqrt(variance + float(part.epsilon))  # type: ignore[attr-defined]
        if isinstance(layer, ConvTranspose):  # weights (in, out/groups, ...)
            groups = int(getattr(layer, "group", 1) or 1)
            grouped = w.reshape((groups, w.shape[0] // groups, *w.shape[1:]))
            columns = slope.reshape((groups, 1, w.shape[1], *([1] * (w.ndim - 2))))
            scaled = (grouped * columns).reshape(w.shape)
        else:
            scaled = w * slope.reshape((-1, *([1] * (w.ndim - 1))))
        before = self.constants[names[2]].astype(np.float64) if names[2] else 0.0
        made = {"w": scaled, "b": bias + (before - mean) * slope}
        kept: list[str] = []
        for letter, value in made.items():
            array = np.ascontiguousarray(value, w.dtype)
            array.flags.writeable = False
            name = f"{part.output[0]} {letter}"
            self.constants[name] = array
            kept.append(name)
        return [names[0], *kept]
