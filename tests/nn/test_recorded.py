"""Accelerated models that run as recorded: the same numbers, whatever changes between two runs."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional

import convkit as ck
from convkit.nn.acceleration import recorded
from convkit.nn.acceleration.steps import Linked
from convkit.verbs import chains
from tests.nn.test_accelerate import Functions, Inverted, Net, Reads, Residual, settled


class Pools(nn.Module):
    """Layers and pooling of every kind, modules and functions."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, (3, 2))
        self.largest = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.mean = nn.AvgPool2d((2, 3), (2, 1), (1, 0))
        self.whole = nn.AdaptiveAvgPool2d((1, None))

    def forward(self, x):
        x = self.mean(self.largest(functional.relu(self.one(x))))
        x = functional.max_pool2d(self.two(x), 2, stride=1)
        x = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return functional.adaptive_avg_pool2d(self.whole(x), 1)


def settled_small(model: nn.Module) -> nn.Module:
    torch.manual_seed(5)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    return settled(model)


def recorded_of(model: nn.Module, *example: torch.Tensor) -> nn.Module:
    """The model accelerated, and run often enough to be recorded."""
    fast = ck.nn.accelerate(model)
    with torch.no_grad():
        for _ in range(2):
            fast(*example)
    assert links(fast), "nothing was linked"
    return fast


def links(fast: nn.Module) -> list[Linked]:
    known = [record for record in fast.__dict__["_records"]._known.values() if record is not None]
    return [step for record in known for step, _ in record._steps if isinstance(step, Linked)]


def assert_same(fast: nn.Module, model: nn.Module, *example: torch.Tensor) -> None:
    with torch.no_grad():
        got, expected = fast(*example), model(*example)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def laid(x: torch.Tensor, layout: str) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last) if layout == "channels last" else x


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [(Residual, (3, 17, 18)), (Inverted, (6, 9, 10)), (Net, (1, 10, 12)), (Functions, (2, 12, 13)), (Reads, (4, 6, 7)),
     (Pools, (3, 15, 16))],
)  # fmt: skip
def test_results_and_layouts_are_the_models_own(kind, shape, batch, layout):
    model = settled(kind())
    x = laid(torch.randn(batch, *shape), layout)
    fast = ck.nn.accelerate(model)
    with torch.no_grad():
        first, *later = (fast(x) for _ in range(4))
        expected = model(x)
    assert links(fast)
    for one in (first, *later):
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-4)
    pairs = zip(first, later[-1], strict=True) if isinstance(first, tuple) else [(first, later[-1])]
    for before, after in pairs:
        assert before.stride() == after.stride()


