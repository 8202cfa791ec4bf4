"""Whole ONNX models, built by hand and exported by torch, against ONNX Runtime."""

from __future__ import annotations

import io
import re
import tracemalloc
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import convkit as ck
from convkit.compat import onnx as backend
from convkit.compat.onnx import OnnxError, OnnxUnsupportedError

Array = np.ndarray


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def model_of(
    nodes: list[onnx.NodeProto], inputs: dict[str, Array], outputs: dict[str, int],
    weights: dict[str, Array] | None = None, opset: int = 17, ranks: dict[str, int] | None = None,
) -> onnx.ModelProto:  # fmt: skip
    """A model whose outputs have as many axes as its first input, but for those in ``ranks``."""
    rank = next(iter(inputs.values())).ndim
    taken = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    given = [
        helper.make_tensor_value_info(name, kind, [None] * (ranks or {}).get(name, rank))
        for name, kind in outputs.items()
    ]
    held = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "graph", taken, given, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def numbers(*shape: int, seed: int = 0, dtype: str = "f4") -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def agrees(model: onnx.ModelProto, inputs: dict[str, Array], exact: bool = False) -> None:
    theirs = session(model).run(None, inputs)
    prepared = backend.prepare(model)
    for _ in range(2):  # what is kept from the first run serves the second
        ours = prepared.run(inputs)
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
            if exact or mine.dtype.kind in "iub":
                np.testing.assert_array_equal(mine, other)
            else:
                np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-5 * max(1.0, float(np.abs(other).max())))


WINDOWS = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 3)),
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "pads": st.tuples(*[st.integers(0, 2)] * 4),
        "auto_pad": st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
    }
)


def attributes(windows: dict[str, Any], least: int = 0) -> dict[str, Any]:
    """Pads only where auto_pad leaves them, and fewer than the window where ``least`` says so."""
    if least and windows["auto_pad"].startswith("SAME"):
        # Where strides are longer than windows nothing is padded; ONNX Runtime then pads less than nothing, or falls
        # short of the N * stride outputs that the standard asks of a transposed convolution.
        windows["strides"] = tuple(map(min, windows["strides"], windows["kernel"]))
    chosen = {"kernel_shape": windows["kernel"], "strides": windows["strides"], "auto_pad": windows["auto_pad"]}
    if windows["auto_pad"] == "NOTSET":
        pads = windows["pads"]
        if least:
            pads = [min(pad, size - 1) for pad, size in zip(pads, windows["kernel"] * 2, strict=True)]
        chosen["pads"] = pads
    return chosen


@settings(deadline=None, max_examples=60)
@given(WINDOWS, st.integers(1, 2), st.tuples(st.integers(1, 2), st.integers(1, 2)), st.booleans())
def test_conv(windows: dict[str, Any], groups: int, dilations: tuple[int, int], biased: bool) -> None:
    if windows["auto_pad"].startswith("SAME"):
        dilations = (1, 1)
    x, w, b = numbers(2, 4, 9, 8), numbers(6, 4 // groups, *windows["kernel"], seed=1), numbers(6, seed=2)
    node = helper.make_node(
        "Conv", ["x", "w", "b"][: 2 + biased], ["y"], group=groups, dilations=dilations, **attributes(windows)
    )
    agrees(model_of([node], {"x": x}, {"y": TensorProto.FLOAT}, {"w": w, "b": b}), {"x": x})


@settings(deadline=None, max_examples=60)
@given(WINDOWS, st.integers(1, 2), st.integers(0, 1), st.booleans())
def test_conv_transpose(windows: dict[str, Any], groups: int, extra: int, wished: bool) -> None:
    x, w = numbers(2, 4, 5, 6), numbers(4, 3, *windows["kernel"], seed=1)
    options = attributes(windows, least=1)
    space = [(n - 1) * s + k for n, s, k in zip((5, 6), windows["strides"], windows["kernel"], strict=True)]
    if options["auto_pad"] == "NOTSET":
        if wished:
            del options["pads"]
            options["output_shape"] = [max(1, n - 1) for n in space]
        elif min(windows["strides"]) > 1:
            options["output_padding"] = (extra, 1)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=groups, **options)
    agrees(model_of([node], {"x": x}, {"y": TensorProto.FLOAT}, {"w": w}), {"x": x})


