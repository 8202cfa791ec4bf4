"""``onnx.backend.base`` for convkit: a model is prepared once and run on NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TypeProto, helper
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

from convkit.compat.onnx.errors import OnnxError, OnnxUnsupportedError
from convkit.compat.onnx.evaluator import Evaluator
from convkit.errors import by


class ConvkitRep(BackendRep):
    """A model that is ready to run.

    Attributes
    ----------
    inputs, outputs : tuple of str
        The names of what is fed and of what comes out. Initialisers that older models list among their inputs may be
        fed by name, but need not be.
    """

    def __init__(self, model: ModelProto) -> None:
        self._evaluator = Evaluator(model)
        given = {initializer.name for initializer in model.graph.initializer}
        self._types = {value.name: value.type for value in model.graph.input}
        self.inputs = tuple(name for name in self._types if name not in given)
        self.outputs = tuple(value.name for value in model.graph.output)
        self._result = namedtupledict("Outputs", self.outputs)

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """The model's outputs.

        Parameters
        ----------
        inputs : mapping, sequence, or array
            Arrays by name, in the order of the model's inputs, or the only one.

        Returns
        -------
        tuple
            One array for each output; they can be taken by name as well.

        Raises
        ------
        OnnxError
            ``onnx.inputs``, ``onnx.input-type``, ``onnx.input-shape``, ``onnx.node-failed``; a convolution that cannot
            be done raises what its verb raises.
        """
        return self._result(*self._evaluator.run(None, self._fed(inputs)))

    def _fed(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            several = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
            names = self._types if len(several) == len(self._types) else self.inputs
            if len(several) != len(names):
                raise OnnxError("inputs", given=len(several), expected=", ".join(self.inputs), count=len(self.inputs))
            feeds = dict(zip(names, several, strict=True))
        if not set(self.inputs) <= set(feeds) <= set(self._types):
            raise OnnxError("inputs", given=", ".join(feeds), expected=", ".join(self.inputs), count=len(self.inputs))
        for name, value in feeds.items():
            feeds[name] = _checked(name, value, self._types[name])
        return feeds


def _checked(name: str, value: Any, declared: TypeProto) -> Any:
    """An input as an array of the type and sizes that the model declares; sequences and optionals as they are."""
    if not declared.HasField("tensor_type") or not declared.tensor_type.elem_type:
        return value
    array = np.asarray(value)
    dtype = helper.tensor_dtype_to_np_dtype(declared.tensor_type.elem_type)
    if array.dtype != dtype and not (dtype.kind == "O" and array.dtype.kind in "OSU"):
        raise OnnxError("input-type", input=name, given=array.dtype.name, expected=dtype.name)
    if declared.tensor_type.HasField("shape"):
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in declared.tensor_type.shape.dim]
        matches = len(sizes) == array.ndim and all(
            size is None or size == there for size, there in zip(sizes, array.shape, strict=True)
        )
        if not matches:
            expected = by([size if size is not None else "N" for size in sizes])
            raise OnnxError("input-shape", input=name, given=by(array.shape), expected=expected)
    return array


class ConvkitBackend(Backend):
    """Runs ONNX models: convolutions and pooling by convkit, everything between them by NumPy."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **_: Any) -> bool:
        """Whether every node of the model is known here."""
        try:
            cls.prepare(model, device)
        except OnnxUnsupportedError:
            return False
        return True

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **_: Any) -> ConvkitRep:
        """Check a model and make its nodes ready; a path is loaded first.

        Parameters
        ----------
        model : ModelProto or path
            The model.
        device : str
            ``"CPU"``.

        Raises
        ------
        OnnxUnsupportedError
            ``onnx.device``, ``onnx.unsupported-operator``.
        OnnxError
            ``onnx.invalid-model``.
        """
        if not cls.supports_device(device):
            raise OnnxUnsupportedError("device", device=device)
        loaded = model if isinstance(model, ModelProto) else onnx.load(model)
        try:
            onnx.checker.check_model(loaded)
        except onnx.checker.ValidationError as reason:
            raise OnnxError("invalid-model", cause=str(reason).strip().split("\n")[0]) from reason
        return ConvkitRep(loaded)

    @classmethod
    def run_model(cls, model: ModelProto, inputs: Any, device: str = "CPU", **options: Any) -> tuple[Any, ...]:
        """Prepare a model and run it once."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **options: Any,
    ) -> tuple[Any, ...]:
        """Run one node on arrays, by name or in order; ``opset_version=`` says how it is to be read."""
        if not cls.supports_device(device):
            raise OnnxUnsupportedError("device", device=device)
        version = int(options.get("opset_version") or onnx.defs.onnx_opset_version())
        several = [inputs] if isinstance(inputs, np.ndarray) else inputs
        names = [name for name in node.input if name]
        feeds = dict(several) if isinstance(several, Mapping) else dict(zip(names, several, strict=False))
        if len(feeds) < len(names):
            raise OnnxError("inputs", given=", ".join(feeds), expected=", ".join(names), count=len(names))
        feeds = {name: np.asarray(value) for name, value in feeds.items()}
        taken = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in feeds.items()
        ]
        given = [helper.make_value_info(name, TypeProto()) for name in node.output if name]
        graph = helper.make_graph([node], "node", taken, given)
        opsets = [helper.make_opsetid(node.domain, version if node.domain == "" else 1)]
        return ConvkitRep(helper.make_model(graph, opset_imports=opsets)).run(feeds)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """``"CPU"`` alone."""
        try:
            return Device(device).type == DeviceType.CPU
        except (AttributeError, ValueError):
            return False


prepare = ConvkitBackend.prepare
run_model = ConvkitBackend.run_model
run_node = ConvkitBackend.run_node
supports_device = ConvkitBackend.supports_device
is_compatible = ConvkitBackend.is_compatible
