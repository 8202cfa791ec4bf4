"""A layer as an ONNX model of one node, its weights inside."""

from __future__ import annotations

from typing import Any

from convkit.cli.bench.problems import Problem


def model_of(problem: Problem) -> Any:
    """The model: input ``x``, output ``y``."""
    from onnx import helper, numpy_helper

    _, k = problem.arrays()
    rank = len(problem.taps)
    element = helper.np_dtype_to_tensor_dtype(k.dtype)
    node = helper.make_node(
        "ConvTranspose" if problem.form == "transposed" else "Conv", ["x", "w"], ["y"],
        strides=[problem.stride] * rank, pads=[problem.padding] * (2 * rank), dilations=[problem.dilation] * rank,
        group=problem.groups,
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "layer", [helper.make_tensor_value_info("x", element, problem.shape)],
        [helper.make_tensor_value_info("y", element, problem.output)], [numpy_helper.from_array(k, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
