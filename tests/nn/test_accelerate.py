"""``accelerate``: the same numbers within the stated bounds, every layer fused that can be, the original untouched."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

import convkit as ck
from convkit.errors import OptionError
from convkit.nn import zoo
from convkit.nn.acceleration.joined import Joined
from convkit.nn.layers import Layer


def settled(model: nn.Module) -> nn.Module:
    """The model with statistics that matter, in evaluation mode."""
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.2)
    return model.eval()


def agree(model: nn.Module, *example: torch.Tensor) -> ck.nn.Acceleration:
    """Accelerate, compare, and see that the original was left alone."""
    before = copy.deepcopy(model.state_dict())
    fast = ck.nn.accelerate(model)
    with torch.no_grad():
        expected, got = model(*example), fast(*example)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    check = fast.acceleration.check(model, *example)
    assert check.within, check.layers
    assert check.layers
    assert check.error < 1e-5
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(isinstance(module, Layer) for module in model.modules())
    return fast.acceleration


def folded(acceleration) -> dict[str, tuple[str, ...]]:
    return {layer.name: layer.folded for layer in acceleration.layers}


class Residual(nn.Module):
    """Both kinds of shortcut, activations in place."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.norm3 = nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.down = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.first(x)
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        y += x
        y = self.relu(y)
        z = self.relu(self.norm3(self.conv3(y)) + self.down(y))
        return self.head(torch.flatten(functional.adaptive_avg_pool2d(z, 1), 1))


class Inverted(nn.Module):
    """An inverted residual: wide inside, depthwise, narrow outside, no activation at its end."""

    def __init__(self):
        super().__init__()
        self.expand, self.norm1 = nn.Conv2d(6, 24, 1, bias=False), nn.BatchNorm2d(24)
        self.depth, self.norm2 = nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False), nn.BatchNorm2d(24)
        self.project, self.norm3 = nn.Conv2d(24, 6, 1, bias=False), nn.BatchNorm2d(6)

    def forward(self, x):
        y = functional.relu6(self.norm1(self.expand(x)))
        y = functional.hardswish(self.norm2(self.depth(y)))
        return x + self.norm3(self.project(y))


class Net(nn.Module):
    """A small U: transposed convolutions, concatenation, functions and methods as activations."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, padding="same"), nn.Conv2d(4, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.grouped = nn.ConvTranspose2d(8, 8, 3, padding=1, groups=2)
        self.after = nn.BatchNorm2d(8)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        first = self.down1(x).relu()
        below = torch.tanh(self.down2(functional.max_pool2d(first, 2)))
        above = functional.silu(self.norm(self.up(below)))
        joined = torch.cat([first, above], 1)
        return torch.sigmoid(self.out(self.after(self.grouped(joined))))


class Functions(nn.Module):
    """No convolution module at all."""

    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(4, 2, 3, 3)), nn.Parameter(torch.randn(4))
        self.up = nn.Parameter(torch.randn(4, 3, 2, 2))
        self.scale = nn.Parameter(torch.rand(4) + 0.5)
        self.register_buffer("mean", torch.randn(4))
        self.register_buffer("var", torch.rand(4) + 0.5)

    def forward(self, x):
        y = functional.conv2d(x, self.w, self.b, padding=1)
        y = functional.relu(functional.batch_norm(y, self.mean, self.var, self.scale, self.b, False, 0.1, 1e-3))
        y = functional.conv_transpose2d(y, self.up, None, 2, padding=(1, 0))
        return functional.conv2d(y, self.up.sum(0).view(1, 3, 2, 2))


def test_residual_blocks():
    found = folded(agree(settled(Residual()), torch.randn(2, 3, 17, 18)))
    assert found == {
        "first.0": ("batch norm", "relu"),
        "conv1": ("batch norm", "relu"),
        "conv2": ("batch norm", "add", "relu"),
        "conv3": ("batch norm", "add", "relu"),
        "down.0": ("batch norm",),
    }


def test_inverted_residual_blocks():
    found = folded(agree(settled(Inverted()), torch.randn(2, 6, 9, 10)))
    assert found == {
        "expand": ("batch norm", "relu6"), "depth": ("batch norm", "hardswish"), "project": ("batch norm", "add"),
    }  # fmt: skip


def test_transposed_layers_and_concatenation():
    found = folded(agree(settled(Net()), torch.randn(2, 1, 10, 12)))
    assert found == {
        "down1": ("relu",), "down2": ("tanh",), "up": ("batch norm", "silu"), "grouped": (), "out": ("sigmoid",),
    }  # fmt: skip


def test_functions():
    acceleration = agree(settled(Functions()), torch.randn(2, 2, 7, 8))
    assert folded(acceleration) == {"functional_conv2d": ("batch norm", "relu"), "functional_conv_transpose2d": ()}


@pytest.mark.parametrize("name", ["lenet5", "unet"])
def test_networks_of_the_zoo(name):
    model = settled(zoo.plain_torch(zoo.build(name)))
    at = zoo.MODELS[name].standard
    agree(model, torch.randn(2, at.channels, *((64, 48) if name == "unet" else at.size)))


class Reads(nn.Module):
    """What comes out of a layer is also read elsewhere, or written to."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.one(x)
        z = self.norm(y) + y  # two readers: nothing is folded
        u = self.two(z)
        z = self.relu(z)  # writes to what the next addition reads
        v = u + z
        w = self.three(v) + x[:, :, :1]  # broadcast
        return w.relu(), self.one(v)


