"""convkit.compat.torch against torch.nn.functional: values, gradients, integers, refusals."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.catalogue import texts
from convkit.compat import torch as ours

CHECKS = settings(max_examples=60, deadline=None)
FLOATS = [torch.float32, torch.float64, torch.complex64, torch.complex128]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
TOLERANCE = {torch.float32: 2e-6, torch.complex64: 4e-6, torch.float64: 1e-14, torch.complex128: 2e-14}


def tensor(seed: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    if dtype in INTEGERS:
        limits = torch.iinfo(dtype)
        span = (max(limits.min, -1000), min(limits.max, 1000))
        return torch.from_numpy(rng.integers(*span, shape, endpoint=True)).to(dtype)
    values = rng.normal(size=shape) + (1j * rng.normal(size=shape) if dtype.is_complex else 0)
    return torch.from_numpy(np.asarray(values)).to(dtype)


def assert_same(mine: torch.Tensor, other: torch.Tensor, weight: torch.Tensor) -> None:
    assert mine.dtype == other.dtype
    assert mine.shape == other.shape
    if mine.dtype in INTEGERS:
        assert torch.equal(mine, other)
        return
    # Sums of n products of normal numbers grow like sqrt(n).
    bound = TOLERANCE[mine.dtype] * 6 * max(1, weight[0].numel()) ** 0.5
    torch.testing.assert_close(mine, other, rtol=0, atol=bound)


@st.composite
def layers(draw: st.DrawFn) -> tuple[int, dict[str, object], dict[str, object]]:
    """A rank, the sizes of a layer, and its options."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    options = {
        name: draw(st.one_of(st.integers(least, 3), st.tuples(*[st.integers(least, 3)] * rank)))
        for name, least in (("stride", 1), ("dilation", 1))
    }
    sizes = {
        "batch": draw(st.sampled_from([None, 1, 2])),
        "channels": groups * draw(st.integers(1, 3)),
        "outputs": groups * draw(st.integers(1, 3)),
        "space": draw(st.tuples(*[st.integers(1, 8)] * rank)),
        "kernel": draw(st.tuples(*[st.integers(1, 4)] * rank)),
        "seed": draw(st.integers(0, 99)),
        "bias": draw(st.booleans()),
    }
    return rank, sizes, {**options, "groups": groups}