@settings(deadline=None, max_examples=80)
@given(WINDOWS, st.sampled_from(["MaxPool", "AveragePool", "LpPool"]), st.booleans(), st.integers(0, 1), st.booleans())
def test_pooling(windows: dict[str, Any], operator: str, ceil: bool, last: int, dilated: bool) -> None:
    options = attributes(windows, least=1)
    outputs = {"y": TensorProto.FLOAT}
    # ONNX Runtime rounds up LpPool's windows differently from what the standard says, so it is left at rounding down.
    if operator != "LpPool" and windows["auto_pad"] == "NOTSET":
        options["ceil_mode"] = int(ceil)
    if operator == "MaxPool":
        options["storage_order"] = last
        outputs["places"] = TensorProto.INT64
        if dilated and windows["auto_pad"] == "NOTSET":
            options["dilations"] = (2, 1)
    elif operator == "AveragePool":
        options["count_include_pad"] = last
    else:
        options["p"] = 2 + last
    x = numbers(2, 3, 9, 8)
    node = helper.make_node(operator, ["x"], list(outputs), **options)
    agrees(model_of([node], {"x": x}, outputs, opset=19 if operator == "AveragePool" else 18), {"x": x})


@settings(deadline=None, max_examples=40)
@given(WINDOWS, st.sampled_from(["uint8", "int8"]), st.integers(1, 2), st.booleans())
def test_integer_convolutions_are_exact(windows: dict[str, Any], dtype: str, groups: int, channelwise: bool) -> None:
    rng = np.random.default_rng(windows["strides"][0])
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max + 1, (2, 4, 9, 8)).astype(dtype)
    w = rng.integers(-128, 128, (6, 4 // groups, *windows["kernel"])).astype("int8")
    zero = np.array(7, dtype)
    weights = {"w": w, "xz": zero, "wz": np.array(0, "i1")}
    shapes = {"group": groups, **attributes(windows)}
    sums = helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], **shapes)
    agrees(model_of([sums], {"x": x}, {"y": TensorProto.INT32}, weights), {"x": x})
    weights |= {
        "wz": np.zeros(6, "i1") if channelwise else np.array(0, "i1"),
        "xs": np.array(0.03, "f4"),
        "ws": rng.uniform(0.001, 0.02, 6).astype("f4") if channelwise else np.array(0.01, "f4"),
        "ys": np.array(0.21, "f4"),
        "yz": np.array(3, dtype),
        "b": rng.integers(-9999, 9999, 6).astype("i4"),
    }
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    scaled = helper.make_node("QLinearConv", names, ["y"], **shapes)
    kind = TensorProto.UINT8 if dtype == "uint8" else TensorProto.INT8
    model = model_of([scaled], {"x": x}, {"y": kind}, weights)
    ours, theirs = backend.run_model(model, [x])[0], session(model).run(None, {"x": x})[0]
    # Half a unit may be rounded either way: ONNX Runtime's own kernels differ from machine to machine.
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert np.mean(ours != theirs) < 0.01


def test_zero_points_of_each_channel() -> None:
    rng = np.random.default_rng(4)
    x, w = rng.integers(0, 256, (1, 2, 7, 6)).astype("u1"), rng.integers(0, 256, (3, 2, 3, 2)).astype("u1")
    zeros = np.array([4, 250, 130], "u1")
    node = helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], pads=[1, 0, 2, 1])
    found = backend.run_node(node, [x, w, np.array(9, "u1"), zeros])[0]
    centred = np.pad(x.astype(int) - 9, ((0, 0), (0, 0), (1, 2), (0, 1)))
    expected = ck.conv(centred, w.astype(int) - zeros[:, None, None, None])
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


