"""Batch norms that learn: torch's numbers in float64, in every layout, with what follows them."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import convkit as ck
from convkit.nn.normalisation import NORMS, _Normalised

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
RANKS = {2: 1, 3: 1, 4: 2, 5: 3}
SHAPES = [
    (5, 3), (2, 1), (4, 5, 7), (3, 1, 6, 5), (3, 17, 5, 6), (2, 33, 1, 1), (2, 64, 9, 8), (1, 2, 3, 5), (2, 3, 4, 5, 6),
]  # fmt: skip


def made(shape: tuple[int, ...], **given: Any) -> tuple[nn.Module, nn.Module]:
    """Ours, and torch's in float64, with the same weights."""
    torch.manual_seed(0)
    name = f"BatchNorm{RANKS[len(shape)]}d"
    ours, theirs = getattr(ck.nn, name)(shape[1], **given), getattr(nn, name)(shape[1], **given)
    for weights in ours.parameters():
        nn.init.normal_(weights)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs.double()


def compared(
    shape: tuple[int, ...], activation: str | None = None, add: str = "none", layout: str = "first", **given: Any
) -> None:
    """Outputs, gradients and statistics of two steps."""
    ours, theirs = made(shape, **given)
    x, other, g = (torch.randn(shape) * 2 + 1 for _ in range(3))
    if layout == "last":
        x, other, g = (one.contiguous(memory_format=LAST[len(shape)]) for one in (x, other, g))
    wide_x, wide_other = x.double().requires_grad_(), other.double().requires_grad_()
    x.requires_grad_()
    other.requires_grad_()
    for _ in range(2):
        y = ours(x, other if add == "array" else None, activation)
        z = theirs(wide_x)
        z = z + wide_other if add == "array" else z
        z = getattr(functional, activation)(z) if activation else z
    assert isinstance(y.grad_fn, torch.autograd.function.BackwardCFunction)
    y.backward(g)
    z.backward(g.double())
    torch.testing.assert_close(y.double(), z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x.grad.double(), wide_x.grad, rtol=1e-4, atol=2e-5)
    if add == "array":
        torch.testing.assert_close(other.grad.double(), wide_other.grad, rtol=0, atol=0)
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad.double(), two.grad, rtol=1e-4, atol=1e-4)
    for (name, one), two in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one.double(), two.double(), rtol=1e-5, atol=1e-6, msg=name)
    assert y.stride() == x.stride()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("add", ["none", "array"])
def test_as_torch_in_float64(shape: tuple[int, ...], activation: str | None, add: str) -> None:
    compared(shape, activation, add)
    if len(shape) in LAST:
        compared(shape, activation, add, "last")


@pytest.mark.parametrize(
    "given",
    [{"affine": False}, {"momentum": None}, {"track_running_stats": False}, {"momentum": 0.0}, {"eps": 0.3}],
    ids=str,
)
def test_torchs_options(given: dict[str, Any]) -> None:
    compared((3, 5, 4, 6), "relu", "array", **given)


def test_layouts_may_differ() -> None:
    ours, theirs = made((2, 5, 3, 4))
    x = torch.randn(2, 5, 3, 4).contiguous(memory_format=torch.channels_last)
    other, g = torch.randn(2, 5, 3, 4), torch.randn(1).expand(2, 5, 3, 4)
    wide, narrow = x.double().requires_grad_(), x.clone().requires_grad_()
    ours(narrow, other, "relu").backward(g)
    functional.relu(theirs(wide) + other).backward(g.double())
    torch.testing.assert_close(narrow.grad.double(), wide.grad, rtol=1e-4, atol=1e-5)


def test_what_torch_does_is_left_to_it() -> None:
    """Other types, spread memory, evaluation."""
    ours, _ = made((2, 4, 5, 6))
    theirs = nn.BatchNorm2d(4)
    theirs.load_state_dict(ours.state_dict())
    for x in (torch.randn(2, 4, 5, 6)[:, :, ::2], torch.randn(2, 4, 5, 6).expand(2, 4, 5, 6)[:, :, :, :3]):
        assert torch.equal(ours(x, activation="relu"), functional.relu(theirs(x)))
    ours.eval()
    theirs.eval()
    x = torch.randn(1, 4, 1, 1)
    assert torch.equal(ours(x, x), theirs(x) + x)
    assert ours.double()(x.double()).dtype is torch.float64