def test_what_cannot_be_fused_is_left():
    found = folded(agree(settled(Reads()), torch.randn(1, 4, 6, 7)))
    assert found == {"one_one": (), "two": (), "three": ("add", "relu"), "one": ()}


class Depends(nn.Module):
    """Control flow that depends on values: it cannot be traced."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2, 4, 3, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv1d(4, 2, 3), nn.SiLU()
        )
        self.again = nn.Conv1d(2, 2, 1)
        self.w = nn.Parameter(torch.randn(3, 2, 2))

    def forward(self, x):
        y = self.body(x)
        if y.sum() > 1e9:
            return y
        return functional.conv1d(self.again(self.again(y)), self.w)


def test_a_model_that_cannot_be_traced():
    acceleration = agree(settled(Depends()), torch.randn(3, 2, 12))
    assert folded(acceleration) == {
        "body.0": ("batch norm", "relu"), "body.4": ("silu",), "again": (), "forward": (),
    }  # fmt: skip
    assert len(acceleration.notes) == 1
    assert "traced" in acceleration.notes[0]


def test_functions_really_run_on_convkit(monkeypatch):
    fast = ck.nn.accelerate(settled(Depends()))
    calls = []
    conv = ck.conv
    monkeypatch.setattr(ck, "conv", lambda *given, **named: calls.append(1) or conv(*given, **named))
    fast(torch.randn(1, 2, 12))
    assert len(calls) == 5


def test_hooks_on_containers_are_kept():
    model = settled(nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), nn.Conv2d(3, 2, 3)))
    seen = []
    model[0].register_forward_hook(lambda *given: seen.append(given[2].shape))
    fast = ck.nn.accelerate(model)
    fast(torch.randn(1, 2, 8, 9))
    assert seen == [(1, 3, 6, 7)]
    assert folded(fast.acceleration) == {"0.0": ("relu",), "1": ()}


def test_training_keeps_everything_but_the_layers(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    model = Residual().train()
    fast = ck.nn.accelerate(model, training=True)
    assert fast.training
    assert isinstance(fast, Residual)
    assert [type(fast.conv1), type(fast.norm1)] == [ck.nn.Conv2d, ck.nn.BatchNorm2d]
    assert list(fast.state_dict()) == list(model.state_dict())
    x, labels = torch.randn(4, 3, 17, 18), torch.tensor([0, 3, 1, 2])
    for one in (model, fast):
        optimiser = torch.optim.SGD(one.parameters(), 0.05, momentum=0.9)
        for _ in range(3):
            optimiser.zero_grad()
            functional.cross_entropy(one(x), labels).backward()
            optimiser.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-3, atol=1e-4)
    safetensors.save_file(fast.state_dict(), tmp_path / "weights.safetensors")
    again = Residual()
    again.load_state_dict(safetensors.load_file(tmp_path / "weights.safetensors"))
    again.eval()
    torch.testing.assert_close(again(x), fast.eval()(x), rtol=1e-4, atol=1e-4)


def test_training_with_functions():
    torch.manual_seed(0)
    model = Functions().train()
    fast = ck.nn.accelerate(model, training=True)
    x = torch.randn(2, 2, 7, 8)
    for one in (model, fast):
        one(x).square().sum().backward()
    for expected, got in zip(model.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-3, atol=1e-3)
    assert [layer.name for layer in fast.acceleration.layers] == ["forward"]


def test_shared_modules_stay_shared():
    layer = nn.Conv2d(2, 2, 3, padding=1)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    fast = ck.nn.accelerate(model, training=True)
    assert fast[0] is fast[2]
    assert len(list(fast.parameters())) == 2
    agree(model.eval(), torch.randn(1, 2, 5, 6))


def test_findings_with_an_example():
    model = settled(Residual())
    x = torch.randn(1, 3, 33, 34)
    fast = ck.nn.accelerate(model, x)
    acceleration = fast.acceleration
    assert len(acceleration.layers) == 5
    for row in acceleration.rows():
        assert row["algorithm"]
        assert row["before"] > 0
        assert row["after"] > 0
        assert row["gain"] == pytest.approx(row["before"] / row["after"])
    table = str(acceleration)
    assert "conv2" in table
    assert "batch norm + add + relu" in table
    assert str(acceleration.check(model, x))


def test_a_wrong_layer_is_found_out():
    """The check can fail: a weight that is off is seen, and so is a sum that leaves its bound."""
    model = settled(Inverted())
    x = torch.randn(2, 6, 9, 10)
    fast = ck.nn.accelerate(model)
    joined = next(module for module in fast.modules() if isinstance(module, Joined))
    joined.layer.weight[0, 0] += 1e-2
    assert fast.acceleration.check(model, x).difference > 1e-4

    class Off(ck.nn.Conv2d):
        def _verb(self, x, add, activation):
            return super()._verb(x, add, activation) * (1 + 1e-4 * (self.weight.dtype is torch.float32))

    fast = ck.nn.accelerate(model)
    joined = next(module for module in fast.modules() if isinstance(module, Joined))
    joined.layer.__class__ = Off
    assert not fast.acceleration.check(model, x).within


def test_accelerated_models_compile_and_export():
    model = settled(Inverted())
    fast = ck.nn.accelerate(model)
    x = torch.randn(2, 6, 9, 10)
    expected = model(x)
    torch._dynamo.reset()
    torch.testing.assert_close(
        torch.compile(fast, backend="aot_eager", fullgraph=True)(x), expected, rtol=1e-4, atol=1e-4
    )
    program = torch.export.export(fast, (x,))
    assert any("convkit.conv" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(x), expected, rtol=1e-4, atol=1e-4)
    torch._dynamo.reset()


def test_only_models_are_accelerated():
    with pytest.raises(OptionError, match=r"option\.not-a-module"):
        ck.nn.accelerate(functional.relu)


class Recurrent(nn.Module):
    """The same layers several times; a sum waits for a layer that is called after its own."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        state = torch.zeros_like(self.outer(x))
        for _ in range(3):
            state = torch.tanh(self.inner(state) + self.outer(x))
        return state


