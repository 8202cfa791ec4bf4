"""Torch's operators of convkit: derivatives of every order, compilers, memory formats, threads, refusals."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck
from torch.nn import functional

import convkit as ck
from convkit.arrays.torch_threads import team
from convkit.codegen import pool
from convkit.errors import ConvError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

FORWARD = [
    ((2, 4, 7), (6, 2, 3), {"stride": 2, "padding": 3, "groups": 2}),
    ((1, 2, 5, 4), (3, 2, 3, 2), {"stride": (1, 2), "padding": ((1, 0), (0, 2)), "dilation": (1, 2)}),
    ((2, 3, 4, 5), (2, 3, 2, 3), {"padding": "same", "stride": (2, 1), "boundary": "reflect"}),
    ((1, 1, 3, 4), (2, 1, 2, 2), {"padding": 4, "boundary": (("wrap", "edge"), "symmetric")}),
    ((1, 2, 3, 4), (2, 2, 2, 3), {"padding": 1, "boundary": "constant", "fill": 1.5, "operation": "convolution"}),
    ((1, 1, 2, 3, 3), (2, 1, 2, 1, 2), {"padding": (1, 0, 1)}),
    ((1, 1, 2, 2, 3, 2), (1, 1, 2, 1, 2, 2), {"padding": 1}),
]
TRANSPOSED = [
    ((2, 4, 4), (4, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    ((1, 2, 3, 2), (2, 3, 2, 3), {"stride": (2, 1), "dilation": (1, 2)}),
]
SPELLED = ([2, 1], [1, 0, 0, 2], [0, 0], [1, 1], 1, ["zero"] * 4, 0, "correlation", "", "raise", "norm", "auto")


def tensors(x_shape, w_shape, channels, dtype=torch.float64, seed=0):
    source = torch.Generator().manual_seed(seed)
    made = (torch.randn(*shape, generator=source, dtype=dtype) for shape in (x_shape, w_shape, (channels,)))
    return tuple(one.requires_grad_() for one in made)


def cases():
    for x, w, options in FORWARD:
        yield ck.conv, x, w, w[0], options
    for x, w, options in TRANSPOSED:
        yield ck.conv_transpose, x, w, w[1] * options.get("groups", 1), options


@pytest.mark.parametrize(("verb", "x", "w", "channels", "options"), list(cases()))
def test_derivatives(verb, x, w, channels, options):
    arguments = tensors(x, w, channels)

    def layer(x, w, bias):
        return verb(x, w, bias, **options)

    assert gradcheck(layer, arguments)
    assert gradgradcheck(layer, arguments)
    by_numpy = verb(*(one.detach().numpy() for one in arguments), **options)
    np.testing.assert_array_equal(layer(*arguments).detach().numpy(), by_numpy)


def test_derivatives_of_the_gradient_verbs():
    x, w, _ = tensors((1, 2, 5, 4), (3, 2, 3, 2), 3)
    g = torch.randn(1, 3, 2, 5, dtype=torch.float64, requires_grad=True)
    options = {"stride": (2, 1), "padding": ((0, 1), (1, 1))}
    for check in (gradcheck, gradgradcheck):
        assert check(lambda g, w: ck.conv_input_gradient(g, w, x.shape, **options), (g, w))
        assert check(lambda g, x: ck.conv_weight_gradient(g, x, w.shape, **options), (g, x))


@pytest.mark.parametrize("activation", ["relu", "silu", "hardswish"])
def test_derivatives_of_an_epilogue(activation):
    x, w, bias = tensors((1, 2, 4, 5), (3, 2, 3, 2), 3)
    add = torch.randn(1, 3, 2, 4, dtype=torch.float64, requires_grad=True)

    def layer(x, w, bias, add):
        return ck.conv(x, w, bias, add=add, activation=activation)

    assert gradcheck(layer, (x, w, bias, add))
    with torch.no_grad():
        fused = layer(x, w, bias, add)
        apart = getattr(functional, activation)(functional.conv2d(x, w, bias) + add)
    torch.testing.assert_close(fused, apart, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(layer(x, w, bias, add).detach(), fused, rtol=1e-13, atol=1e-13)


def test_complex_derivatives():
    x = torch.randn(1, 2, 4, 3, dtype=torch.complex128, requires_grad=True)
    _, w, bias = tensors((1,), (2, 2, 2, 2), 2)
    assert gradcheck(lambda x, w, b: ck.conv(x, w, b, padding=1), (x, w, bias))
    wc = w.detach().to(torch.complex128).requires_grad_()
    assert gradcheck(lambda x, w: ck.conv(x, w), (x, wc))
    assert gradgradcheck(lambda x, w: ck.conv(x, w), (x, wc))


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_derivatives_of_pooling(kind):
    x = torch.randperm(60, dtype=torch.float64).reshape(1, 2, 5, 6).requires_grad_()

    def layer(x):
        return ck.pool(x, (3, 2), kind=kind, stride=(2, 1), padding=((1, 1), (0, 1)), ceil=True)

    assert gradcheck(layer, x)
    assert gradgradcheck(layer, x)
    np.testing.assert_array_equal(
        layer(x).detach().numpy(),
        ck.pool(x.detach().numpy(), (3, 2), kind=kind, stride=(2, 1), padding=((1, 1), (0, 1)), ceil=True),
    )


def test_operators_are_what_torch_asks_of_them():
    x, w, bias = tensors((2, 3, 6, 7), (4, 3, 2, 3), 4)
    ops = torch.ops.convkit
    g = torch.randn_like(ops.conv(x, w, bias, *SPELLED)).requires_grad_()
    for channels_last in (False, True):
        if channels_last:
            x, g = (one.detach().to(memory_format=torch.channels_last).requires_grad_() for one in (x, g))
        opcheck(ops.conv.default, (x, w, bias, *SPELLED))
        opcheck(ops.conv.default, (x, w, None, *SPELLED))
        opcheck(ops.conv_input_gradient.default, (g, w, x.shape, *SPELLED))
        opcheck(ops.conv_weight_gradient.default, (g, x, w.shape, torch.channels_last, *SPELLED))
        plain = [one.detach() for one in (x, w, bias, g)]
        opcheck(ops.conv_fused.default, (*plain, "relu", *SPELLED))
        pools = ((3, 2), (2, 1), (1, 1, 0, 0), "floor")
        opcheck(ops.max_pool.default, (x, *pools))
        opcheck(ops.max_pool_selected.default, (x.detach(), x, *pools))
        opcheck(ops.max_pool_gradient.default, (x.detach(), ops.max_pool(x, *pools).detach().requires_grad_(), *pools))
        opcheck(ops.mean_pool.default, (x, *pools))
        opcheck(ops.mean_pool_gradient.default, (ops.mean_pool(x, *pools).detach().requires_grad_(), x.shape, *pools))
    w = torch.randn(3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    out = ops.conv_transpose(x, w, None, *SPELLED)
    opcheck(ops.conv_transpose.default, (x, w, None, *SPELLED))
    opcheck(ops.conv_transpose_input_gradient.default, (out.detach().requires_grad_(), w, x.shape, *SPELLED))
    opcheck(
        ops.conv_transpose_weight_gradient.default,
        (out.detach().requires_grad_(), x, w.shape, torch.contiguous_format, *SPELLED),
    )


class Small(torch.nn.Module):
    """Every verb that has operators."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.randn(4, 2, 3, 3))
        self.up = torch.nn.Parameter(torch.randn(4, 2, 2, 2))

    def forward(self, x):
        first = ck.conv(x, self.w, stride=2, padding="same", boundary="reflect").relu()
        second = ck.pool(ck.pool(first, 2, stride=1), (1, 2), kind="mean", stride=1)
        return ck.conv_transpose(second, self.up, stride=2, activation="silu")


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compiled_without_breaks(backend, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    torch.manual_seed(1)
    model = Small()
    x = torch.randn(2, 2, 9, 10, requires_grad=True)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    results = []
    for run in (model, compiled):
        out = run(x)
        results.append((out.detach(), *torch.autograd.grad(out.square().sum(), (x, model.w, model.up))))
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    torch._dynamo.reset()


@pytest.mark.parametrize("strict", [False, True])
def test_exported(strict):
    torch._dynamo.reset()
    model = Small()
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("rows", min=6, max=64)}
    program = torch.export.export(model, (torch.randn(2, 2, 9, 10),), dynamic_shapes=(sizes,), strict=strict)
    named = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {"convkit.conv.default", "convkit.max_pool.default", "convkit.mean_pool.default"} <= named
    assert any(name.startswith("convkit.conv_transpose") for name in named)
    x = torch.randn(5, 2, 12, 10)
    torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("shape", [(2, 8, 9, 7), (1, 3, 4, 5, 6)])
