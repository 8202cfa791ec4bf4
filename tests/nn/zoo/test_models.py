"""The networks of the zoo are what their sources describe, for the pictures they are built for."""

from __future__ import annotations

import pytest
import torch

from convkit import nn
from convkit.catalogue import LANGUAGES, using
from convkit.errors import OptionError, ShapeError
from convkit.nn import zoo
from convkit.nn.zoo.fcn import FCN, Upsampling
from convkit.nn.zoo.mobilenet_v2 import InvertedResidual
from convkit.nn.zoo.unet import UNet

NAMES = tuple(zoo.MODELS)
# The published counts of learned numbers (the small network is this library's own; U-Net with batch norm).
PUBLISHED = {
    "perceptron": 7_850,
    "mlp": 266_610,
    "lenet5": 61_706,
    "small_cnn": 278_890,
    "alexnet": 60_965_224,
    "vgg16": 138_357_544,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "fcn": 134_489_759,
    "unet": 31_036_546,
}
# Small enough to run: channels, classes, rows, columns.
SMALL = {
    "perceptron": (2, 3, 5, 4),
    "mlp": (2, 3, 5, 4),
    "lenet5": (2, 3, 13, 16),
    "small_cnn": (2, 3, 9, 12),
    "alexnet": (2, 3, 63, 70),
    "vgg16": (2, 3, 33, 40),
    "resnet18": (2, 3, 33, 70),
    "resnet50": (2, 3, 17, 20),
    "mobilenet_v2": (2, 3, 33, 20),
    "unet": (2, 3, 19, 22),
}


def small(name: str) -> torch.nn.Module:
    channels, classes, *size = SMALL[name]
    return zoo.build(name, channels=channels, classes=classes, size=tuple(size), seed=1).eval()


def test_the_list_is_complete():
    assert set(NAMES) == set(PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_the_parameters_are_as_many_as_published(name):
    with torch.device("meta"):
        network = zoo.build(name)
    assert zoo.parameters(network) == zoo.MODELS[name].parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_in_the_standard_configuration(name):
    model = zoo.find(name)
    channels, classes, (rows, columns) = model.standard.channels, model.standard.classes, model.standard.size
    with torch.device("meta"):
        scores = zoo.plain_torch(zoo.build(name)).eval()(torch.empty(2, channels, rows, columns))
    assert scores.shape == ((2, classes, rows, columns) if model.task == "segmentation" else (2, classes))


@pytest.mark.parametrize("name", SMALL)
def test_convkits_layers_give_what_torchs_give(name):
    network = small(name)
    channels, classes, rows, columns = SMALL[name]
    pictures = torch.randn(3, channels, rows, columns, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = network(pictures), zoo.plain_torch(network)(pictures)
    segments = zoo.find(name).task == "segmentation"
    assert ours.shape == ((3, classes, rows, columns) if segments else (3, classes))
    assert theirs.std() > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_fcn_takes_any_size():
    torch.manual_seed(0)
    network = zoo.initialise(FCN(2, 3, (37, 41), hidden=16), "he").eval()
    pictures = torch.randn(1, 2, 37, 41)
    with torch.no_grad():
        ours, theirs = network(pictures), zoo.plain_torch(network)(pictures)
    assert ours.shape == (1, 3, 37, 41)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "fcn"])
def test_the_smallest_picture_goes_through_and_no_smaller_one(name):
    model = zoo.find(name)
    with torch.device("meta"):
        network = zoo.plain_torch(zoo.build(name, size=model.least)).eval()
        assert network(torch.empty(1, model.standard.channels, model.least, model.least)).shape[1] > 1
    if model.least > 1:
        with pytest.raises(ShapeError, match="picture-too-small") as caught:
            zoo.build(name, size=(model.least + 9, model.least - 1))
        assert f"size={model.least} or more" in str(caught.value)


def test_alexnet_has_two_groups():
    with torch.device("meta"):
        network = zoo.build("alexnet")
    groups = [layer.groups for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert groups == [1, 2, 1, 2, 2]


def test_larger_pictures_are_averaged_and_smaller_ones_have_a_smaller_grid():
    with torch.device("meta"):
        for size, inputs in ((448, 512 * 7 * 7), (224, 512 * 7 * 7), ((96, 64), 512 * 3 * 2)):
            assert zoo.build("vgg16", size=size).classifier[0].in_features == inputs


def test_small_pictures_keep_their_size_at_the_start():
    with torch.device("meta"):
        small, large = zoo.build("resnet18", size=32), zoo.build("resnet18", size=64)
    assert small.conv1.stride == (1, 1)
    assert large.conv1.stride == (2, 2)


def test_a_block_of_mobilenet_adds_its_input_only_where_shapes_agree():
    with torch.device("meta"):
        blocks = [m for m in zoo.build("mobilenet_v2").modules() if isinstance(m, InvertedResidual)]
    assert len(blocks) == 17
    assert sum(block.adds == "input" for block in blocks) == 10
    same = InvertedResidual(4, 4, 1, 6).eval()
    x = torch.randn(1, 4, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(same(x), x + same.conv(x))


def test_upsampling_starts_as_bilinear_interpolation():
    layer = Upsampling(3, 4)
    x = torch.randn(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    with torch.no_grad():
        got = layer(x)
    assert got.shape == expected.shape
    torch.testing.assert_close(got[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])
    before = layer.weight.clone()
    zoo.initialise(layer, "he")
    assert torch.equal(layer.weight, before)


def test_unet_takes_other_widths():
    network = UNet(1, 2, (8, 8), widths=(4, 6, 10)).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 7, 9)).shape == (1, 2, 7, 9)


def test_a_network_of_the_zoo_learns():
    network = zoo.build("small_cnn", channels=1, classes=2, size=8, seed=0)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 1, 8, 8, generator=generator)
    labels = (images[:, 0, :, :4].sum(dim=(1, 2)) > images[:, 0, :, 4:].sum(dim=(1, 2))).long()
    losses = nn.train(network, images, labels, epochs=8, batch=16, rate=3e-3)
    assert losses[-1] < 0.6 * losses[0]


def test_a_seed_repeats_and_leaves_the_callers_chance_alone():
    before = torch.get_rng_state()
    one, two, other = (zoo.build("lenet5", seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.c1.weight, two.c1.weight)
    assert not torch.equal(one.c1.weight, other.c1.weight)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_described(language, name):
    model = zoo.find(name)
    with using(language):
        assert model.summary
    assert model.source
    assert str(model.standard).startswith(f"{name} (")


def test_what_cannot_be_built():
    with pytest.raises(OptionError, match='model="resnet18"'):
        zoo.build("resnet_18")
    with pytest.raises(OptionError, match="classes=0"):
        zoo.build("mlp", classes=0)
    with pytest.raises(OptionError, match="channels=-1"):
        zoo.build("mlp", channels=-1)
    with pytest.raises(OptionError, match='initialisation="xavier"'):
        zoo.build("mlp", initialisation="xavir")
    with pytest.raises(ShapeError, match="0x5"):
        zoo.build("mlp", size=(0, 5))


def test_without_torch_the_extra_is_named(monkeypatch):
    import sys

    from convkit.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("convkit.nn.zoo")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"pip install 'convkit\[nn\]'"):
        import convkit.nn.zoo  # noqa: F401
