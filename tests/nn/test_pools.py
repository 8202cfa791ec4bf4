"""Max poolings that learn: torch's numbers and gradients, in every layout; a byte an output is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import convkit as ck

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
CASES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 11), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 5, 11, 12), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 1, 6, 7), {"kernel_size": 2}),
    ((2, 19, 11, 12), {"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 0)}),
    ((1, 80, 9, 8), {"kernel_size": 3, "stride": 1, "padding": 1}),
    ((1, 16, 7, 9), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ((1, 3, 40, 41), {"kernel_size": 16, "stride": 5}),
    ((2, 70, 5, 6, 7), {"kernel_size": 2, "stride": 1, "padding": 1}),
]


def pair(x: torch.Tensor, **given: Any) -> tuple[nn.Module, nn.Module]:
    name = f"MaxPool{x.ndim - 2}d"
    return getattr(ck.nn, name)(**given), getattr(nn, name)(**given)


@pytest.mark.parametrize(
    ("shape", "given", "layout"),
    [(*case, layout) for case in CASES for layout in ("first", "last") if layout == "first" or len(case[0]) in LAST],
    ids=str,
)
@pytest.mark.parametrize("numbers", ["distinct", "equal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_torch(shape: tuple[int, ...], given: dict[str, Any], numbers: str, layout: str, dtype: Any) -> None:
    torch.manual_seed(0)
    x = (torch.randn(shape) if numbers == "distinct" else torch.randint(0, 3, shape)).to(dtype)
    if layout == "last":
        x = x.contiguous(memory_format=LAST[len(shape)])
    ours, theirs = pair(x, **given)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, z = ours(a), theirs(b)
    assert "Kept" in type(y.grad_fn).__name__
    g = torch.randn_like(z)
    y.backward(g)
    z.backward(g)
    assert torch.equal(y, z)
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-6)
    if shape[1] > 1:
        assert (y.stride(), a.grad.stride()) == (z.stride(), b.grad.stride())


@pytest.mark.parametrize("layout", ["first", "last"])
def test_what_is_not_a_number(layout: str) -> None:
    """Of several NaNs the last has the gradient, as torch has it; of nothing but -infinities the first."""
    x = torch.randn(1, 3, 6, 8)
    x[0, 1, 2, 3] = x[0, 1, 3, 2] = float("nan")
    x[0, 2, :2, :2] = -float("inf")
    if layout == "last":
        x = x.contiguous(memory_format=torch.channels_last)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, z = ck.nn.MaxPool2d(2)(a), nn.MaxPool2d(2)(b)
    y.backward(torch.ones_like(y))
    z.backward(torch.ones_like(z))
    torch.testing.assert_close(y, z, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(a.grad, b.grad)


def test_gradients_may_lie_otherwise() -> None:
    x = torch.randn(2, 5, 6, 8).contiguous(memory_format=torch.channels_last)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    g = torch.randn(2, 5, 3, 4)
    ck.nn.MaxPool2d(2)(a).backward(g)
    nn.MaxPool2d(2)(b).backward(g)
    assert torch.equal(a.grad, b.grad)


def test_gradients_of_gradients() -> None:
    x = torch.randn(2, 3, 6, 8, requires_grad=True)

    def twice(pool: nn.Module) -> torch.Tensor:
        (first,) = torch.autograd.grad((pool(x) ** 3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first**2).sum(), x)
        return second

    torch.testing.assert_close(twice(ck.nn.MaxPool2d(3, 2, 1)), twice(nn.MaxPool2d(3, 2, 1)))


def test_what_torch_does_is_left_to_it() -> None:
    x = torch.randn(2, 3, 9, 9, requires_grad=True)
    spread = ck.nn.MaxPool2d(2, dilation=2)
    assert torch.equal(spread(x), nn.MaxPool2d(2, dilation=2)(x))
    values, places = ck.nn.MaxPool2d(2, return_indices=True)(x)
    assert places.dtype is torch.int64
    assert torch.equal(ck.nn.MaxPool2d(2)(x[0]), nn.MaxPool2d(2)(x[0]))
    with torch.no_grad():
        assert torch.equal(ck.nn.MaxPool2d(2)(x), values)
    with pytest.raises(RuntimeError, match="pad should be at most half"):
        ck.nn.MaxPool2d(2, padding=2)(x)
    large = torch.randn(1, 2, 40, 40, requires_grad=True)  # a byte does not tell as many apart
    y = ck.nn.MaxPool2d(17)(large)
    assert torch.equal(y, nn.MaxPool2d(17)(large))


def test_threads_do_not_change_bits() -> None:
    x = torch.randn(4, 20, 60, 60).contiguous(memory_format=torch.channels_last)
    found, before = [], ck.num_threads()
    try:
        for threads in (1, 2):
            ck.set_num_threads(threads)
            a = x.clone().requires_grad_()
            y = ck.nn.MaxPool2d(3, 2, 1)(a)
            y.backward(y.detach())
            found.append((y, a.grad))
    finally:
        ck.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
