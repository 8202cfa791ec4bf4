"""One node of a model: what all operators computed here have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from onnx import NodeProto
from onnx.reference.op_run import OpRun, RefAttrName

from convkit.compat.onnx.errors import OnnxError

Array = np.ndarray
Results = tuple[Array, ...]


class Operation(OpRun):
    """A node that convkit or plain NumPy computes, beside those of ONNX's reference implementation.

    Attributes
    ----------
    in_place : bool
        Whether the first input may be overwritten with the result: ``_run`` then takes ``out=``.
    """

    in_place: ClassVar[bool] = False

    @classmethod
    def takes(cls, node: NodeProto, version: int) -> bool:
        """Whether this class computes the node as operator set ``version`` means it."""
        return True

    @property
    def version(self) -> int:
        """The operator set that the node is read by."""
        return self.run_params["opsets"][self.onnx_node.domain]

    @property
    def label(self) -> str:
        """What the node is called: its name, or that of its first output."""
        return self.onnx_node.name or next(iter(self.onnx_node.output), "")

    @cached_property
    def _fixed(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.attributes_names_}

    def run(self, *args: Any, linked_attributes: Any = None, context: Any = None, bindings: Any = None) -> Results:
        """The node's outputs; attributes of a function's node are filled in from the call."""
        return self.compute(args, linked_attributes)

    def compute(self, inputs: Sequence[Any], linked: Mapping[str, Any] | None = None, **into: Array) -> Results:
        """The node's outputs, into ``out=`` where that is given and fits."""
        attributes = self._fixed
        if self.has_linked_attribute:
            attributes = {
                name: (linked or {})[value.name] if isinstance(value, RefAttrName) else value
                for name, value in attributes.items()
            }
        return tuple(map(np.asarray, self._run(*inputs, **attributes, **into)))

    def wrong(self, name: str, /, **facts: object) -> OnnxError:
        """The error ``onnx.<name>`` that says which node it is."""
        return OnnxError(name, node=self.label, operator=self.onnx_node.op_type, **facts)


class Kept:
    """What was last made of an initialiser: it never changes, so it is made once for a model.

    Arrays that may be written to are worked out every time.
    """

    __slots__ = ("_made", "_of")

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()
        self._made: Any = None

    def of(self, make: Any, *sources: Array | None) -> Any:
        """``make(*sources)``, or what it gave before."""
        if any(source is not None and source.flags.writeable for source in sources):
            return make(*sources)
        if len(self._of) != len(sources) or any(a is not b for a, b in zip(self._of, sources)):
            self._made, self._of = make(*sources), sources
        return self._made


def wide(array: Array) -> Array:
    """bfloat16, which NumPy does not compute with, as float32; everything else as it is."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
