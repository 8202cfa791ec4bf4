"""Weights come back bit for bit, or not at all."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convkit.errors import FileError, OptionError
from convkit.nn import zoo

SMALL = {
    "perceptron": 4, "mlp": 4, "lenet5": 12, "small_cnn": 8, "resnet18": 8, "resnet50": 8, "mobilenet_v2": 8, "unet": 4,
}  # fmt: skip


@pytest.fixture
def network():
    return zoo.build("lenet5", channels=2, classes=3, size=(14, 12), seed=1)


@pytest.mark.parametrize("name", SMALL)
def test_there_and_back(name, tmp_path):
    network = zoo.build(name, classes=3, size=SMALL[name], seed=2)
    with torch.no_grad():  # no buffer is what it was at the start
        for i, tensor in enumerate(network.state_dict().values()):
            tensor += i + 1
    zoo.save(network, tmp_path / "weights.safetensors")
    again = zoo.load(tmp_path / "weights.safetensors")
    assert zoo.configuration(again) == zoo.configuration(network)
    assert not again.training
    assert list(again.state_dict()) == list(network.state_dict())
    for one, other in zip(again.state_dict().values(), network.state_dict().values(), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert all(weights.requires_grad and weights.device.type == "cpu" for weights in again.parameters())
    x = torch.randn(2, zoo.configuration(network).channels, SMALL[name], SMALL[name])
    with torch.no_grad():
        assert torch.equal(again(x), network.eval()(x))


def test_half_precision_survives(network, tmp_path):
    zoo.save(network.bfloat16(), tmp_path / "w.safetensors")
    assert zoo.load(tmp_path / "w.safetensors").c1.weight.dtype == torch.bfloat16


def test_a_file_is_replaced_whole_or_not_at_all(network, tmp_path, monkeypatch):
    from convkit.nn.zoo import weights

    path = tmp_path / "w.safetensors"
    zoo.save(network, path)
    before = path.read_bytes()

    def full(state, to, metadata):
        to.write_bytes(b"half")
        raise weights.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(FileError, match="No space left on device") as caught:
        zoo.save(network, path)
    assert caught.value.code == "file.unwritable"
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["w.safetensors"]


def test_weights_of_another_model(network, tmp_path):
    path = tmp_path / "w.safetensors"
    zoo.save(network, path)
    other = zoo.build("lenet5", channels=2, classes=4, size=(14, 12), seed=5)
    kept = other.c1.weight.clone()
    with pytest.raises(FileError) as caught:
        zoo.load_weights(other, path)
    assert caught.value.code == "file.another-model"
    assert "holds the weights of lenet5 (2x14x12 -> 3)" in str(caught.value)
    assert "the network is lenet5 (2x14x12 -> 4)" in str(caught.value)
    assert torch.equal(other.c1.weight, kept)
    same = zoo.build("lenet5", channels=2, classes=3, size=(14, 12), seed=5)
    assert torch.equal(zoo.load_weights(same, path).c1.weight, network.c1.weight)


def test_weights_from_elsewhere(network, tmp_path):
    path = tmp_path / "w.safetensors"
    state = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    save_file(state, path)
    with pytest.raises(FileError) as caught:
        zoo.load(path)
    assert caught.value.code == "file.no-configuration"
    assert "zoo.load_weights(network, path)" in str(caught.value)
    zoo.load_weights(network, path)
    assert torch.equal(network.f6.bias, state["f6.bias"])
    state["f6.bias"] = torch.zeros(5)
    state["more"] = torch.zeros(1)
    del state["c1.bias"]
    save_file(state, path)
    kept = network.c1.weight.clone()
    with pytest.raises(FileError) as caught:
        zoo.load_weights(network, path)
    assert caught.value.code == "file.weights-differ"
    assert "3 of its 10 parameters differ" in str(caught.value)
    assert "f6.bias (5,) != (84,), - c1.bias, + more" in str(caught.value)
    assert torch.equal(network.c1.weight, kept)


@pytest.mark.parametrize("damage", ["cut", "header", "byte", "empty", "other"])
def test_damaged_files(network, tmp_path, damage):
    path = tmp_path / "w.safetensors"
    zoo.save(network, path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-100]
    elif damage == "header":
        content = content[:20]
    elif damage == "byte":
        content[-50] ^= 1
    elif damage == "empty":
        content = bytearray()
    else:
        content = bytearray(np.arange(100).tobytes())
    path.write_bytes(content)
    for read in (zoo.load, lambda file: zoo.load_weights(network, file)):
        with pytest.raises(FileError, match="damaged or truncated") as caught:
            read(path)
        assert caught.value.code == "file.broken"


def test_a_configuration_that_makes_no_sense(network, tmp_path):
    path = tmp_path / "w.safetensors"
    state = dict(network.state_dict())
    for words, code in (
        ("{", "file.broken"),
        ('{"name": "lenet5"}', "file.broken"),
        (json.dumps({"name": "lenet6", "channels": 1, "classes": 2, "size": [12, 12]}), "file.another-model"),
    ):
        save_file(state, path, metadata={"convkit.configuration": words})
        with pytest.raises(FileError) as caught:
            zoo.load(path)
        assert caught.value.code == code


def test_files_that_are_not_there(network, tmp_path):
    for path, code in ((tmp_path, "is-a-folder"), (tmp_path / "none.safetensors", "not-found")):
        with pytest.raises(FileError) as caught:
            zoo.load(path)
        assert caught.value.code == f"file.{code}"
    with pytest.raises(FileError) as caught:
        zoo.save(network, tmp_path / "no" / "w.safetensors")
    assert caught.value.code == "file.no-folder"


def test_a_network_from_elsewhere_has_no_name(tmp_path):
    with pytest.raises(OptionError) as caught:
        zoo.save(torch.nn.Linear(2, 3), tmp_path / "w.safetensors")
    assert caught.value.code == "option.not-from-the-zoo"
    assert "safetensors.torch.save_file" in str(caught.value)