def test_one_number_a_channel_is_refused_as_by_torch() -> None:
    for shape in ((1, 3), (1, 3, 1, 1)):
        ours, theirs = made(shape)
        with pytest.raises(ValueError, match="more than 1 value per channel") as ours_said:
            ours(torch.randn(shape))
        with pytest.raises(ValueError, match="more than 1 value per channel") as theirs_said:
            theirs(torch.randn(shape).double())
        assert str(ours_said.value) == str(theirs_said.value)
    with pytest.raises(ValueError, match="expected 4D input"):
        made((2, 3, 4, 5))[0](torch.randn(2, 3, 4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_channel(value: float) -> None:
    ours, _ = made((2, 3, 4, 5))
    theirs = nn.BatchNorm2d(3)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 4, 5)
    x[1, 1, 2, 3] = value
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, z = ours(a, activation="relu"), functional.relu(theirs(b))
    y.sum().backward()
    z.sum().backward()
    for got, expected in ((y, z), (a.grad, b.grad), (ours.running_mean, theirs.running_mean)):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_gradients_of_gradients() -> None:
    ours, theirs = made((2, 3, 4, 5))
    ours.double()
    x, other = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randn(2, 3, 4, 5, requires_grad=True)
    ours.float()

    def twice(norm: nn.Module, x: torch.Tensor, other: torch.Tensor, fused: str) -> list[torch.Tensor]:
        y = norm(x, other, "relu") if fused == "fused" else functional.relu(norm(x) + other)
        inputs = (x, other, norm.weight)
        first = torch.autograd.grad((y**3).sum(), inputs, create_graph=True)
        return [*first, *torch.autograd.grad(sum((one**2).sum() for one in first), inputs)]

    wide = [one.detach().double().requires_grad_() for one in (x, other)]
    for got, expected in zip(
        twice(ours, x, other, "fused"), twice(theirs, *wide, "apart"), strict=True
    ):  # fmt: skip
        torch.testing.assert_close(got.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layout", ["first", "last"])
def test_threads_do_not_change_bits(layout: str) -> None:
    torch.manual_seed(0)
    x, other = torch.randn(8, 24, 40, 41), torch.randn(8, 24, 40, 41)
    if layout == "last":
        x, other = x.contiguous(memory_format=LAST[4]), other.contiguous(memory_format=LAST[4])
    found = []
    before = ck.num_threads()
    try:
        for threads in (1, 2):
            ck.set_num_threads(threads)
            norm, a = ck.nn.BatchNorm2d(24), x.clone().requires_grad_()
            y = norm(a, other, "relu")
            y.backward(other)
            found.append([y, a.grad, norm.weight.grad, norm.bias.grad, norm.running_var])
    finally:
        ck.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_hooks_and_copies() -> None:
    norm, seen = ck.nn.BatchNorm2d(3), []
    norm.register_forward_hook(lambda module, given, out: seen.append(tuple(out.shape)))
    again = copy.deepcopy(norm)
    again(torch.randn(2, 3, 4, 5))
    assert seen == [(2, 3, 4, 5)]
    assert again.running_mean is not norm.running_mean


def test_written_to_afterwards_is_noticed() -> None:
    """With an addition and an activation the result itself is kept for the way back."""
    norm, x = ck.nn.BatchNorm2d(3), torch.randn(2, 3, 4, 5, requires_grad=True)
    y = norm(x, torch.randn(2, 3, 4, 5), "relu")
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_in_torchs_compilers_norms_are_torchs() -> None:
    norm = ck.nn.BatchNorm2d(3).eval()
    program = torch.export.export(norm, (torch.randn(2, 3, 4, 5),))
    assert any("batch_norm" in str(node.target) for node in program.graph.nodes)
    assert type(norm) in NORMS
    assert issubclass(_Normalised, torch.autograd.Function)


def test_statistics_beyond_the_type_overflow_without_a_word() -> None:
    """As torch's do: a training that diverges is told of by its loss."""
    ours, theirs = ck.nn.BatchNorm2d(2).train(), nn.BatchNorm2d(2).train()
    x = torch.full((2, 2, 3, 4), 3e38)
    x[0] = -3e38
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours(x), theirs(x)
    assert torch.isinf(ours.running_var).all()