def test_channels_last_stays(shape):
    rank = len(shape) - 2
    last = {2: torch.channels_last, 3: torch.channels_last_3d}[rank]
    x = torch.randn(shape).contiguous(memory_format=last)
    w = torch.randn(6, shape[1], *[3] * rank)
    theirs = getattr(functional, f"conv{rank}d")
    for one, other in ((x, w), (x.contiguous(), w.contiguous(memory_format=last)), (x.contiguous(), w)):
        expected, got = theirs(one, other, padding=1), ck.conv(one, other, padding=1)
        if rank == 2:  # torch does not keep to it in three dimensions
            assert got.stride() == expected.stride()
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert ck.conv(x, w).is_contiguous(memory_format=last)
        assert ck.pool(x, 2).is_contiguous(memory_format=last)
    x.requires_grad_()
    ck.conv(x, w).sum().backward()
    assert x.grad.is_contiguous(memory_format=last)


def test_what_is_computed_stands_in_the_tensors_own_memory(monkeypatch):
    """Nothing is copied on the way in or out: the arrays of the layer are the tensors' memory."""
    from convkit.verbs.tensor_layers import TensorLayer

    met = []
    forward = TensorLayer.forward

    def watch(self, ready, x, w, bias, add, activation, out):
        met.append((x.ctypes.data, x.strides, out.ctypes.data))
        return forward(self, ready, x, w, bias, add, activation, out)

    monkeypatch.setattr(TensorLayer, "forward", watch)
    w = torch.randn(4, 8, 3, 3)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(1, 8, 12, 10).contiguous(memory_format=layout)
        out = ck.conv(x, w)
        assert met.pop() == (x.data_ptr(), tuple(4 * stride for stride in x.stride()), out.data_ptr())


