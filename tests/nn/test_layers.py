"""The layers on `ck.conv` are torch's layers: same weights, same outputs, same gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convkit import nn

CASES = [
    (1, {"in_channels": 3, "out_channels": 4, "kernel_size": 4, "stride": 2, "padding": 3}),
    (1, {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 2, "dilation": 2, "bias": False}),
    (2, {"in_channels": 2, "out_channels": 3, "kernel_size": (3, 2), "padding": (0, 2), "stride": (1, 2)}),
    (2, {"in_channels": 2, "out_channels": 3, "kernel_size": (4, 3), "padding": "same", "dilation": (1, 2)}),
    (2, {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "padding": (2, 1), "padding_mode": "reflect"}),
    (2, {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "padding": "same", "padding_mode": "circular"}),
    (2, {"in_channels": 2, "out_channels": 2, "kernel_size": 2, "padding": 1, "padding_mode": "replicate"}),
    (3, {"in_channels": 2, "out_channels": 3, "kernel_size": (2, 3, 2), "padding": (1, 0, 1)}),
]
SIZES = (9, 7, 6)


# Torch says that it copies where the two sides of "same" differ; the result is what counts here.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(("rank", "options"), CASES)
def test_a_layer_equals_torchs(rank, options):
    torch.manual_seed(rank)
    theirs = getattr(torch.nn, f"Conv{rank}d")(**options).double()
    ours = getattr(nn, f"Conv{rank}d")(**options).double()
    assert isinstance(ours, type(theirs))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, options["in_channels"], *SIZES[:rank], dtype=torch.float64)
    results = []
    for layer in (theirs, ours):
        inside = x.clone().requires_grad_()
        out = layer(inside)
        (out * torch.arange(out.numel(), dtype=torch.float64).view(out.shape)).sum().backward()
        results.append([out.detach(), inside.grad, *(p.grad for p in layer.parameters())])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-8)
    torch.testing.assert_close(ours(x[0]), theirs(x[0]), rtol=1e-12, atol=1e-12)


def test_the_layer_calls_the_verb(monkeypatch):
    import convkit as ck

    monkeypatch.setattr(ck, "conv", lambda *arguments, **options: torch.full((1, 2, 3), 7.0))
    assert nn.Conv1d(1, 2, 3)(torch.zeros(1, 1, 5)).eq(7).all()


def test_shifts_move_whole_pictures():
    picture = torch.zeros(1, 1, 5, 6)
    picture[0, 0, 2, 3] = 1
    moved = nn.shifted(picture.repeat(200, 1, 1, 1), 1, torch.Generator().manual_seed(0))
    places = {tuple(np.argwhere(one[0].numpy())[0]) for one in moved}
    assert places == {(r, c) for r in (1, 2, 3) for c in (2, 3, 4)}
    same = nn.shifted(picture, 0, torch.Generator())
    assert torch.equal(same, picture)


def test_training_is_repeatable_and_learns():
    torch.manual_seed(0)
    images = torch.randn(60, 1, 6, 6)
    labels = (images[:, 0, :3].sum(dim=(1, 2)) > images[:, 0, 3:].sum(dim=(1, 2))).long()
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        network = torch.nn.Sequential(nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 2))
        steps = []

        def note(step, of, loss, steps=steps):
            steps.append((step, of))

        losses = nn.train(network, images, labels, epochs=20, batch=16, rate=1e-2, seed=3, progress=note)
        assert len(steps) == 80
        assert steps[-1] == (80, 80)
        runs.append((losses, nn.evaluate(network, images, labels)))
        assert not network.training
    assert runs[0][0] == runs[1][0]
    assert runs[0][0][-1] < 0.7 * runs[0][0][0]
    result = runs[0][1]
    assert result.accuracy > 0.85
    assert result.confusion.sum() == 60
    assert result.correct == int((result.said == labels.numpy()).sum())


def test_evaluation_counts():
    class Fixed(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.one_hot(x[:, 0, 0, 0].long(), 3).float()

    said = torch.tensor([0, 1, 2, 2, 1]).view(-1, 1, 1, 1)
    result = nn.evaluate(Fixed(), said, torch.tensor([0, 1, 1, 2, 0]), batch=2)
    np.testing.assert_array_equal(result.confusion, [[1, 1, 0], [0, 1, 1], [0, 0, 1]])
    assert result.accuracy == 0.6


def test_wrong_training_arguments():
    from convkit.errors import OptionError, ShapeError

    network = torch.nn.Linear(1, 2)
    with pytest.raises(ShapeError, match="3 pictures have 2 labels"):
        nn.train(network, torch.zeros(3, 1), torch.zeros(2), epochs=1)
    with pytest.raises(OptionError, match="epochs=0"):
        nn.train(network, torch.zeros(3, 1), torch.zeros(3), epochs=0)


def test_without_torch_the_extra_is_named(monkeypatch):
    import sys

    from convkit.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'convkit\[nn\]'"):
        nn.Conv2d  # noqa: B018
    with pytest.raises(AttributeError):
        nn.Conv4d  # noqa: B018


TRANSPOSED = [
    (1, {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}),
    (2, {"in_channels": 4, "out_channels": 2, "kernel_size": (3, 2), "groups": 2, "dilation": (2, 1), "bias": False}),
    (3, {"in_channels": 2, "out_channels": 3, "kernel_size": (2, 3, 2), "stride": (1, 2, 1), "padding": (0, 1, 1)}),
]


@pytest.mark.parametrize(("rank", "options"), TRANSPOSED)
def test_a_transposed_layer_equals_torchs(rank, options):
    torch.manual_seed(rank)
    theirs = getattr(torch.nn, f"ConvTranspose{rank}d")(**options).double()
    ours = getattr(nn, f"ConvTranspose{rank}d")(**options).double()
    assert isinstance(ours, type(theirs))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, options["in_channels"], *SIZES[:rank], dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours(x[1]), theirs(x[1]), rtol=1e-12, atol=1e-12)
    if rank == 1:
        size = [theirs(x).shape[-1] - 1]
        torch.testing.assert_close(ours(x, output_size=size), theirs(x, output_size=size), rtol=1e-12, atol=1e-12)


def test_what_torch_lacks():
    import convkit as ck

    torch.manual_seed(0)
    x = torch.randn(2, 2, 7, 6)
    layer = nn.Conv2d(2, 3, (4, 3), stride=(2, 3), padding="same")
    assert layer(x).shape == (2, 3, 4, 2)
    layer = nn.Conv2d(2, 3, (4, 3), padding=((9, 1), (0, 20)), boundary=("reflect", ("wrap", "edge")))
    assert layer(x).shape == (2, 3, 14, 24)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (9, 1), (0, 0)), mode="reflect")
    padded = np.pad(padded, ((0, 0), (0, 0), (0, 0), (0, 20)), mode="edge")
    expected = torch.nn.functional.conv2d(torch.from_numpy(padded), layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    assert "boundary=('reflect', ('wrap', 'edge'))" in repr(layer)
    flipped = nn.Conv2d(2, 3, (4, 3), operation="convolution", bias=False)
    torch.testing.assert_close(
        flipped(x), torch.nn.functional.conv2d(x, flipped.weight.flip(2, 3)), rtol=1e-4, atol=1e-5
    )
    filled = nn.Conv1d(1, 1, 3, padding=2, boundary="constant", fill=2.0, activation="relu")
    assert filled.state_dict().keys() == torch.nn.Conv1d(1, 1, 3).state_dict().keys()
    add = torch.randn(1, 1, 5)
    torch.testing.assert_close(
        filled(torch.ones(1, 1, 3), add=add),
        ck.conv(
            torch.ones(1, 1, 3), filled.weight, filled.bias, padding=2, boundary="constant", fill=2.0, add=add
        ).relu(),
    )
    import copy
    import pickle

    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(twin(x), layer(x))


def test_any_number_of_axes():
    layer = nn.ConvNd(2, 4, (2, 1, 2, 3), stride=(1, 2, 1, 1), padding=(0, 0, 1, 0), groups=2, bias=False)
    x = torch.randn(1, 2, 3, 3, 4, 5)
    assert layer.weight.shape == (4, 1, 2, 1, 2, 3)
    expected = torch.zeros(1, 4, 2, 2, 5, 3)
    padded = torch.nn.functional.pad(x, (0, 0, 1, 1))
    for out in range(4):
        for at in np.ndindex(2, 1, 2, 3):
            shifted = padded[:, out // 2][
                :, at[0] : at[0] + 2, at[1] : at[1] + 3 : 2, at[2] : at[2] + 5, at[3] : at[3] + 3
            ]
            expected[:, out] += layer.weight[(out, 0, *at)].detach() * shifted
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    plane = nn.ConvNd(2, 3, (3, 3))
    plane.load_state_dict(torch.nn.Conv2d(2, 3, 3).state_dict())


def test_layers_stay_whole_when_traced():
    network = torch.nn.Sequential(nn.Conv2d(1, 2, 3), torch.nn.ReLU(), nn.ConvTranspose2d(2, 1, 2))
    graph = torch.fx.symbolic_trace(network)
    assert [str(node.target) for node in graph.graph.nodes if node.op == "call_module"] == ["0", "1", "2"]
    x = torch.randn(1, 1, 6, 5)
    torch.testing.assert_close(graph(x), network(x))


def test_wrong_layers():
    from convkit.errors import OptionError, ShapeError

    with pytest.raises(OptionError, match=r"option\.two-boundaries"):
        nn.Conv2d(1, 1, 3, padding_mode="circular", boundary="edge")
    with pytest.raises(ShapeError, match=r"shape\.no-space"):
        nn.ConvNd(1, 1, 3)
    with pytest.raises(OptionError, match="padding"):
        nn.Conv1d(1, 1, 3, padding="full")
    with pytest.raises(OptionError, match="boundary"):
        nn.Conv1d(1, 1, 3, boundary="mirror")
    with pytest.raises(TypeError):
        nn.ConvTranspose1d(1, 1, 3, boundary="edge")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_about_networks_runs(language):
    import doctest
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / language / "networks.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 10
    assert result.failed == 0