def data_of(sizes: dict, groups: int, dtype: torch.dtype, direction: str) -> tuple[torch.Tensor, ...]:
    channels, outputs = sizes["channels"], sizes["outputs"]
    batch = () if sizes["batch"] is None else (sizes["batch"],)
    banks = (outputs, channels // groups) if direction == "forward" else (channels, outputs // groups)
    x = tensor(sizes["seed"], (*batch, channels, *sizes["space"]), dtype)
    w = tensor(sizes["seed"] + 1, (*banks, *sizes["kernel"]), dtype)
    return x, w, tensor(sizes["seed"] + 2, (outputs,), dtype) if sizes["bias"] else None


def wide(value: object, rank: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * rank


@CHECKS
@given(layers(), st.data())
def test_conv(layer: tuple, data: st.DataObject) -> None:
    rank, sizes, options = layer
    dtype = data.draw(st.sampled_from(FLOATS + INTEGERS))
    dilation = wide(options["dilation"], rank)
    if dtype in INTEGERS[:4]:
        options["dilation"], dilation = 1, (1,) * rank  # PyTorch dilates no integers narrower than 64 bits
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, sizes["kernel"])]
    least = [max(0, -(-(r - n) // 2)) for r, n in zip(reach, sizes["space"])]
    options["padding"] = tuple(data.draw(st.integers(pad, pad + 2)) for pad in least)
    x, w, b = data_of(sizes, options["groups"], dtype, "forward")
    mine = getattr(ours, f"conv{rank}d")(x, w, b, **options)
    assert_same(mine, getattr(theirs, f"conv{rank}d")(x, w, b, **options), w)


@CHECKS
@given(layers(), st.sampled_from([torch.float32, torch.float64]), st.sampled_from(["same", "valid"]))
def test_conv_with_padding_by_name(layer: tuple, dtype: torch.dtype, padding: str) -> None:
    rank, sizes, options = layer
    if padding == "same":
        options["stride"] = 1
    else:
        reach = [d * (k - 1) + 1 for d, k in zip(wide(options["dilation"], rank), sizes["kernel"])]
        sizes["space"] = tuple(max(pair) for pair in zip(reach, sizes["space"]))
    x, w, b = data_of(sizes, options["groups"], dtype, "forward")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PyTorch copies the input for an uneven 'same', and says so
        other = getattr(theirs, f"conv{rank}d")(x, w, b, padding=padding, **options)
    assert_same(getattr(ours, f"conv{rank}d")(x, w, b, padding=padding, **options), other, w)


@CHECKS
@given(layers(), st.data())
def test_conv_transpose(layer: tuple, data: st.DataObject) -> None:
    rank, sizes, options = layer
    dtype = data.draw(st.sampled_from([*FLOATS, torch.int64]))
    stride, dilation = wide(options["stride"], rank), wide(options["dilation"], rank)
    options["output_padding"] = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    room = [
        (n - 1) * s + d * (k - 1) + 1 + o
        for n, s, d, k, o in zip(sizes["space"], stride, dilation, sizes["kernel"], options["output_padding"])
    ]
    options["padding"] = tuple(data.draw(st.integers(0, min(4, (size - 1) // 2))) for size in room)
    x, w, b = data_of(sizes, options["groups"], dtype, "transposed")
    mine = getattr(ours, f"conv_transpose{rank}d")(x, w, b, **options)
    assert_same(mine, getattr(theirs, f"conv_transpose{rank}d")(x, w, b, **options), w)


def test_positions_of_the_arguments_are_pytorchs() -> None:
    x, w = tensor(0, (2, 4, 7, 9), torch.float64), tensor(1, (6, 2, 2, 3), torch.float64)
    b = tensor(2, (6,), torch.float64)
    assert_same(ours.conv2d(x, w, b, [2], (1, 0), 2, 2), theirs.conv2d(x, w, b, [2], (1, 0), 2, 2), w)
    w = tensor(1, (4, 3, 2, 3), torch.float64)
    assert_same(
        ours.conv_transpose2d(x, w, b, 3, 1, (2, 1), 2, 2),
        theirs.conv_transpose2d(x, w, b, 3, 1, (2, 1), 2, 2),
        w,
    )


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap_as_pytorchs(dtype: torch.dtype) -> None:
    x = torch.full((1, 1, 5), torch.iinfo(dtype).max, dtype=dtype)
    w = torch.tensor([[[3, 2]]], dtype=dtype)
    assert torch.equal(ours.conv1d(x, w), theirs.conv1d(x, w))


def test_empty_batches_and_outputs() -> None:
    x, w = torch.ones(0, 4, 5, 6), torch.ones(6, 4, 2, 3)
    assert_same(ours.conv2d(x, w), theirs.conv2d(x, w), w)
    w = torch.ones(4, 3, 2, 3)
    x = torch.ones(2, 4, 5, 6)
    assert (
        ours.conv_transpose2d(x, w, padding=3).shape == theirs.conv_transpose2d(x, w, padding=3).shape == (2, 3, 0, 2)
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_gradients(rank: int, dtype: torch.dtype) -> None:
    space, kernel = (5, 4, 3)[:rank], (2, 3, 2)[:rank]
    x = tensor(0, (2, 4, *space), dtype).requires_grad_()
    b = tensor(2, (6,), dtype).requires_grad_()
    w = tensor(1, (6, 2, *kernel), dtype).requires_grad_()
    conv, transpose = getattr(ours, f"conv{rank}d"), getattr(ours, f"conv_transpose{rank}d")
    assert torch.autograd.gradcheck(
        lambda *args: conv(*args, stride=2, padding=1, dilation=1, groups=2), (x, w, b), fast_mode=True
    )
    assert torch.autograd.gradcheck(lambda *args: conv(*args, padding="same", groups=2), (x, w, b), fast_mode=True)
    w = tensor(1, (4, 3, *kernel), dtype).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *args: transpose(*args, stride=2, padding=1, output_padding=1, groups=2),
        (x, w, b),
        fast_mode=True,
    )


def test_gradients_of_gradients() -> None:
    x = tensor(0, (1, 2, 5), torch.float64).requires_grad_()
    w = tensor(1, (3, 2, 2), torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda *args: ours.conv1d(*args, stride=2, padding=1), (x, w))


def test_gradients_equal_pytorchs_without_batch() -> None:
    grads = []
    for module in (ours, theirs):
        x = tensor(0, (4, 7, 6), torch.float64).requires_grad_()
        w = tensor(1, (6, 2, 2, 3), torch.float64).requires_grad_()
        (module.conv2d(x, w, stride=(2, 1), padding=(0, 2), groups=2) ** 2).sum().backward()
        grads.append((x.grad, w.grad))
    for mine, other in zip(*grads):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


X, W, WT = torch.ones(2, 4, 5, 6), torch.ones(6, 2, 2, 3), torch.ones(4, 3, 2, 3)
REFUSED = {
    "not-a-tensor": lambda f: f.conv2d(X.numpy(), W, groups=2),
    "not-a-tensor none": lambda f: f.conv2d(None, W),
    "not-a-tensor bias": lambda f: f.conv2d(X, W, [1.0] * 6, groups=2),
    "element-type": lambda f: f.conv2d(X > 0, W > 0, groups=2),
    "types-differ": lambda f: f.conv2d(X, W.double(), groups=2),
    "types-differ bias": lambda f: f.conv2d(X, W, torch.ones(6).double(), groups=2),
    "not-whole-numbers": lambda f: f.conv2d(X, W, groups=2, stride=1.5),
    "not-whole-numbers none": lambda f: f.conv2d(X, W, groups=2, padding=None),
    "not-whole-numbers groups": lambda f: f.conv2d(X, W, groups="2"),
    "not-whole-numbers same": lambda f: f.conv_transpose2d(X, WT, padding="same"),
    "wrong-count": lambda f: f.conv2d(X, W, groups=2, stride=(1, 1, 1)),
    "out-of-range stride": lambda f: f.conv2d(X, W, groups=2, stride=0),
    "out-of-range padding": lambda f: f.conv2d(X, W, groups=2, padding=-1),
    "out-of-range dilation": lambda f: f.conv2d(X, W, groups=2, dilation=0),
    "out-of-range groups": lambda f: f.conv2d(X, W, groups=0),
    "out-of-range output_padding": lambda f: f.conv_transpose2d(X, WT, output_padding=-1),
    "input-rank": lambda f: f.conv2d(X[0, 0], W, groups=2),
    "input-rank many": lambda f: f.conv2d(X[None], W, groups=2),
    "weight-rank": lambda f: f.conv2d(X, W[0], groups=2),
    "weight-groups": lambda f: f.conv2d(X, torch.ones(5, 2, 2, 3), groups=2),
    "weight-groups none": lambda f: f.conv2d(X, W[:0], groups=2),
    "weight-groups transposed": lambda f: f.conv_transpose2d(X, WT, groups=3),
    "weight-empty": lambda f: f.conv2d(X, torch.ones(6, 2, 0, 3), groups=2),
    "channels": lambda f: f.conv2d(X, W),
    "channels transposed": lambda f: f.conv_transpose2d(X, torch.ones(5, 3, 2, 3)),
    "bias-shape": lambda f: f.conv2d(X, W, torch.ones(5), groups=2),
    "bias-shape rank": lambda f: f.conv2d(X, W, torch.ones(6, 1), groups=2),
    "bias-shape transposed": lambda f: f.conv_transpose2d(X, WT, torch.ones(4)),
    "kernel-too-large": lambda f: f.conv2d(X, torch.ones(6, 2, 7, 3), groups=2),
    "kernel-too-large empty": lambda f: f.conv2d(X[:, :, :0], W, groups=2),
    "strided-same": lambda f: f.conv2d(X, W, groups=2, padding="same", stride=2),
    "unknown-padding": lambda f: f.conv2d(X, W, groups=2, padding="full"),
    "output-padding": lambda f: f.conv_transpose2d(X, WT, stride=2, output_padding=2),
    "negative-output": lambda f: f.conv_transpose2d(X, WT, padding=4),
    "input-empty": lambda f: f.conv_transpose2d(X[:, :, :0], WT),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_pytorch_refuses_is_refused_in_kind_and_with_a_reason(case: str) -> None:
    with pytest.raises((RuntimeError, TypeError)) as other:
        REFUSED[case](theirs)
    with pytest.raises(other.type) as caught:
        REFUSED[case](ours)
    assert caught.value.code == f"torch.{case.split()[0]}"
    for language in ("en", "zh"):
        lines = caught.value.text(language).splitlines()
        assert len(lines) == 3
        assert "{" not in "".join(lines)


def test_every_sentence_stands_in_both_languages_with_the_same_placeholders() -> None:
    prefix = "error.torch."
    english, chinese = (
        {key: set(re.findall(r"{(\w+)", text)) for key, text in texts(name).items() if key.startswith(prefix)}
        for name in ("en", "zh")
    )
    assert english == chinese
    raised = {case.split()[0] for case in REFUSED}
    assert {key.removeprefix(prefix).split(".")[0] for key in english} == raised