def test_bfloat16():
    x, w, bias = (torch.randn(shape).bfloat16() for shape in ((2, 8, 9, 7), (4, 8, 3, 3), (4,)))
    got = ck.conv(x, w, bias, padding=1)
    assert got.dtype is torch.bfloat16
    exact = functional.conv2d(x.double(), w.double(), bias.double(), padding=1)
    assert ((got.double() - exact).abs() <= 2.0**-8 * exact.abs() + 1e-4).all()
    x.requires_grad_()
    ck.conv(x, w).sum().backward()
    assert x.grad.dtype is torch.bfloat16
    assert ck.conv(x.detach().half(), w.half()).dtype is torch.float16


def test_weights_are_made_ready_once_and_again_when_they_change(monkeypatch):
    from convkit.verbs.tensor_layers import TensorLayer

    made = []
    prepare = TensorLayer.prepare
    monkeypatch.setattr(TensorLayer, "prepare", lambda self, *given: made.append(1) or prepare(self, *given))
    x, w = torch.randn(1, 8, 9, 9), torch.nn.Parameter(torch.randn(8, 8, 3, 3))

    def close():
        torch.testing.assert_close(ck.conv(x, w), functional.conv2d(x, w), rtol=1e-4, atol=1e-4)

    with torch.no_grad():
        for _ in range(3):
            close()
        assert len(made) == 1
        w[1, 2, 0, 1] += 1
        close()
        assert len(made) == 2
        w.data.mul_(-0.5)  # torch keeps no count of this
        close()
        w.data = torch.randn(8, 8, 3, 3)
        close()
        assert len(made) == 4
    with torch.inference_mode():
        inside = torch.randn(8, 8, 3, 3)
        before = ck.conv(x, inside)
        inside.mul_(2)
        torch.testing.assert_close(ck.conv(x, inside), 2 * before)


def test_ready_weights_do_not_keep_a_tensor_alive():
    import gc
    import weakref

    from convkit.arrays.torch_layers import KEPT

    w = torch.randn(8, 8, 3, 3)
    seen = weakref.ref(w)
    with torch.no_grad():
        ck.conv(torch.randn(1, 8, 9, 9), w)
    number = id(w)
    assert number in KEPT._entries
    del w
    gc.collect()
    assert seen() is None
    assert number not in KEPT._entries


def test_the_same_bits_by_torchs_threads_and_by_the_pools_own():
    found = team()
    x, w = torch.randn(3, 32, 40, 41), torch.randn(32, 32, 3, 3)
    results = []
    try:
        for threads in ((None, 0), found, (found[0], 0)):
            pool.lend(*threads)
            results += [ck.conv(x, w), functional.relu(x).sum() * 0 + ck.conv(x, w)]
    finally:
        pool.lend(*found)
    for result in results[1:]:
        assert torch.equal(results[0], result)
    before = ck.num_threads()
    try:
        ck.set_num_threads(1)
        assert torch.equal(results[0], ck.conv(x, w))
    finally:
        ck.set_num_threads(before)


