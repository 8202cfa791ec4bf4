"""A layer or a gradient that was seen before is a recorded job: the same bits as the ordinary way, whatever comes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import convkit as ck
from convkit.arrays import torch_jobs
from convkit.arrays.torch_jobs import JOBS

SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "one pixel": ((1, 240, 1, 1), (20, 240, 1, 1), {}),
    "1x1": ((2, 24, 7, 9), (40, 24, 1, 1), {}),
    "1x1 strided": ((2, 24, 8, 9), (40, 24, 1, 1), {"stride": 2}),
    "3x3": ((1, 32, 14, 13), (33, 32, 3, 3), {"padding": 1}),
    "2x3 strided": ((3, 6, 11, 10), (9, 6, 2, 3), {"stride": (2, 1), "padding": ((1, 0), (2, 1))}),
    "dilated": ((2, 8, 15, 12), (12, 8, 3, 2), {"dilation": (2, 3), "padding": 2}),
    "groups": ((2, 12, 10, 9), (18, 4, 3, 3), {"groups": 3, "padding": (0, 1)}),
    "depthwise": ((2, 40, 9, 8), (40, 1, 3, 3), {"groups": 40, "padding": 1}),
    "depthwise strided": ((1, 24, 14, 15), (24, 1, 5, 3), {"groups": 24, "stride": 2, "padding": (2, 1)}),
    "flipped": ((1, 9, 12, 11), (10, 9, 3, 4), {"operation": "convolution", "padding": 1}),
    "reflected": ((1, 8, 12, 11), (16, 8, 3, 3), {"padding": 1, "boundary": "reflect"}),
    "rows": ((2, 16, 50), (24, 16, 5), {"padding": 2}),
    "volumes": ((1, 8, 6, 7, 8), (12, 8, 2, 3, 3), {"padding": 1}),
    "tiny": ((1, 2, 3, 4), (2, 2, 2, 2), {}),
}  # fmt: skip

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "in order": lambda tensor: tensor,
    "channels last": lambda tensor: tensor.movedim(1, -1).contiguous().movedim(-1, 1),
    "offset": lambda tensor: torch.nn.functional.pad(tensor.flatten(), (3, 1))[3:-1].view(tensor.shape),
    "every other": lambda tensor: tensor.repeat_interleave(2, -1)[..., ::2],
    "turned": lambda tensor: tensor.transpose(0, -1).contiguous().transpose(0, -1),
    "part": lambda tensor: torch.nn.functional.pad(tensor, (1, 2))[..., 1:-2],
}


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    JOBS._known.clear()
    yield
    JOBS._known.clear()


def entries() -> dict[int, Any]:
    """What weights are kept ready for."""
    from convkit.arrays.torch_layers import KEPT

    return KEPT._entries


def numbers(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def maps(options: dict[str, Any], x: Tensor, w: Tensor, g: Tensor) -> list[Callable[[], Tensor]]:
    return [
        lambda: ck.conv(x, w, **options),
        lambda: ck.conv_input_gradient(g, w, x.shape, **options),
        lambda: ck.conv_weight_gradient(g, x, w.shape, **options),
    ]


def unrecorded(call: Callable[[], Tensor], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """What comes of it where nothing was seen before."""
    with monkeypatch.context() as patched:
        patched.setattr(torch_jobs.Jobs, "again", lambda *_: None)
        patched.setattr(torch_jobs.Jobs, "seen", lambda *_, **__: False)
        return call()


def same(one: Tensor, other: Tensor) -> bool:
    """To the bit, and in the same layout; any NaN is as good as another."""
    alike = one.shape == other.shape and one.stride() == other.stride() and one.dtype == other.dtype
    return alike and torch.equal(one.nan_to_num(nan=12345.0), other.nan_to_num(nan=12345.0))


def jobs() -> int:
    """How many are remembered."""
    tables = [JOBS, *(made.jobs for entry in entries().values() for made in entry.made.values())]
    return sum(isinstance(known, torch_jobs._Known) for table in tables for known in table._known.values())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SHAPES)
def test_same_bits_as_unrecorded(name: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x_shape, w_shape, options = SHAPES[name]
    lay = LAYOUTS[layout]
    x, w = lay(numbers(x_shape, 1)), lay(numbers(w_shape, 2))
    g = lay(numbers(tuple(ck.conv(x, w, **options).shape), 3))
    for seed, call in enumerate(maps(options, x, w, g)):
        expected = unrecorded(call, monkeypatch)
        for _ in range(4):
            assert same(call(), expected)
        for tensor in (x, g) if seed == 0 else (x, w, g):
            tensor.copy_(numbers(tuple(tensor.shape), 10 + seed))
        assert same(call(), unrecorded(call, monkeypatch))
    elsewhere = maps(options, *(lay(numbers(tuple(tensor.shape), 20)) for tensor in (x, w, g)))
    for call in elsewhere[1:]:
        assert same(call(), unrecorded(call, monkeypatch))


@pytest.mark.parametrize(
    "name", ["one pixel", "1x1", "1x1 strided", "3x3", "2x3 strided", "dilated", "groups", "depthwise", "rows"]
)
def test_what_compiled_code_does_becomes_jobs(name: str) -> None:
    before = jobs()
    x_shape, w_shape, options = SHAPES[name]
    x, w = numbers(x_shape, 1), numbers(w_shape, 2)
    g = numbers(tuple(ck.conv(x, w, **options).shape), 3)
    forward, into, weights = maps(options, x, w, g)
    for count, call in ((1, forward), (2, into), (3, weights)):
        for _ in range(3):
            call()
        assert jobs() >= before + count


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.complex64])
def test_other_types(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, g = ((10 * numbers(shape, 1)).to(dtype) for shape in ((2, 24, 7, 9), (40, 24, 3, 3), (2, 40, 5, 7)))
    for call in maps({}, x, w, g):
        expected = unrecorded(call, monkeypatch)
        for _ in range(4):
            found = call()
            assert found.dtype == expected.dtype
            assert torch.equal(found, expected)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", ["1x1", "3x3", "depthwise"])
@pytest.mark.parametrize("activation", [None, "relu", "silu"])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_epilogues(
    transposed: bool, name: str, activation: str | None, added: bool, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    x_shape, w_shape, options = SHAPES[name]
    verb: Any = ck.conv_transpose if transposed else ck.conv
    if transposed:
        w_shape = (w_shape[0], w_shape[1] + (w_shape[1] > 1), *w_shape[2:])
        x_shape = (x_shape[0], w_shape[0], *x_shape[2:])
    x, w = numbers(x_shape, 1), numbers(w_shape, 2)
    plain = verb(x, w, **options)
    bias = numbers((plain.shape[1],), 3) if biased else None
    add = numbers(tuple(plain.shape), 4) if added else None

    def call() -> Tensor:
        return verb(x, w, bias, add=add, activation=activation, **options)

    for turn in range(5):
        assert same(call(), unrecorded(call, monkeypatch))
        for n, tensor in enumerate((x, bias, add)):
            if tensor is not None:  # what is added may change without the weights doing so
                tensor.copy_(numbers(tuple(tensor.shape), 10 * turn + n))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", SHAPES)
def test_infinite_numbers(name: str, bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x_shape, w_shape, options = SHAPES[name]
    x, w = numbers(x_shape, 1), numbers(w_shape, 2)
    g = numbers(tuple(ck.conv(x, w, **options).shape), 3)
    calls = maps(options, x, w, g)
    for _ in range(3):
        for call in calls:
            call()
    for tensor in (x, w, g):
        place = tensor.flatten()[tensor.numel() // 3].item()
        tensor.view(-1)[tensor.numel() // 3] = bad
        for call in calls:
            for _ in range(3):
                assert same(call(), unrecorded(call, monkeypatch))
        tensor.view(-1)[tensor.numel() // 3] = place
    for call in calls:
        assert same(call(), unrecorded(call, monkeypatch))
        assert call().isfinite().all()


@pytest.mark.parametrize("first", ["bad", "good"])
def test_infinite_numbers_at_first(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is seen first decides nothing for later."""
    x_shape, w_shape, options = SHAPES["3x3"]
    x, w, g = numbers(x_shape, 1), numbers(w_shape, 2), numbers((1, 33, 14, 13), 3)
    if first == "bad":
        x[0, 5, 2, 3] = w[3, 4, 1, 1] = g[0, 7, 3, 3] = float("inf")
    for call in maps(options, x, w, g):
        for _ in range(3):
            assert same(call(), unrecorded(call, monkeypatch))
    for tensor in (x, w, g):
        tensor.copy_(numbers(tuple(tensor.shape), 4))
    for call in maps(options, x, w, g):
        for _ in range(3):
            assert same(call(), unrecorded(call, monkeypatch))