def test_all_layers_are_one_job():
    fast = recorded_of(settled(Residual()), torch.randn(2, 3, 65, 66))
    assert [len(link._alone) for link in links(fast)] == [6]
    whole = nn.Sequential(Inverted(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Dropout(), nn.Linear(6, 700))
    x = torch.randn(2, 6, 33, 34)
    model = settled(whole)
    fast = recorded_of(model, x)
    assert [len(link._alone) for link in links(fast)] == [7]
    assert_same(fast, model, x)
    pooling = recorded_of(settled(Pools()), torch.randn(2, 3, 35, 36))
    assert [len(link._alone) for link in links(pooling)] == [5, 2], "one mean does not count its padding"


def test_layers_are_not_called_one_by_one(monkeypatch):
    x = torch.randn(2, 6, 9, 10)
    fast = recorded_of(settled(Inverted()), x)
    monkeypatch.setattr(ck, "conv", lambda *given, **named: pytest.fail("called"))
    with torch.no_grad():
        fast(x)


def test_three_and_one_axes():
    for kind, pool, shape in ((nn.Conv1d, nn.MaxPool1d, (9,)), (nn.Conv3d, nn.AvgPool3d, (7, 6, 9))):
        model = settled_small(nn.Sequential(kind(2, 4, 3, padding=1), nn.ReLU(), pool(2), kind(4, 3, 2)))
        x = torch.randn(2, 2, *shape)
        assert_same(recorded_of(model, x), model, x)


@pytest.mark.parametrize("width", [8, 33, 3000])
def test_linear_layers_and_what_passes_on(width):
    """Also where what is passed on is read elsewhere, and where layers are too small, or too large, to be linked."""

    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.drop, self.same = nn.Conv2d(3, 16, 3), nn.Dropout2d(), nn.Identity()
            self.one, self.two = nn.Linear(16, width), nn.Linear(width, 20, bias=False)

        def forward(self, x):
            x = self.drop(self.same(functional.relu(self.layer(x))))
            mean = functional.adaptive_avg_pool2d(x, 1).flatten(1)
            return self.two(self.one(mean)), mean, x

    model = settled_small(Heads())
    fast = ck.nn.accelerate(model)
    for x in (torch.randn(1, 3, 20, 21), torch.randn(5, 3, 20, 21)):
        for _ in range(4):
            assert_same(fast, model, x)
    assert links(fast)
    with torch.no_grad():
        fast.one.weight.mul_(2)
        expected = fast.forward(x)
        for _ in range(3):
            torch.testing.assert_close(fast(x), expected, rtol=1e-4, atol=1e-4)
        fast.train()
        before = fast(x)[2]
        assert not torch.equal(fast(x)[2], before), "dropout is at work"


def test_double_precision():
    model = settled(Residual()).double()
    x = torch.randn(2, 3, 17, 18, dtype=torch.float64)
    fast = recorded_of(model, x)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("change", ["in place", "by data", "loaded", "another parameter", "another module", "option"])
def test_what_changes_is_seen(change):
    model = settled(Inverted())
    x = torch.randn(2, 6, 9, 10)
    fast = recorded_of(model, x)
    layer = fast.expand
    with torch.no_grad():
        before = fast(x)
        if change == "in place":
            layer.weight.mul_(2)
            layer.bias.add_(1)
        elif change == "by data":
            layer.weight.data /= 2
            layer.bias.data += 1
        elif change == "loaded":
            fast.load_state_dict({name: value * 1.5 for name, value in fast.state_dict().items()})
        elif change == "another parameter":
            layer.weight = nn.Parameter(torch.randn_like(layer.weight), False)
        elif change == "another module":
            fast.expand = nn.Conv2d(6, 24, 1)
        else:
            layer.activation = None
        after = [fast(x) for _ in range(4)]
        expected = fast.forward(x)
    assert not torch.allclose(before, expected, rtol=1e-2)
    for one in after:
        torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-5)
    assert links(fast)


def test_shapes_take_turns(monkeypatch):
    monkeypatch.setattr(recorded, "MOST_KEPT", 3)
    model = settled(Residual())
    fast = ck.nn.accelerate(model)
    shapes = [(1, 3, 17, 18), (2, 3, 17, 18), (1, 3, 9, 20), (0, 3, 17, 18), (4, 3, 8, 8)]
    for _ in range(3):
        for shape in shapes:
            x = torch.randn(shape)
            for _ in range(3):
                assert_same(fast, model, x)
    assert len(fast.__dict__["_records"]._known) <= 3


def test_samples_do_not_change_each_other():
    """Also where a batch goes through the layers some samples at a time."""
    model = settled_small(nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(4))))
    x = torch.randn(8, 16, 128, 128)
    fast = recorded_of(model, x)
    (link,) = links(fast)
    assert link._times > 1
    with torch.no_grad():
        together = fast(x)
        for _ in range(3):
            alone = fast(x[5:6])
        expected = model(x)
    assert torch.equal(together[5:6], alone)
    torch.testing.assert_close(together / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=1e-5)


def test_what_is_kept_is_bounded(monkeypatch):
    """However large a batch is, unless one sample needs more."""
    model = settled_small(nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))))
    x = torch.randn(6, 8, 40, 40)
    (link,) = links(recorded_of(model, x))
    assert link._times == 1
    sample = 2 * 8 * 40 * 40 * 4
    monkeypatch.setattr(chains, "MOST_KEPT", 3 * sample)
    (link,) = links(recorded_of(model, x))
    assert (link._times, link._chain._size) == (2, 3 * sample)
    monkeypatch.setattr(chains, "MOST_KEPT", sample // 2)
    (link,) = links(recorded_of(model, x))
    assert (link._times, link._chain._size) == (6, sample)


def test_the_number_of_threads_changes_no_bit():
    model = settled(Residual())
    x = torch.randn(2, 3, 65, 66)
    fast = recorded_of(model, x)
    before = ck.num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            ck.set_num_threads(count)
            with torch.no_grad():
                results.append(fast(x))
    finally:
        ck.set_num_threads(before)
    assert all(torch.equal(results[0], one) for one in results)


def test_callers_at_the_same_time():
    model = settled(Residual())
    inputs = [torch.randn(1, 3, 33, 34) for _ in range(6)]
    fast = recorded_of(model, inputs[0])
    with torch.no_grad():
        expected = [fast(x) for x in inputs]

    def many(n: int) -> bool:
        with torch.no_grad():
            return all(torch.equal(fast(inputs[n]), expected[n]) for _ in range(40))

    with ThreadPoolExecutor(6) as callers:
        assert all(callers.map(many, range(6)))


def test_results_are_the_callers():
    x = torch.randn(1, 6, 9, 10)
    fast = recorded_of(settled(Inverted()), x)
    with torch.no_grad():
        one = fast(x)
        kept = one.clone()
        other = fast(torch.randn_like(x))
    assert torch.equal(one, kept)
    assert one.data_ptr() != other.data_ptr()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_infinite_numbers_stay_where_they_belong(value):
    model = settled_small(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)))
    x = torch.randn(1, 16, 30, 31)
    fast = recorded_of(model, x)
    x[0, 3, 11, 12] = value
    with torch.no_grad():
        got, expected = fast(x), model(x)
    assert torch.equal(got.isfinite(), expected.isfinite())
    torch.testing.assert_close(got[expected.isfinite()], expected[expected.isfinite()], rtol=1e-4, atol=1e-4)
    assert_same(fast, model, torch.randn(1, 16, 30, 31))