def test_sums_beyond_32_bits_wrap() -> None:
    x, w = np.full((1, 40_000, 1), 255, "u1"), np.full((1, 40_000, 1), 255, "u1")
    found = backend.run_node(helper.make_node("ConvInteger", ["x", "w"], ["y"]), [x, w])[0]
    assert found.item() == (40_000 * 255 * 255 + 2**31) % 2**32 - 2**31


class Block(torch.nn.Module):
    """Depthwise, squeeze and excitation, a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = torch.nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)
        self.squeeze = torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Conv2d(8, 4, 1), torch.nn.ReLU(), torch.nn.Conv2d(4, 8, 1),
            torch.nn.Hardsigmoid(),
        )  # fmt: skip
        self.project = torch.nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.hardswish(self.norm(self.depthwise(x)))
        return x + self.project(y * self.squeeze(y))


class Hourglass(torch.nn.Module):
    """Down and up again, with a skip: transposed convolution, concatenation, resizing."""

    def __init__(self) -> None:
        super().__init__()
        self.into = torch.nn.Conv2d(3, 6, 3, padding=1)
        self.down = torch.nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.up = torch.nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.out = torch.nn.Conv2d(12, 4, 3, padding=1, padding_mode="reflect")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = torch.nn.functional.leaky_relu(self.into(x), 0.2)
        b = torch.nn.functional.silu(self.up(torch.sigmoid(self.down(a))))
        y = torch.clamp(self.out(torch.cat([a, b], dim=1)), -1.0, 2.0)
        return torch.nn.functional.interpolate(torch.tanh(y), scale_factor=2, mode="nearest").softmax(dim=1)


def classifier() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, stride=2, padding=2), torch.nn.BatchNorm2d(8), torch.nn.ReLU6(),
        torch.nn.MaxPool2d(3, 2, 1, ceil_mode=True), Block(), torch.nn.AvgPool2d(2, 2, ceil_mode=True),
        torch.nn.Dropout(), torch.nn.Flatten(), torch.nn.LazyLinear(10), torch.nn.LogSoftmax(1),
    )  # fmt: skip


def signals() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv1d(3, 4, 5, padding=4, dilation=2), torch.nn.Tanh(), torch.nn.MaxPool1d(2, dilation=2),
        torch.nn.ConvTranspose1d(4, 6, 4, stride=3, padding=1, output_padding=2, groups=2), torch.nn.GELU(),
        torch.nn.AdaptiveMaxPool1d(1),
    )  # fmt: skip


def volumes() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv3d(3, 4, (3, 1, 2), stride=(1, 2, 1)), torch.nn.ReLU(), torch.nn.AvgPool3d(2),
        torch.nn.ConvTranspose3d(4, 2, 2, stride=2),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (classifier, (2, 3, 33, 30)),
        (Hourglass, (2, 3, 16, 12)),
        (signals, (2, 3, 40)),
        (volumes, (2, 3, 9, 8, 7)),
    ],
)
def test_models_exported_by_torch(make: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = make().eval()
    x = torch.randn(shape)
    with torch.no_grad():
        expected = module(x)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
            torch.nn.init.normal_(part.running_mean)
    with torch.no_grad():
        expected = module(x)
    model = exported(module, x)
    agrees(model, {"x": x.numpy()})
    np.testing.assert_allclose(backend.prepare(model).run(x.numpy())[0], expected, rtol=1e-4, atol=1e-5)


def exported(module: torch.nn.Module, x: torch.Tensor) -> onnx.ModelProto:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the older one
        torch.onnx.export(
            module, (x,), file, dynamo=False, input_names=["x"], training=torch.onnx.TrainingMode.PRESERVE
        )
    return onnx.load_from_string(file.getvalue())


def test_values_are_forgotten_and_memory_is_used_again() -> None:
    x, w = numbers(1, 4, 256, 256), numbers(4, 4, 1, 1, seed=1)
    nodes, value = [], "x"
    for i in range(12):
        nodes += [
            helper.make_node("Conv", [value, "w"], [f"c{i}"]),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"]),
            helper.make_node("Mul", [f"r{i}", "half"], [f"m{i}"]),
        ]
        value = f"m{i}"
    model = model_of(nodes, {"x": x}, {value: TensorProto.FLOAT}, {"w": w, "half": np.array(0.5, "f4")})
    prepared = backend.prepare(model)
    expected = x
    for _ in range(12):
        expected = np.maximum(ck.conv(expected, w), 0) * np.float32(0.5)
    np.testing.assert_array_equal(prepared.run([x])[0], expected)
    tracemalloc.start()
    prepared.run([x])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * x.nbytes


def test_what_is_read_twice_or_given_or_handed_out_is_not_overwritten() -> None:
    x = numbers(1, 2, 4, 4)
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),  # a is an output
        helper.make_node("Add", ["b", "b"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["d"]),  # shares c's memory
        helper.make_node("Sigmoid", ["c"], ["e"]),
        helper.make_node("Relu", ["d"], ["f"]),
        helper.make_node("Add", ["scale", "e"], ["g"]),  # an initialiser; the result is larger
    ]
    outputs = dict.fromkeys("adefg", TensorProto.FLOAT)
    weights = {"shape": np.array([2, 16]), "scale": numbers(1, 2, 1, 1, seed=3)}
    before = x.copy()
    agrees(model_of(nodes, {"x": x}, outputs, weights, ranks={"d": 2, "f": 2}), {"x": x})
    np.testing.assert_array_equal(x, before)


def _normal(name: str, value: str, result: str) -> tuple[onnx.NodeProto, dict[str, Array]]:
    numbers_ = {letter: numbers(6, seed=seed) for seed, letter in enumerate("sbmv")}
    numbers_["v"] = np.abs(numbers_["v"]) + 0.5
    weights = {f"{name}{letter}": value for letter, value in numbers_.items()}
    return helper.make_node("BatchNormalization", [value, *weights], [result], epsilon=1e-3), weights


def test_convolutions_take_in_what_follows_them() -> None:
    one, weights_one = _normal("one", "a", "an")
    two, weights_two = _normal("two", "b", "bn")
    nodes = [
        helper.make_node("Conv", ["x", "w", "bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "v"], ["b"]),
        one,
        two,
        helper.make_node("Add", ["bn", "an"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["r"]),
        helper.make_node("ConvTranspose", ["r", "u"], ["t"], group=2, strides=[2, 1]),
        helper.make_node("Clip", ["t", "zero", "six"], ["c"]),
        helper.make_node("Conv", ["c", "k"], ["d"]),
        helper.make_node("Sigmoid", ["d"], ["gate"]),
        helper.make_node("Mul", ["gate", "d"], ["e"]),
        helper.make_node("Conv", ["e", "k4"], ["f"]),
        helper.make_node("HardSigmoid", ["f"], ["g"], alpha=1 / 6, beta=0.5),
        helper.make_node("Mul", ["f", "g"], ["h"]),
        helper.make_node("Conv", ["h", "k4"], ["i"], pads=[0, 1, 0, 1]),
        helper.make_node("Add", ["column", "i"], ["j"]),  # broadcast into the layer
        helper.make_node("Tanh", ["j"], ["k1"]),
        helper.make_node("GlobalAveragePool", ["k1"], ["m"]),
        helper.make_node("Conv", ["m", "k4"], ["n"]),
        helper.make_node("Add", ["n", "h"], ["o"]),  # the layer is broadcast
        helper.make_node("Relu", ["o"], ["p"]),
    ]
    weights = weights_one | weights_two | {
        "w": numbers(6, 3, 3, 3), "bias": numbers(6, seed=9), "v": numbers(6, 3, 1, 1, seed=1),
        "u": numbers(6, 2, 2, 3, seed=2), "zero": np.array(0, "f4"), "six": np.array(6, "f4"),
        "k": numbers(4, 4, 2, 1, seed=3), "k4": numbers(4, 4, 1, 1, seed=4), "column": numbers(1, 4, 1, 1, seed=5),
    }  # fmt: skip
    x = numbers(2, 3, 6, 5)
    model = model_of(nodes, {"x": x}, {"p": TensorProto.FLOAT}, weights)
    agrees(model, {"x": x})
    left = [type(node).__name__ for node in backend.prepare(model)._evaluator.rt_nodes_]
    assert left == ["Conv", "Conv", "ConvTranspose", "Conv", "Conv", "Conv", "GlobalAveragePool", "Conv"]


def test_what_others_read_is_not_taken_in() -> None:
    weights = {"w": numbers(2, 3, 1, 1), "low": np.array(-1, "f4"), "high": np.array(6, "f4")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),  # handed out
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["x", "w"], ["c"]),  # read twice, but no gate
        helper.make_node("Sigmoid", ["c"], ["d"]),
        helper.make_node("Sub", ["c", "d"], ["e"]),
        helper.make_node("Conv", ["x", "w"], ["f"]),
        helper.make_node("Clip", ["f", "low", "high"], ["g"]),  # no activation of the verbs
    ]
    x = numbers(1, 3, 5, 4)
    model = model_of(nodes, {"x": x}, dict.fromkeys("abeg", TensorProto.FLOAT), weights)
    agrees(model, {"x": x})
    assert len(backend.prepare(model)._evaluator.rt_nodes_) == len(nodes)


def test_convolutions_inside_functions_and_branches() -> None:
    w = numbers(2, 2, 3, seed=1)
    body = [
        helper.make_node("Conv", ["v", "k"], ["s"], pads=[1, 1]),
        helper.make_node("LeakyRelu", ["s"], ["t"]),
    ]
    body[1].attribute.append(
        onnx.AttributeProto(name="alpha", ref_attr_name="steepness", type=onnx.AttributeProto.FLOAT)
    )
    function = helper.make_function(
        "own", "Bent", ["v", "k"], ["t"], body, [helper.make_opsetid("", 17)], ["steepness"]
    )
    branch = [
        helper.make_graph(
            [helper.make_node("Bent", ["x", "w"], ["o"], domain="own", steepness=0.5)] if name == "then" else
            [helper.make_node("Conv", ["x", "w"], ["o"], pads=[0, 2])],
            name, [], [helper.make_tensor_value_info("o", TensorProto.FLOAT, [None] * 3)],
        )
        for name in ("then", "else")
    ]  # fmt: skip
    node = helper.make_node("If", ["which"], ["y"], then_branch=branch[0], else_branch=branch[1])
    x = numbers(1, 2, 9)
    model = model_of([node], {"x": x, "which": np.array(True)}, {"y": TensorProto.FLOAT}, {"w": w})
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    for which in (True, False):
        agrees(model, {"x": x, "which": np.array(which)})


def one_node(operator: str, x: Array, w: Array | None = None, **options: Any) -> Any:
    names = ["x"] if w is None else ["x", "w"]
    return backend.run_node(helper.make_node(operator, names, ["y"], name="here", **options), [x, w][: len(names)])


def _model() -> onnx.ModelProto:
    node = helper.make_node("Add", ["x", "w"], ["y"], name="here")
    return model_of([node], {"x": numbers(2, 3)}, {"y": TensorProto.FLOAT}, {"w": numbers(3)})


def _unknown() -> None:
    model = _model()
    model.graph.node[0].op_type = "Fold"
    model.graph.node[0].domain = "own"
    model.opset_import.append(helper.make_opsetid("own", 2))
    assert not backend.is_compatible(model)
    backend.prepare(model)


def _invalid() -> None:
    model = _model()
    model.graph.node[0].input[1] = "nothing"
    backend.prepare(model)


BYTES = np.ones((1, 2, 5), "u1")
WORDS = [
    ("onnx.auto-pad", lambda: one_node("MaxPool", numbers(1, 1, 5), kernel_shape=[2], auto_pad="SAME"), ["SAME_UPPER"]),
    ("onnx.count", lambda: one_node("MaxPool", numbers(1, 1, 5), kernel_shape=[2, 2]), ["2x2", "2 == 1"]),
    ("onnx.rank", lambda: one_node("Conv", numbers(1, 1, 5), numbers(1, 1, 2, 2)), ["1x1x5", "1x1x2x2"]),
    (
        "onnx.kernel-shape",
        lambda: one_node("Conv", numbers(1, 1, 5), numbers(1, 1, 3), kernel_shape=[2]),
        ["here", "3"],
    ),
    (
        "onnx.zero-point",
        lambda: backend.run_node(
            helper.make_node("ConvInteger", ["x", "w", "z"], ["y"]), [BYTES, BYTES, np.array([1, 2], "u1")]
        ),
        ["x_zero_point", "shape 2"],
    ),
    (
        "onnx.scale",
        lambda: backend.run_node(
            helper.make_node("QLinearConv", [*"xabwcdef"], ["y"]),
            [BYTES, np.float32(1), np.uint8(0), BYTES, np.ones(3, "f4"), np.uint8(0), np.float32(1), np.uint8(0)],
        ),
        ["shape 3", "1 output channels"],
    ),
    ("onnx.unsupported-operator", _unknown, ["own.Fold", "operator set 2", "here"]),
    ("onnx.device", lambda: backend.prepare(_model(), "CUDA:0"), ["CUDA:0", 'device="CPU"']),
    ("onnx.invalid-model", _invalid, ["nothing"]),
    ("onnx.inputs", lambda: backend.prepare(_model()).run([]), ["1 of them: x"]),
    ("onnx.inputs", lambda: backend.prepare(_model()).run({"z": numbers(2, 3)}), ["z", "x"]),
    ("onnx.inputs", lambda: backend.run_node(helper.make_node("Add", ["x", "w"], ["y"]), [numbers(2)]), ["x, w"]),
    ("onnx.input-type", lambda: backend.prepare(_model()).run(numbers(2, 3, dtype="f8")), ["float64", "float32"]),
    ("onnx.input-shape", lambda: backend.prepare(_model()).run(numbers(3, 2)), ["3x2", "2x3"]),
    ("onnx.node-failed", lambda: one_node("Add", numbers(3), numbers(2)), ["Add", "(3,) (2,)"]),
]


@pytest.mark.parametrize(("code", "call", "said"), WORDS, ids=[code for code, _, _ in WORDS])
def test_the_words(code: str, call: Any, said: list[str]) -> None:
    with pytest.raises(OnnxError) as caught:
        call()
    assert caught.value.code == code
    assert isinstance(caught.value, OnnxUnsupportedError) == (code in ("onnx.unsupported-operator", "onnx.device"))
    for name in ("en", "zh"):
        text = caught.value.text(name)
        assert len(text.splitlines()) == 3
        assert not re.search(r"{\w", text) or code == "onnx.inputs"
    for word in said:
        assert word in caught.value.text("en")


def test_an_error_of_a_verb_says_which_node_it_was() -> None:
    with pytest.raises(ck.ConvError) as caught:
        one_node("Conv", numbers(1, 2, 5), numbers(1, 3, 2))
    assert caught.value.code == "shape.channels"
    assert "here (Conv)" in caught.value.__notes__[0]


def test_inputs_and_outputs_by_name() -> None:
    model = _model()
    prepared = backend.prepare(model)
    assert (prepared.inputs, prepared.outputs) == (("x",), ("y",))
    x = numbers(2, 3)
    result = prepared.run({"x": x})
    np.testing.assert_array_equal(result["y"], result[0])
    listed = _model()
    listed.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    np.testing.assert_array_equal(backend.prepare(listed).run(x).y, result.y)
    np.testing.assert_array_equal(backend.prepare(listed).run([x, np.zeros(3, "f4")]).y, x)
