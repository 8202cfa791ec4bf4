"""``accelerate(training=True)``: the model's own class, modules and weights; what its norms take over, and when not."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import convkit as ck
from convkit.nn import zoo
from convkit.nn.acceleration import twin


class Block(nn.Module):
    """Everything that norms can take over, written in the ways in which people write it."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside)
        self.conv2, self.bn2 = nn.Conv2d(outside, outside, 3, padding=1), nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Sequential(nn.Conv2d(inside, outside, 1), nn.BatchNorm2d(outside))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        identity = self.down(x)
        out += identity
        return self.relu(out)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.pool, self.block = nn.MaxPool2d(2), Block(8, 12)
        self.unused = nn.Linear(2, 3)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(functional.relu6(self.norm(self.stem(x))))
        x = self.block(x).mean((2, 3))
        return self.head(functional.dropout(x, 0.5, self.training))


def made() -> tuple[Model, Any]:
    torch.manual_seed(0)
    model = Model()
    return model, ck.nn.accelerate(model, training=True)


def folded(model: Any) -> dict[str, tuple[str, ...]]:
    return {one.name: one.folded for one in model.acceleration.layers if one.folded}


def trained(model: nn.Module, x: torch.Tensor, labels: torch.Tensor, steps: int = 4) -> list[float]:
    losses = []
    optimiser = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for step in range(steps):
        torch.manual_seed(step)
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(x), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_norms_take_over_what_follows() -> None:
    model, fast = made()
    assert isinstance(fast, Model)
    assert folded(fast) == {"norm": ("relu6",), "block.bn1": ("relu",), "block.bn2": ("add", "relu")}
    assert list(fast.state_dict()) == list(model.state_dict())
    assert all(one.is_contiguous() for one in fast.state_dict().values())
    x, labels = torch.randn(6, 3, 17, 18), torch.arange(6) % 4
    expected, got = trained(model.train(), x, labels), trained(fast.train(), x, labels)
    assert got == pytest.approx(expected, rel=1e-3)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-3, atol=1e-3)


def test_learning_and_evaluation_may_change_places() -> None:
    """What the code asks of ``training`` is asked anew: here, whether to drop."""
    model, fast = made()
    model.eval()
    x = torch.randn(2, 3, 17, 18)
    fast.eval()
    torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
    fast.train()
    assert not torch.allclose(fast(x), fast(x))
    model, fast = made()
    model.train()
    fast.train()
    for one in (model, fast):
        one.block.bn1.eval()  # frozen, as people do it
        torch.manual_seed(0)
        one(x).sum().backward()
    torch.testing.assert_close(fast.block.bn1.running_mean, model.block.bn1.running_mean)
    torch.testing.assert_close(fast.stem.weight.grad, model.stem.weight.grad, rtol=1e-3, atol=1e-3)


def test_hooks_are_called() -> None:
    _, fast = made()
    seen: list[str] = []
    handles = [
        module.register_forward_hook(lambda module, given, out, name=name: seen.append(name))
        for name, module in fast.named_modules()
        if name in ("block", "block.relu", "block.bn1", "stem", "")
    ]
    fast.train()
    fast(torch.randn(2, 3, 17, 18))
    assert seen == ["stem", "block.bn1", "block.relu", "block.relu", "block", ""]
    for handle in handles:
        handle.remove()


def test_modules_may_be_exchanged() -> None:
    _, fast = made()
    fast.train()
    fast.block.bn1 = nn.Identity()
    fast.head = nn.Linear(12, 7)
    assert fast(torch.randn(2, 3, 17, 18)).shape == (2, 7)


def test_copies_and_pickles() -> None:
    _, fast = made()
    fast.train()
    x = torch.randn(2, 3, 17, 18)
    fast(x)
    file = io.BytesIO()
    torch.save(fast, file)
    file.seek(0)
    for again in (copy.deepcopy(fast), torch.load(file, weights_only=False)):
        torch.manual_seed(1)
        expected = fast(x)
        torch.manual_seed(1)
        assert torch.equal(again(x), expected)
        again(x).sum().backward()
    assert fast.stem.weight.grad is None


def test_a_twin_learns_with_the_model() -> None:
    model, _ = made()
    fast = twin(model)
    assert all(one is two for one, two in zip(model.parameters(), fast.parameters(), strict=True))
    before = model.norm.running_mean.clone()
    fast.train()
    trained(fast, torch.randn(4, 3, 17, 18), torch.arange(4))
    assert type(model.norm) is nn.BatchNorm2d
    assert not torch.equal(model.norm.running_mean, before)
    assert model.norm.num_batches_tracked == 4


def test_what_is_not_plain_is_left_alone() -> None:
    """Norms over several processes, sums that somebody else reads, code that depends on values."""
    synced = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SyncBatchNorm(4), nn.ReLU())
    assert type(ck.nn.accelerate(synced, training=True)[1]) is nn.SyncBatchNorm

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm(x)
            return torch.relu(y) + y

    class Depends(Twice):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.norm(x)) if x.sum() > 0 else x

    x = torch.randn(2, 3, 4, 5)
    for kind in (Twice, Depends):
        model = kind().train()
        fast = ck.nn.accelerate(model, training=True)
        assert folded(fast) == {}
        torch.testing.assert_close(fast(x.abs()), model(x.abs()), rtol=1e-5, atol=1e-5)
    assert any("x.sum() > 0" in note or "norms take nothing over" in note for note in fast.acceleration.notes)


def test_pictures_of_one_channel_lie_as_others_do() -> None:
    fast = ck.nn.accelerate(zoo.build("small_cnn", seed=0), training=True).train()
    seen = []
    fast.block1.conv.register_forward_hook(lambda module, given, out: seen.append(out))
    fast(torch.randn(3, 1, 28, 28))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert not seen[0].is_contiguous()


SMALL = {"resnet18": 64, "resnet50": 64, "mobilenet_v2": 64, "vgg16": 64, "alexnet": 96, "lenet5": 28, "small_cnn": 28}


@pytest.mark.parametrize("name", SMALL)
def test_networks_learn_as_on_torch(name: str) -> None:
    torch.manual_seed(0)
    channels = zoo.find(name).standard.channels
    plain = zoo.plain_torch(zoo.build(name, classes=4, size=SMALL[name], seed=0))
    fast = ck.nn.accelerate(plain, training=True)
    x, labels = torch.randn(4, channels, SMALL[name], SMALL[name]), torch.arange(4)
    found = []
    for model in (copy.deepcopy(plain).double(), plain, fast):
        model.train()
        torch.manual_seed(0)
        functional.cross_entropy(model(x.to(next(model.parameters()).dtype)), labels).backward()
        found.append(torch.cat([one.grad.double().flatten() for one in model.parameters()]))
    exact, theirs, ours = found
    size = exact.norm()
    assert (ours - exact).norm() / size < max(1e-3, 3 * float((theirs - exact).norm() / size))
    assert list(fast.state_dict()) == list(plain.state_dict())