def test_layers_called_again_and_again():
    agree(Recurrent().eval(), torch.randn(2, 3, 7, 8))


class Centred(nn.Conv2d):
    """Weights that are computed."""

    def forward(self, input):  # noqa: A002
        return functional.conv2d(input, self.weight - self.weight.mean(), self.bias, self.stride, self.padding)


def test_models_with_computed_weights_are_copied_and_pickled():
    up = nn.ConvTranspose2d(8, 2, 2, 2)
    model = nn.Sequential(Centred(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), up).eval()
    x = torch.randn(1, 3, 6, 7)
    fast = ck.nn.accelerate(model)
    for again in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        torch.testing.assert_close(again(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_size_models_keep_their_bounds(dtype):
    """What is stored is rounded to the model's type; a layer that is further off is still found out."""
    model = settled(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))).to(dtype)
    x = torch.randn(2, 3, 9, 10).to(dtype)
    fast = ck.nn.accelerate(model)
    check = fast.acceleration.check(model, x)
    assert check.within, check.layers

    class Off(ck.nn.Conv2d):
        def _verb(self, x, add, activation):
            return super()._verb(x, add, activation) * (1 + 3e-2 * (self.weight.dtype is dtype))

    next(module for module in fast.modules() if isinstance(module, Layer)).__class__ = Off
    assert not fast.acceleration.check(model, x).within


