"""Run an ONNX model with convkit: a small network exported by torch, or the file named on the command line.

python examples/onnx_model.py [MODEL.onnx]
"""

from __future__ import annotations

import io
import sys
import warnings

import numpy as np
import onnx

from convkit.compat import onnx as backend


def small_network() -> onnx.ModelProto:
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 16, 3, padding=1), torch.nn.SiLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(16, 10),
    )  # fmt: skip
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter needs no further package
        torch.onnx.export(network.eval(), (torch.zeros(1, 1, 28, 28),), file, dynamo=False, input_names=["pictures"])
    return onnx.load_from_string(file.getvalue())


def main() -> None:
    model = onnx.load(sys.argv[1]) if len(sys.argv) > 1 else small_network()
    prepared = backend.prepare(model)
    rng = np.random.default_rng(0)
    inputs = {}
    for value in model.graph.input:
        if value.name in prepared.inputs:
            shape = [size.dim_value or 1 for size in value.type.tensor_type.shape.dim]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            inputs[value.name] = rng.standard_normal(shape).astype(dtype)
    for name, result in zip(prepared.outputs, prepared.run(inputs), strict=True):
        print(f"{name}: {result.dtype} {result.shape}, from {result.min():.4g} to {result.max():.4g}")


if __name__ == "__main__":
    main()