def test_beside_torchs_threads():
    """Both libraries at once, from several threads: every result is right, and nobody waits for ever."""
    x, w = torch.randn(2, 16, 48, 48), torch.randn(16, 16, 3, 3)
    expected, wrong = ck.conv(x, w, padding=1), []

    def work():
        for _ in range(10):
            torch.mm(torch.randn(200, 200), torch.randn(200, 200))
            if not torch.equal(ck.conv(x, w, padding=1), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process")
def test_after_a_fork():
    x, w = torch.randn(1, 32, 48, 48), torch.randn(32, 32, 3, 3)
    expected = ck.conv(x, w, padding=1).numpy().copy()
    child = os.fork()
    if child == 0:
        result = ck.conv(x.numpy(), w.numpy(), padding=1)
        os._exit(0 if np.array_equal(result, expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_shapes_alone():
    with torch.device("meta"):
        x, w = torch.empty(2, 4, 9, 7), torch.empty(6, 2, 3, 3)
    assert ck.conv(x, w, stride=2, padding="same", groups=2).shape == (2, 6, 5, 4)
    assert ck.conv(x, w, groups=2).device.type == "meta"
    assert ck.conv_transpose(x, torch.empty(4, 3, 2, 2, device="meta"), stride=2).shape == (2, 3, 18, 14)
    assert ck.pool(x, 2).shape == (2, 4, 4, 3)
    with pytest.raises(ConvError, match=r"shape\.channels"):
        ck.conv(x, w)


def test_transforms_of_functions():
    _, w, bias = tensors((2, 3, 6, 5), (4, 3, 3, 2), 4)
    batched = torch.randn(3, 2, 3, 6, 5, dtype=torch.float64)
    got = torch.vmap(lambda one: ck.conv(one, w.detach(), bias.detach()))(batched)
    torch.testing.assert_close(got, torch.stack([ck.conv(one, w, bias).detach() for one in batched]))


REFUSALS = [
    (lambda: ck.conv(torch.zeros(1, 2, 5), torch.zeros(1, 3, 2)), "shape.channels"),
    (lambda: ck.conv(torch.zeros(1, 2, 5), torch.zeros(1, 2, 9)), "shape.kernel-does-not-fit"),
    (lambda: ck.conv(torch.zeros(1, 2, 5), torch.zeros(1, 2, 2), torch.zeros(3)), "shape.bias"),
    (lambda: ck.conv(torch.zeros(1, 2, 5), torch.zeros(1, 2, 2), add=torch.zeros(1, 1, 9)), "shape.add"),
    (lambda: ck.conv(torch.zeros(1, 2, 5), torch.zeros(1, 2, 2), activation="rely"), "option.unknown-value"),
    (lambda: ck.conv(torch.zeros(1, 2, 5), torch.zeros(1, 2, 2), padding=-1), "option.too-small"),
    (lambda: ck.conv(torch.zeros(1, 2, 5).cfloat(), torch.zeros(1, 2, 2), activation="relu"), "dtype.activation"),
    (lambda: ck.conv(torch.zeros(1, 2, 5), torch.zeros(1, 2, 2), torch.zeros(1).cfloat()), "dtype.complex-to-real"),
    (lambda: ck.conv(torch.zeros(1, 2, 5, device="meta"), torch.zeros(1, 3, 2, device="meta")), "shape.channels"),
    (lambda: ck.conv(torch.zeros(1, 2, 5).to_sparse(), torch.zeros(1, 3, 2)), "dtype.not-an-array"),
    (lambda: ck.conv_input_gradient(torch.zeros(1, 1, 3), torch.zeros(1, 2, 2), (1, 2, 5)), "shape.gradient"),
    (lambda: ck.conv_weight_gradient(torch.zeros(1, 1, 3), torch.zeros(1, 2, 5), (1, 2, 2)), "shape.gradient"),
    (lambda: ck.pool(torch.zeros(1, 2, 5, 5).cfloat(), 2), "dtype.no-order"),
]


@pytest.mark.parametrize(("call", "code"), REFUSALS, ids=[code for _, code in REFUSALS])
@pytest.mark.parametrize("gradients", [False, True])
def test_refusals(call, code, gradients):
    with torch.set_grad_enabled(gradients), pytest.raises(ConvError) as caught:
        call()
    assert caught.value.code == code


def test_other_devices_are_refused_by_name():
    """A tensor on another device is never moved silently; the check needs no such device."""
    from convkit.arrays.torch_tensors import TORCH

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda", 0)

    with pytest.raises(ConvError, match=r"option\.device.*cuda") as caught:
        TORCH.array(torch.zeros(2).as_subclass(Elsewhere), "x")
    assert caught.value.code == "option.device"
