"""The index formula of a spec, with its numbers put in."""

from __future__ import annotations

from collections.abc import Sequence

from convkit.explain.symbols import Size, Symbol
from convkit.spec import ConvSpec, sizes

STRIPS = {
    "zero": "0 0 0 | a b c d | 0 0 0",
    "constant": "v v v | a b c d | v v v",
    "edge": "a a a | a b c d | d d d",
    "reflect": "d c b | a b c d | c b a",
    "symmetric": "c b a | a b c d | d c b",
    "wrap": "b c d | a b c d | a b c",
}
"""What stands outside ``a b c d``."""


def formula(spec: ConvSpec, kernel_shape: Sequence[int] | None = None, bias: str | None = None) -> str:
    """The formula of one output, for any spec.

    Parameters
    ----------
    spec : ConvSpec
        What is computed.
    kernel_shape : sequence of int, optional
        Sizes along the convolved axes; ``K`` stands for them otherwise.
    bias : str, optional
        Name of the bias.

    Examples
    --------
    >>> formula(ConvSpec.of_arrays(1, "convolution", "same", stride=2), (3,))
    'out[i] = sum over j=0..2 of x[2*i + 1 - j] * k[j]'
    >>> formula(ConvSpec.of_network(1, padding=1))
    'out[b, o, i] = sum over c, j of x[b, c, i - 1 + j] * w[o, c, j]'
    """
    names = [("i", "j", "K")] if spec.rank == 1 else [(f"i{a}", f"j{a}", f"K{a}") for a in range(spec.rank)]
    kernels: list[Size] = [Symbol(name) for _, _, name in names] if kernel_shape is None else list(kernel_shape)
    outputs = ", ".join(name for name, _, _ in names)
    elements = ", ".join(name for _, name, _ in names)
    ranges = ", ".join(
        name if isinstance(size, Symbol) else f"{name}=0..{size - 1}"
        for (_, name, _), size in zip(names, kernels, strict=True)
    )
    if spec.direction == "transposed":
        return _transposed(spec, names, kernels, ranges, bias)
    places = ", ".join(_place(spec, axis, i, j, kernels[axis]) for axis, (i, j, _) in enumerate(names))
    if spec.mode is not None:
        element = f"conj(k[{elements}])" if spec.conjugate else f"k[{elements}]"
        return f"out[{outputs}] = sum over {ranges} of x[{places}] * {element}"
    channel = "c" if spec.groups == 1 else f"group(o)*C/{spec.groups} + c"
    added = f" + {bias}[o]" if bias else ""
    return f"out[b, o, {outputs}] = sum over c, {ranges} of x[b, {channel}, {places}] * w[o, c, {elements}]{added}"


def _place(spec: ConvSpec, axis: int, i: str, j: str, kernel: Size) -> str:
    stride, dilation = spec.stride[axis], spec.dilation[axis]
    flips = spec.operation == "convolution"
    span = (kernel - 1) * dilation
    offset: Size = 0
    if spec.mode == "full":
        offset = 0 if flips else 0 - span
    elif spec.mode == "valid":
        offset = span if flips else 0
    elif spec.mode == "same":
        given = None if spec.anchor is None else spec.anchor[axis]
        usual = (kernel - 1) // 2 if flips else kernel // 2
        lead = (usual if given is None else given) * dilation
        offset = lead if flips else 0 - lead
    elif spec.padding == "same":
        offset = (span if flips else 0) - Symbol("p" if spec.rank == 1 else f"p{axis}")
    else:
        pad = (spec.padding or ())[axis][0]
        offset = (span if flips else 0) - pad
    start = i if stride == 1 else f"{stride}*{i}"
    step = j if dilation == 1 else f"{dilation}*{j}"
    return f"{start}{_plus(offset)} {'-' if flips else '+'} {step}"


def _plus(offset: Size) -> str:
    if isinstance(offset, Symbol):
        return f" - {offset.text.removeprefix('0 - ')}" if offset.text.startswith("0 - ") else f" + {offset}"
    return "" if offset == 0 else f" + {offset}" if offset > 0 else f" - {-offset}"


def _transposed(
    spec: ConvSpec, names: list[tuple[str, str, str]], kernels: list[Size], ranges: str, bias: str | None
) -> str:
    places: list[str] = []
    elements: list[str] = []
    for axis, (i, j, _) in enumerate(names):
        stride, dilation = spec.stride[axis], spec.dilation[axis]
        pad = 0 if spec.padding in (None, "same") else spec.padding[axis][0]
        start = i if stride == 1 else f"{stride}*{i}"
        step = j if dilation == 1 else f"{dilation}*{j}"
        places.append(f"{start} + {step}{_plus(-pad)}")
        elements.append(j if spec.operation == "correlation" else f"{kernels[axis] - 1} - {j}")
    inputs = ", ".join(i for i, _, _ in names)
    channel = "o" if spec.groups == 1 else f"group(c)*O/{spec.groups} + o"
    added = f", out[b, o] += {bias}[o]" if bias else ""
    return (
        f"out[b, {channel}, {', '.join(places)}] += x[b, c, {inputs}] * w[c, o, {', '.join(elements)}] "
        f"for all c, {inputs}, {ranges}{added}"
    )


def size_lines(spec: ConvSpec, input_shape: Sequence[int], kernel_shape: Sequence[int]) -> list[str]:
    """For each axis the size of the result: rule, numbers, value.

    Examples
    --------
    >>> size_lines(ConvSpec.of_arrays(1, mode="valid", stride=2), (7,), (3,))
    ['floor((input + padding - (dilation*(kernel-1)+1)) / stride) + 1 = floor((7 + 0+0 - (1*(3-1)+1)) / 2) + 1 = 3']
    """
    lines: list[str] = []
    pads = spec.pads(input_shape, kernel_shape) if spec.mode is None else ((0, 0),) * spec.rank
    for axis, (n, k) in enumerate(zip(input_shape, kernel_shape, strict=True)):
        s, d = spec.stride[axis], spec.dilation[axis]
        if spec.direction == "transposed":
            size = sizes.transposed_size(n, k, s, d, pads[axis], spec.output_padding[axis])
        elif spec.mode == "full":
            size = sizes.full_size(n, k, s, d)
        elif spec.mode == "same" or spec.padding == "same":
            size = sizes.same_size(n, s)
        else:
            size = sizes.padded_size(n, k, s, d, pads[axis])
        lines.append(str(size))
    return lines
