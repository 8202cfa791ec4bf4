"""ONNX Runtime: layers as models of one node, input and output bound to memory of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.ways.one_node import model_of
from convkit.cli.bench.ways.way import Way


def ways(problem: Problem) -> Iterator[Way]:
    """The output of float32 layers; it knows no gradients."""
    layer = problem.kind == "layer" and problem.direction == "forward" and problem.dtype == "float32"
    if layer and importlib.util.find_spec("onnx") is not None:
        yield bound(model_of(problem).SerializeToString(), {"x": problem.arrays()[0]}, {"y": problem.output})


def bound(model: bytes, inputs: dict[str, np.ndarray], outputs: dict[str, tuple[int, ...]]) -> Way:
    """A float32 model ready to run: as many threads as everybody has, memory bound once."""
    import onnxruntime as runtime

    from convkit.threads import num_threads

    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads()
    options.log_severity_level = 4
    # Its threads would wait awake for some 40 ms after a run, and take the cores from whoever is timed next. Within a
    # run they still do, and runs are as short as without this.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, runtime.OrtValue.ortvalue_from_numpy(value))
    results = {
        name: runtime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32) for name, shape in outputs.items()
    }
    for name, value in results.items():
        binding.bind_ortvalue_output(name, value)

    def read(_: Any) -> tuple[np.ndarray, ...]:
        return tuple(value.numpy().copy() for value in results.values())

    return Way("", lambda: session.run_with_iobinding(binding), read)