class Silent(nn.Module):
    """Cannot be traced, and says nothing about why."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        if not isinstance(x, torch.Tensor):
            raise NotImplementedError
        return self.conv(x)


def test_a_model_that_refuses_to_be_traced_without_a_word():
    assert "NotImplementedError" in agree(Silent().eval(), torch.randn(1, 3, 5, 6)).notes[0]


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("training", [False, True])
def test_models_whose_weights_are_not_there(training):
    for lazy in (nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(affine=False)):
        with pytest.raises(OptionError, match=r"option\.lazy-model"):
            ck.nn.accelerate(nn.Sequential(lazy), training=training)
    hooked = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
    with pytest.raises(OptionError, match=r"option\.not-copied"):
        ck.nn.accelerate(nn.Sequential(hooked), training=training)
    agree(nn.Sequential(nn.utils.remove_weight_norm(hooked)), torch.randn(1, 3, 5, 6))


class Masked(nn.Module):
    """Does something else when an argument is given."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x, mask=None):
        y = torch.relu(self.norm(self.conv(x)))
        return y if mask is None else y * mask


class Ignoring(Masked):
    """Has such an argument, and does the same."""

    def forward(self, x, mask=None):
        return torch.relu(self.norm(self.conv(x)))


@pytest.mark.parametrize("training", [False, True])
def test_arguments_that_may_be_left_out(training):
    """``mask is None`` can be traced, but the graph would hold one branch alone."""
    model = settled(Masked()).train(training)
    x, mask = torch.randn(2, 3, 6, 7), torch.rand(2, 1, 6, 7)
    fast = ck.nn.accelerate(model, training=training).train(training)
    for _ in range(3):
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(fast(x, mask), model(x, mask), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(fast(x, mask=mask), model(x, mask), rtol=1e-4, atol=1e-4)
    assert any("mask" in note for note in fast.acceleration.notes)
    same = ck.nn.accelerate(settled(Ignoring()), training=training)
    assert not any("mask" in note for note in same.acceleration.notes)
    assert any(layer.folded for layer in same.acceleration.layers)


@dataclasses.dataclass
class Answer:
    scores: torch.Tensor
    note: str = "none"
    loss: object = None


class Answering(Masked):
    def forward(self, x):
        return Answer(self.conv(x))


def test_answers_that_are_records_are_compared():
    model = Answering().eval()
    x = torch.randn(1, 3, 6, 7)
    fast = ck.nn.accelerate(model, x)
    assert fast.acceleration.check(model, x).within
    fast.get_submodule("conv").weight.mul_(1.1)
    assert fast.acceleration.check(model, x).difference > 1e-3


def test_a_scripted_model_is_refused():
    class Scripted(torch.jit.ScriptModule):
        pass

    with pytest.raises(OptionError, match=r"option\.script-module"):
        ck.nn.accelerate(Scripted())


@pytest.mark.parametrize("kind", ["in place", "anew"])
def test_buffers_that_change_go_on_changing(kind):
    """Tracing would run what changes them once, and never again."""

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            if kind == "in place":
                self.seen += 1
            else:
                self.seen = self.seen + 1
            return self.conv(x) * self.seen

    model = Counting().eval()
    x = torch.randn(1, 3, 5, 6)
    fast = ck.nn.accelerate(model)
    assert "seen" in fast.acceleration.notes[0]
    with torch.no_grad():
        for times in (1, 2, 3, 4):
            torch.testing.assert_close(fast(x), model.conv(x) * times, rtol=1e-4, atol=1e-4)