def test_hooks_are_called():
    x = torch.randn(1, 6, 9, 10)
    fast = recorded_of(settled(Inverted()), x)
    seen = []
    handle = fast.depth.register_forward_hook(lambda module, given, output: seen.append(output.shape))
    with torch.no_grad():
        fast(x)
        handle.remove()
        fast(x)
        assert seen == [(1, 24, 9, 10)]
        fast.register_forward_hook(lambda module, given, output: seen.append(output.shape))
        fast(x)
    assert seen[1:] == [(1, 6, 9, 10)]


def test_gradients_flow():
    model = settled(Inverted())
    x = torch.randn(1, 6, 9, 10)
    fast = recorded_of(model, x)
    for one in (fast, model):
        x.grad = None
        x.requires_grad_(True)
        one(x).square().sum().backward()
        if one is fast:
            got = x.grad
    torch.testing.assert_close(got, x.grad, rtol=1e-4, atol=1e-4)
    x.requires_grad_(False)
    fast.expand.weight.requires_grad_(True)
    fast(x).sum().backward()
    assert fast.expand.weight.grad is not None


@pytest.mark.parametrize("way", ["copied", "pickled"])
def test_copies_have_memory_of_their_own(way):
    x = torch.randn(1, 6, 9, 10)
    fast = recorded_of(settled(Inverted()), x)
    other = copy.deepcopy(fast) if way == "copied" else pickle.loads(pickle.dumps(fast))
    with torch.no_grad():
        before = fast(x)
        other.expand.weight.mul_(3)
        changed = [other(x) for _ in range(3)]
        torch.testing.assert_close(fast(x), before)
        for one in changed:
            torch.testing.assert_close(one, other.forward(x), rtol=1e-5, atol=1e-5)
            assert not torch.allclose(one, before, rtol=1e-2)


def test_views_of_any_strides():
    model = settled(Residual())
    wide = torch.randn(2, 3, 40, 41)
    views = [wide[:, :, ::2, 1:38:2], wide.flip(3)[..., 3:30], wide[:1].expand(3, 3, 40, 41), wide.mT]
    fast = ck.nn.accelerate(model)
    for view in views:
        for _ in range(3):
            assert_same(fast, model, view)


def test_without_a_batch_axis_and_with_other_arguments():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(2, 3, 3, padding=1)

        def forward(self, x, by=2.0):
            return functional.relu(self.layer(x)) * by

    model = settled(Scaled())
    fast = ck.nn.accelerate(model)
    x = torch.randn(2, 2, 7, 8)
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(fast(x), model(x), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(fast(x, 3.0), model(x, 3.0), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(fast(x, by=4.0), model(x, by=4.0), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(fast(x[0]), model(x[0]), rtol=1e-5, atol=1e-5)


def test_recorded_models_compile_and_export():
    model = settled(Inverted())
    x = torch.randn(2, 6, 9, 10)
    fast = recorded_of(model, x)
    expected = model(x)
    torch._dynamo.reset()
    compiled = torch.compile(fast, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.export.export(fast, (x,)).module()(x), expected, rtol=1e-4, atol=1e-4)
    torch._dynamo.reset()


def test_inference_mode():
    model = settled(Residual())
    x = torch.randn(1, 3, 17, 18)
    fast = ck.nn.accelerate(model)
    with torch.inference_mode():
        inside = [fast(x) for _ in range(4)]
    torch.testing.assert_close(inside[0], inside[-1], rtol=1e-5, atol=1e-5)
    assert_same(fast, model, x)