@pytest.mark.parametrize("activation", ["relu", "relu6", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("size", [(1, 16, 8, 9), (1, 16, 2, 2)])
def test_weights_past_an_activation(
    activation: Any, bad: float, size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """What infinite weights spoil shows past every activation."""
    with torch.inference_mode():  # no version is counted, so weights are made ready in every call
        x, w = numbers(size, 1), numbers((24, 16, 3, 2), 2)

        def call() -> Tensor:
            return ck.conv(x, w, activation=activation, padding=1)

        for _ in range(4):
            assert same(call(), unrecorded(call, monkeypatch))
        w[3, 2, 0, 1] = bad
        x.abs_()
        assert same(call(), unrecorded(call, monkeypatch))


@pytest.mark.parametrize("write", ["in place", "past torch", "replaced", "by a view"])
def test_weights_that_change(write: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x_shape, w_shape, options = SHAPES["3x3"]
    x, w = numbers(x_shape, 1), numbers(w_shape, 2)
    for _ in range(4):
        ck.conv(x, w, **options)
    for seed in (5, 6):
        other = numbers(w_shape, seed)
        if write == "in place":
            w.copy_(other)
        elif write == "past torch":
            w.data.copy_(other)
        elif write == "replaced":
            w = other
        else:
            w[:5].mul_(2)
        for _ in range(4):
            assert same(ck.conv(x, w, **options), unrecorded(lambda w=w: ck.conv(x, w.clone(), **options), monkeypatch))


@pytest.mark.parametrize("name", ["1x1", "3x3", "depthwise", "2x3 strided"])
def test_training_by_jobs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x_shape, w_shape, options = SHAPES[name]
    x, w, bias = numbers(x_shape, 1), numbers(w_shape, 2), numbers(w_shape[:1], 3)
    g = numbers(tuple(ck.conv(x, w, **options).shape), 4)

    def trained() -> list[Tensor]:
        leaves = [tensor.clone().requires_grad_() for tensor in (x, w, bias)]
        found: list[Tensor] = []
        for _ in range(5):
            out = ck.conv(*leaves, **options)
            gradients = torch.autograd.grad(out, leaves, g)
            with torch.no_grad():
                for leaf, gradient in zip(leaves, gradients, strict=True):
                    leaf.sub_(gradient, alpha=0.01)
            found += [out.detach(), *gradients, leaves[1].detach().clone()]
        return found

    with monkeypatch.context() as patched:
        patched.setattr(torch_jobs.Jobs, "again", lambda *_: None)
        patched.setattr(torch_jobs.Jobs, "seen", lambda *_, **__: False)
        expected = trained()
    assert all(same(one, other) for one, other in zip(trained(), expected, strict=True))


def test_types_of_gradients_that_are_not_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = numbers((2, 24, 7, 9), 1).requires_grad_(), numbers((40, 24, 1, 1), 2, torch.float64).requires_grad_()
    g = numbers((2, 40, 7, 9), 3, torch.float64)
    for _ in range(4):
        gradients = torch.autograd.grad(ck.conv(x, w), (x, w), g)
        assert [gradient.dtype for gradient in gradients] == [torch.float32, torch.float64]
        expected = ck.conv_input_gradient(g, w.detach(), x.shape).float()
        assert torch.equal(gradients[0], expected)


@pytest.mark.parametrize("name", ["1x1", "3x3", "depthwise"])
def test_threads_and_batches_change_no_bit(name: str) -> None:
    x_shape, w_shape, options = SHAPES[name]
    x, w = numbers((8, *x_shape[1:]), 1), numbers(w_shape, 2)
    g = numbers(tuple(ck.conv(x, w, **options).shape), 3)
    calls = maps(options, x, w, g)
    expected = [call() for call in calls]
    before = ck.num_threads()
    try:
        for count in (1, 2, 3, 1, 2):
            ck.set_num_threads(count)
            for call, one in zip(calls, expected, strict=True):
                assert torch.equal(call(), one)
    finally:
        ck.set_num_threads(before)
    for at in range(8):
        for _ in range(3):
            assert torch.equal(ck.conv(x[at : at + 1], w, **options), expected[0][at : at + 1])
            part = ck.conv_input_gradient(g[at : at + 1], w, x[at : at + 1].shape, **options)
            assert torch.equal(part, expected[1][at : at + 1])


def test_several_threads_at_once() -> None:
    x_shape, w_shape, options = SHAPES["3x3"]
    x, w = [numbers(x_shape, n) for n in range(4)], numbers(w_shape, 9)
    g = [numbers((1, 33, 14, 13), 10 + n) for n in range(4)]
    expected = [[call().clone() for call in maps(options, x[n], w, g[n])] for n in range(4)]
    wrong: list[int] = []

    def work(n: int) -> None:
        calls = maps(options, x[n], w, g[n])
        for _ in range(60):
            if not all(torch.equal(call(), one) for call, one in zip(calls, expected[n], strict=True)):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_of_a_fork_runs_jobs() -> None:
    x_shape, w_shape, options = SHAPES["3x3"]
    x, w, g = numbers(x_shape, 1), numbers(w_shape, 2), numbers((1, 33, 14, 13), 3)
    calls = maps(options, x, w, g)
    for _ in range(3):
        expected = [call() for call in calls]
    child = os.fork()
    if child == 0:
        right = all(torch.equal(call(), one) for call, one in zip(calls, expected, strict=True))
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_signs_that_are_pending_are_carried_out() -> None:
    x_shape, w_shape, options = SHAPES["1x1"]
    z = torch.complex(numbers(x_shape, 1), numbers(x_shape, 2))
    w = numbers(w_shape, 3)
    assert z.conj().imag.is_neg()
    for _ in range(4):
        plain = ck.conv(z.imag, w, **options)
        assert torch.equal(ck.conv(z.conj().imag, w, **options), -plain)


def test_numbers_that_share_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of a sum is one number everywhere."""
    x_shape, w_shape, options = SHAPES["3x3"]
    x, w = numbers(x_shape, 1), numbers(w_shape, 2)
    for value in range(4):
        g = torch.tensor(0.1 + value).expand(1, 33, 14, 13)
        for call in maps(options, x, w, g)[1:]:
            assert same(call(), unrecorded(call, monkeypatch))


def test_another_default_device_is_no_concern_of_results() -> None:
    x_shape, w_shape, options = SHAPES["3x3"]
    x, w, g = numbers(x_shape, 1), numbers(w_shape, 2), numbers((1, 33, 14, 13), 3)
    expected = [call() for call in maps(options, x, w, g)]
    with torch.device("meta"):
        for _ in range(4):
            for call, one in zip(maps(options, x, w, g), expected, strict=True):
                assert torch.equal(call(), one)


def test_one_tensor_in_two_places() -> None:
    """The samples are the upstream gradient as well, or weights."""
    x, w = numbers((1, 16, 9, 8), 1), numbers((16, 16, 1, 1), 2)
    for _ in range(5):
        assert torch.equal(ck.conv_weight_gradient(x, x, w.shape), ck.conv_weight_gradient(x.clone(), x, w.shape))
    square = numbers((16, 16, 1, 1), 3)
    for _ in range(5):
        assert torch.equal(ck.conv(square, square), ck.conv(square.clone(), square))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JOBS, "_most", 6)
    w = numbers((8, 4, 3, 3), 1)
    for size in range(10, 40):
        x = numbers((1, 4, size, 9), 2)
        g = ck.conv(x, w)
        for _ in range(3):
            ck.conv_weight_gradient(g, x, w.shape)
        assert len(JOBS._known) <= 6
        assert all(len(made.jobs._known) <= 8 for entry in entries().values() for made in entry.made.values())
        assert len(entries()[id(w)].made) <= 2


def test_jobs_go_with_their_weights() -> None:
    x, w = numbers((1, 24, 7, 9), 1), numbers((40, 24, 1, 1), 2)
    for _ in range(3):
        ck.conv(x, w)
    number = id(w)
    assert number in entries()
    del w
    assert number not in entries()
