"""Layers under `torch.func`, forward-mode differentiation and `torch.autocast`: what torch's own layers give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

import convkit as ck
from convkit import nn as knn

# Torch's own derivatives along directions are compiled by what it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

functional = torch.nn.functional
Layer = Callable[..., torch.Tensor]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + sum(shape)))


LAYERS: dict[str, tuple[Layer, Layer]] = {
    "padded": (lambda *t: ck.conv(*t, padding=1), lambda *t: functional.conv2d(*t, padding=1)),
    "strided": (
        lambda *t: ck.conv(*t, stride=2, padding=(1, 2), activation="tanh"),
        lambda *t: torch.tanh(functional.conv2d(*t, stride=2, padding=(1, 2))),
    ),
    "transposed": (
        lambda x, w, b: ck.conv_transpose(x, w.transpose(0, 1), b, stride=2),
        lambda x, w, b: functional.conv_transpose2d(x, w.transpose(0, 1), b, stride=2),
    ),
    "grouped": (
        lambda x, w, b: ck.conv(torch.cat((x, x), 1), torch.cat((w, w)), torch.cat((b, b)), groups=2),
        lambda x, w, b: functional.conv2d(torch.cat((x, x), 1), torch.cat((w, w)), torch.cat((b, b)), groups=2),
    ),
}
EVERY = pytest.mark.parametrize("name", LAYERS)


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return random(2, 3, 6, 7), random(4, 3, 3, 2), random(4)


def same(ours: Any, theirs: Any) -> None:
    if isinstance(ours, tuple):
        for pair in zip(ours, theirs, strict=True):
            same(*pair)
        return
    assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@EVERY
def test_gradients_to_any_order(name: str) -> None:
    given = tensors()

    def twice(layer: Layer) -> Any:
        inner = lambda x, w, b: grad(lambda x: layer(x, w, b).pow(3).sum())(x).pow(2).sum()  # noqa: E731
        return grad(inner, (0, 1, 2))(*given)

    ours, theirs = LAYERS[name]
    same(*(grad(lambda *t: layer(*t).pow(2).sum(), (0, 1, 2))(*given) for layer in (ours, theirs)))  # noqa: B023
    same(twice(ours), twice(theirs))


@EVERY
def test_directions(name: str) -> None:
    given, along = tensors(), tuple(one + 1 for one in tensors())
    same(*(jvp(layer, given, along) for layer in LAYERS[name]))
    for layer in LAYERS[name][:1]:
        with forward_ad.dual_level():
            dual = [forward_ad.make_dual(one, to) for one, to in zip(given, along, strict=True)]
            tangent = forward_ad.unpack_dual(layer(*dual)).tangent
    assert tangent is not None
    same(tangent, jvp(LAYERS[name][1], given, along)[1])


@EVERY
@pytest.mark.parametrize("dims", [(0, None, None), (None, 0, None), (1, 2, None), (0, 0, 0), (None, None, 0)])
def test_batches_of_layers(name: str, dims: tuple[int | None, ...]) -> None:
    given = tuple(
        one if dim is None else random(*one.shape[:dim], 5, *one.shape[dim:])
        for one, dim in zip(tensors(), dims, strict=True)
    )
    same(*(vmap(layer, dims)(*given) for layer in LAYERS[name]))


@EVERY
def test_gradients_of_single_samples(name: str) -> None:
    x, w, b = tensors()

    def single(layer: Layer) -> Any:
        return vmap(grad(lambda w, b, x: layer(x[None], w, b).pow(2).sum(), (0, 1)), (None, None, 0))(w, b, x)

    same(*(single(layer) for layer in LAYERS[name]))


def test_jacobians_both_ways() -> None:
    x, w, b = random(1, 2, 4, 3), random(2, 2, 2, 2), random(2)
    wished = torch.autograd.functional.jacobian(lambda w: functional.conv2d(x, w, b), w)
    for jacobian in (jacrev, jacfwd):
        same(jacobian(lambda w: ck.conv(x, w, b))(w), wished)
    same(*(hessian(lambda w: layer(x, w, b).pow(3).sum())(w) for layer in (ck.conv, functional.conv2d)))  # noqa: B023


def test_the_gradients_are_verbs_that_can_be_transformed() -> None:
    x, w, _ = tensors()
    g = random(5, 2, 4, 6, 8)
    exact = vmap(lambda one: torch.nn.grad.conv2d_input(x.shape, w, one, padding=(1, 1)))(g)
    same(vmap(lambda one: ck.conv_input_gradient(one, w, x.shape, padding=1))(g), exact)
    exact = vmap(lambda one: torch.nn.grad.conv2d_weight(x, w.shape, one, padding=(1, 1)))(g)
    same(vmap(lambda one: ck.conv_weight_gradient(one, x, w.shape, padding=1))(g), exact)


def test_a_fill_has_no_part_in_directions() -> None:
    x, w, _ = tensors()
    call = lambda x, w: ck.conv(x, w, padding=1, boundary="constant", fill=2.0)  # noqa: E731
    wide = lambda x, w: functional.conv2d(functional.pad(x, [1] * 4, value=2.0), w)  # noqa: E731
    same(jvp(call, (x, w), (x + 1, w - 2)), jvp(wide, (x, w), (x + 1, w - 2)))
    same(*(vmap(one, (None, 0))(x, random(3, *w.shape)) for one in (call, wide)))


def test_modules_without_state_of_their_own() -> None:
    layer = knn.Conv2d(3, 4, 3, activation="relu").double()
    x, parameters = random(2, 3, 6, 7), dict(layer.named_parameters())
    ours = grad(lambda p: functional_call(layer, p, (x,)).pow(2).sum())(parameters)
    theirs = grad(lambda p: functional.conv2d(x, p["weight"], p["bias"]).relu().pow(2).sum())(parameters)
    assert {name: torch.allclose(ours[name], theirs[name]) for name in theirs} == {"weight": True, "bias": True}


# ------------------------------------------------------------------------------------------------------- autocast


def lowered() -> Any:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def test_autocast_does_what_it_does_for_torch() -> None:
    x, w, b = (one.float() for one in tensors())

    def trained(layer: Layer) -> list[torch.Tensor]:
        own = [one.clone().requires_grad_() for one in (x, w, b)]
        with lowered():
            out = layer(*own)
        out.float().pow(2).sum().backward()
        return [out.detach(), *(one.grad for one in own if one.grad is not None)]

    for ours, theirs in zip(*(trained(layer) for layer in LAYERS["padded"]), strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.allclose(ours.float(), theirs.float(), rtol=2e-2, atol=2e-2)
    with lowered():
        assert ck.conv(x.double(), w.double()).dtype == torch.float64
        assert ck.conv_transpose(x, w.transpose(0, 1)).dtype == torch.bfloat16
        assert ck.conv(x, w, add=torch.ones(2, 4, 4, 6), activation="relu").dtype == torch.bfloat16
        assert torch.compile(lambda x, w: ck.conv(x, w), backend="eager")(x, w).dtype == torch.bfloat16
        assert LAYERS["padded"][0](x, w, b).dtype == torch.bfloat16
    assert ck.conv(x, w).dtype == torch.float32


def test_the_operator_is_cast_as_well() -> None:
    x, w, _ = (one.float() for one in tensors())
    spelled = ([1, 1], [0] * 4, [], [1, 1], 1, ["zero"] * 4, 0, "correlation", "", "raise", "norm", "auto")
    with lowered():
        assert torch.ops.convkit.conv(x, w, None, *spelled).dtype == torch.bfloat16
        assert torch.ops.convkit.conv_fused(x, w, None, None, "relu", *spelled).dtype == torch.bfloat16


def test_weights_that_change_are_cast_again() -> None:
    x, w, _ = (one.float() for one in tensors())
    with lowered(), torch.no_grad():
        first = ck.conv(x, w)
        assert torch.equal(first, ck.conv(x, w))
        w.mul_(2)
        assert torch.equal(ck.conv(x, w), 2 * first)


def test_accelerated_models_under_autocast_and_in_bfloat16() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 24, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 20, 3, padding=1)).eval()
    x, fast = torch.randn(1, 3, 20, 22), knn.accelerate(model)
    with lowered(), torch.no_grad():
        exact = model(x)
        for _ in range(3):
            found = fast(x)
            assert found.dtype == exact.dtype == torch.bfloat16
            assert torch.allclose(found.float(), exact.float(), rtol=2e-2, atol=2e-2)
    half = model.bfloat16()
    fast = knn.accelerate(half)
    with torch.no_grad():
        exact = half(x.bfloat16())
        for _ in range(3):
            found = fast(x.bfloat16())
            assert found.dtype == torch.bfloat16
            assert torch.allclose(found.float(), exact.float(), rtol=2e-2, atol=2e-2)
