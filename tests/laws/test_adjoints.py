"""``<Ax, y> == <x, A*y>``, the gradients, and torch's own checks of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

import convkit as ck
from tests.oracle.strategies import Case, array_cases, lattice, network_cases, random_array


def inner(a: np.ndarray, b: np.ndarray) -> Any:
    return (a * np.conj(b)).sum()


@lattice(200)
@given(array_cases(dtypes=(("int64", "int64"), ("float64", "float64"), ("complex128", "complex128"))))
def test_adjoint_identity(case: Case) -> None:
    convolver = ck.Convolver(case.k, case.operation, case.mode, **{**case.options, "fill": 0})
    out = convolver.apply(case.x)
    y = random_array(out.shape, case.x.dtype.name, 1)
    back = convolver.adjoint(y, case.x.shape)
    assert back.shape == case.x.shape
    left, right = inner(out, y), inner(case.x, back)
    if case.x.dtype.kind == "i":
        assert left == right
    else:
        scale = np.linalg.norm(out) * np.linalg.norm(y) + np.linalg.norm(case.x) * np.linalg.norm(back)
        assert abs(left - right) <= 1e-12 * (scale + 1)


@lattice(120)
@given(network_cases(dtype="int64"))
def test_conv_and_its_gradients_are_adjoint(case: Case) -> None:
    options = {**case.options, "fill": 0}
    out = ck.conv(case.x, case.k, **options)
    g = random_array(out.shape, "int64", 2)
    value = inner(out, g)
    assert inner(case.x, ck.conv_input_gradient(g, case.k, case.x.shape, **options)) == value
    assert inner(case.k, ck.conv_weight_gradient(g, case.x, case.k.shape, **options)) == value


@lattice(120)
@given(network_cases(dtype="int64", direction="transposed"))
def test_conv_transpose_is_the_adjoint_of_conv(case: Case) -> None:
    spare = case.options.pop("output_padding")
    strides = case.options["stride"]
    strides = strides if isinstance(strides, tuple) else (strides,) * len(spare)
    spare = tuple(min(one, stride - 1) for one, stride in zip(spare, strides))
    out = ck.conv_transpose(case.x, case.k, output_padding=spare, **case.options)
    y = random_array(out.shape, "int64", 3)
    assert inner(out, y) == inner(case.x, ck.conv(y, case.k, **case.options))
    assert np.array_equal(out, ck.conv_input_gradient(case.x, case.k, out.shape, **case.options))


@lattice(25)
@given(network_cases(dtype="float64"))
def test_gradients_by_finite_differences(case: Case) -> None:
    """The operator is bilinear, so a central difference is exact but for rounding."""
    out = ck.conv(case.x, case.k, **case.options)
    g = random_array(out.shape, "float64", 4)
    dx = ck.conv_input_gradient(g, case.k, case.x.shape, **{n: v for n, v in case.options.items() if n != "fill"})
    dw = ck.conv_weight_gradient(g, case.x, case.k.shape, **case.options)
    source = np.random.default_rng(5)
    for array, gradient in ((case.x, dx), (case.k, dw)):
        for _ in range(3):
            index = tuple(source.integers(0, n) for n in array.shape)
            kept, values = array[index], []
            for step in (0.5, -0.5):
                array[index] = kept + step
                values.append(inner(ck.conv(case.x, case.k, **case.options), g))
            array[index] = kept
            scale = 1 + np.abs(g).sum() * (np.abs(case.x).sum() + np.abs(case.k).sum())
            assert abs(values[0] - values[1] - gradient[index]) <= 1e-6 * max(1, abs(gradient[index]))
            assert abs(values[0] - values[1] - gradient[index]) <= 1e-13 * scale * 10


def _double(shape: tuple[int, ...], seed: int, complex_: bool = False) -> torch.Tensor:
    return torch.tensor(random_array(shape, "complex128" if complex_ else "float64", seed), requires_grad=True)


ARRAY_CALLS = {
    "full": ((5,), (4,), {"mode": "full"}),
    "same even reflect": ((6,), (4,), {"mode": "same", "boundary": "reflect"}),
    "valid strided": ((4, 7), (2, 3), {"mode": "valid", "stride": (1, 2)}),
    "same dilated wrap and edge": (
        (4, 5),
        (2, 3),
        {"mode": "same", "boundary": ("wrap", "edge"), "dilation": (1, 2)},
    ),
    "constant with an anchor": (
        (4,),
        (3,),
        {"mode": "same", "boundary": "constant", "fill": 2.0, "anchor": 0},
    ),
    "long symmetric": ((3,), (8,), {"mode": "same", "boundary": "symmetric"}),
    "axes": ((2, 5), (3,), {"mode": "same", "axes": 1}),
    "axes with a kernel a row": ((2, 5), (2, 3), {"mode": "full", "axes": (1,)}),
}


@pytest.mark.parametrize("name", ARRAY_CALLS)
@pytest.mark.parametrize("verb", ["convolve", "correlate"])
@pytest.mark.parametrize("number", ["real", "complex"])
def test_torch_gradcheck_of_arrays(name: str, verb: str, number: str) -> None:
    shape, kernel, options = ARRAY_CALLS[name]
    inputs = _double(shape, 6, number == "complex"), _double(kernel, 7, number == "complex")
    call = lambda x, k: getattr(ck, verb)(x, k, **options)  # noqa: E731
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


NETWORK_CALLS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], int, dict[str, Any]]] = {
    "1d": ("conv", (2, 2, 5), (3, 2, 4), 3, {"padding": 1}),
    "2d strided groups": (
        "conv",
        (1, 4, 4, 5),
        (2, 2, 2, 3),
        2,
        {"stride": (2, 1), "groups": 2, "padding": "same"},
    ),
    "2d wrap flipped": (
        "conv",
        (1, 1, 4, 3),
        (2, 1, 3, 2),
        2,
        {"padding": ((1, 2), (0, 1)), "boundary": ("wrap", ("reflect", "edge")), "operation": "convolution"},
    ),
    "3d dilated": ("conv", (1, 1, 3, 2, 4), (1, 1, 2, 1, 2), 1, {"dilation": (1, 1, 2)}),
    "transposed": (
        "conv_transpose",
        (1, 2, 3),
        (2, 2, 4),
        2,
        {"stride": 2, "padding": 1, "output_padding": 1},
    ),
    "transposed groups": ("conv_transpose", (1, 4, 2, 3), (4, 1, 2, 3), 2, {"stride": (1, 2), "groups": 2}),
}


@pytest.mark.parametrize("name", NETWORK_CALLS)
def test_torch_gradcheck_of_networks(name: str) -> None:
    verb, shape, weights, outs, options = NETWORK_CALLS[name]
    inputs = _double(shape, 8), _double(weights, 9), _double((outs,), 10)
    call = lambda x, w, b: getattr(ck, verb)(x, w, b, **options)  # noqa: E731
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


@pytest.mark.parametrize("name", ["conv_input_gradient", "conv_weight_gradient"])
def test_torch_gradcheck_of_the_gradients(name: str) -> None:
    g = _double((1, 3, 4, 3), 11)
    if name == "conv_input_gradient":
        other, shape = _double((3, 2, 2, 3), 12), (1, 2, 5, 5)
    else:
        other, shape = _double((1, 2, 5, 5), 13), (3, 2, 2, 3)
    assert torch.autograd.gradcheck(lambda a, b: getattr(ck, name)(a, b, shape), (g, other))


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_torch_gradcheck_of_pooling(kind: str) -> None:
    x = _double((1, 2, 5, 6), 14)
    call = lambda x: ck.pool(x, (2, 3), kind=kind, stride=2, padding=1, ceil=True)  # noqa: E731
    assert torch.autograd.gradcheck(call, (x,))
    theirs = (torch.nn.functional.max_pool2d if kind == "max" else torch.nn.functional.avg_pool2d)(
        x, (2, 3), 2, 1, ceil_mode=True
    )
    torch.testing.assert_close(call(x), theirs)


def test_weights_are_differentiable() -> None:
    x, k = _double((6,), 15), _double((3,), 16)
    w = torch.tensor([0.9, 0.5, 0.25, 0.75, 0.8, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, k, w: ck.convolve(x, k, "same", weights=w), (x, k, w))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_tensors_in_tensors_out(dtype: torch.dtype) -> None:
    x, k = torch.arange(6).to(dtype), torch.tensor([1, 2, 4, 8]).to(dtype)
    ours = ck.convolve(x, k, "same")
    assert isinstance(ours, torch.Tensor)
    assert ours.dtype == dtype
    assert ours.numpy().tolist() == np.convolve(x.numpy(), k.numpy(), "same").tolist()


def test_tensors_agree_with_torch_in_value_and_gradient() -> None:
    ours = [_double((2, 4, 9, 8), 17), _double((6, 2, 3, 4), 18), _double((6,), 19)]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    options = {"stride": 2, "padding": 1, "groups": 2}
    one, other = ck.conv(*ours, **options), torch.nn.functional.conv2d(*theirs, **options)
    torch.testing.assert_close(one, other)
    (one**2).sum().backward()
    (other**2).sum().backward()
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_accumulates_in_float32_and_rounds_once(dtype: torch.dtype) -> None:
    x = torch.tensor(random_array((1, 3, 40), "float32", 20)).to(dtype)
    w = torch.tensor(random_array((2, 3, 17), "float32", 21)).to(dtype)
    ours = ck.conv(x, w)
    assert ours.dtype == dtype
    exact = torch.nn.functional.conv1d(x.double(), w.double())
    spacing = torch.finfo(dtype).eps * exact.abs() / 2
    assert torch.all((ours.double() - exact).abs() <= spacing * 1.01 + 1e-5)
