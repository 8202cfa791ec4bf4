"""Exported networks compute what the network computes, for any number of pictures."""

from __future__ import annotations

import importlib.util

import numpy as np
import onnxruntime
import pytest
import torch

from convkit import nn
from convkit.errors import MissingExtraError, OptionError
from convkit.nn import zoo

SMALL = {
    "perceptron": (5, 4), "mlp": (5, 4), "lenet5": (13, 16), "small_cnn": (9, 12), "alexnet": (63, 70),
    "mobilenet_v2": (17, 20), "unet": (11, 14),
}  # fmt: skip
LARGE = ("vgg16", "resnet18", "resnet50", "fcn")


def scores(network, pictures):
    with torch.no_grad():
        return network(pictures)


@pytest.mark.parametrize("name", SMALL)
def test_a_program_computes_the_same(name):
    rows, columns = SMALL[name]
    network = zoo.build(name, channels=2, classes=3, size=(rows, columns), seed=4)
    pictures = torch.randn(5, 2, rows, columns, generator=torch.Generator().manual_seed(1))
    got = scores(zoo.exported(network).module(), pictures)
    assert network.training  # the network itself is left as it was
    expected = scores(network.eval(), pictures)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", LARGE)
def test_large_networks_can_be_exported(name):
    with torch.device("meta"):
        network = zoo.build(name, size=64)
    program = zoo.exported(network)
    kinds = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert any("conv" in kind for kind in kinds)
    assert not any("convkit" in kind for kind in kinds)


@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v2", "unet"])
def test_an_onnx_file_computes_the_same(name, tmp_path):
    rows, columns = SMALL[name]
    network = zoo.build(name, channels=2, classes=3, size=(rows, columns), seed=4).eval()
    path = tmp_path / "network.onnx"
    zoo.write_onnx(network, path)
    assert [file.name for file in tmp_path.iterdir()] == ["network.onnx"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pictures = torch.randn(3, 2, rows, columns, generator=torch.Generator().manual_seed(1))
    [got] = session.run(["scores"], {"pictures": pictures.numpy()})
    expected = scores(network, pictures).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_any_network_with_an_example(tmp_path):
    network = torch.nn.Sequential(nn.Conv2d(2, 3, 3), torch.nn.ReLU())
    with pytest.raises(OptionError) as caught:
        zoo.exported(network)
    assert caught.value.code == "option.example-needed"
    pictures = torch.randn(4, 2, 6, 7)
    torch.testing.assert_close(
        scores(zoo.exported(network, pictures[:2]).module(), pictures), scores(network, pictures)
    )


def test_a_plain_copy_shares_nothing():
    network = zoo.build("lenet5", seed=0)
    twin = zoo.plain_torch(network)
    assert type(twin.c1) is torch.nn.Conv2d
    assert type(network.c1) is nn.Conv2d
    with torch.no_grad():
        twin.c1.weight.zero_()
    assert network.c1.weight.any()


def test_without_onnxscript_the_extra_is_named(tmp_path, monkeypatch):
    from convkit.nn.zoo import exporting

    monkeypatch.setattr(
        exporting, "find_spec", lambda name: None if name == "onnxscript" else importlib.util.find_spec(name)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'convkit\[onnx\]'") as caught:
        zoo.write_onnx(zoo.build("lenet5"), tmp_path / "x.onnx")
    assert caught.value.code == "missing.onnx"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "value"),
    [("operation", "convolution"), ("boundary", "reflect"), ("activation", "relu"), ("padding", ((0, 1), (1, 1)))],
)
def test_what_torchs_layers_lack_is_not_dropped(option, value):
    network = zoo.build("lenet5", seed=0)
    setattr(network.c3, option, value)
    with pytest.raises(OptionError) as caught:
        zoo.plain_torch(network)
    assert caught.value.code == "option.not-in-torch"
    assert f"layer c3 has {option}={value!r}" in str(caught.value)


def test_same_with_a_stride_is_not_torchs():
    network = torch.nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"))
    assert type(zoo.plain_torch(network)[0]) is torch.nn.Conv2d
    network[0].stride = (1, 2)
    with pytest.raises(OptionError, match="padding='same'"):
        zoo.plain_torch(network)
