"""OpenVINO: layers as models of one node, compiled for latency in float32."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.ways.one_node import model_of
from convkit.cli.bench.ways.way import Way


def ways(problem: Problem) -> Iterator[Way]:
    """The output of float32 layers with one to three axes; it knows no gradients."""
    if problem.kind == "layer" and problem.direction == "forward" and problem.dtype == "float32":
        yield compiled(model_of(problem).SerializeToString(), problem.arrays()[0])


def compiled(model: bytes, x: np.ndarray) -> Way:
    """A float32 model with one input ready to run; it would take bfloat16 for its sums where the processor has it."""
    import openvino

    from convkit.threads import num_threads

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = _core().compile_model(_core().read_model(model), "CPU", settings).create_infer_request()
    request.set_input_tensor(0, openvino.Tensor(x, shared_memory=True))

    def read(_: Any) -> tuple[np.ndarray, ...]:
        return tuple(np.array(tensor.data) for tensor in request.output_tensors)

    return Way("", request.infer, read)


@cache
def _core() -> Any:
    import openvino

    return openvino.Core()
