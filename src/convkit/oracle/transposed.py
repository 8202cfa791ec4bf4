"""The definition of the transposed convolution: every input sample stamps a scaled copy of the kernel.

``out[i*stride + dilation*j - padding] += x[i] * w[j]`` for every ``i`` and ``j``; stamps beyond the output
are cut off. With ``operation="convolution"`` the forward kernel is flipped, so ``K-1-j`` stands for ``j``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convkit.oracle.grid import indices
from convkit.oracle.operator import Link, Operator
from convkit.spec.conv import ConvSpec


def transposed_operator(spec: ConvSpec, input_shape: Sequence[int], weight_shape: Sequence[int]) -> Operator:
    """The operator of ``ck.conv_transpose``.

    Parameters
    ----------
    spec : ConvSpec
        Made by `ConvSpec.of_network` with ``direction="transposed"``.
    input_shape, weight_shape : sequence of int
        (batch, in channels, space...) and (in channels, out channels / groups, space...).

    Examples
    --------
    >>> from convkit.oracle import Grid
    >>> spec = ConvSpec.of_network(1, direction="transposed", stride=2)
    >>> operator = transposed_operator(spec, (1, 1, 2), (1, 1, 3))
    >>> operator.apply(Grid((1, 1, 2), [1, 10]), Grid((1, 1, 3), [1, 2, 3])).values
    [1, 2, 13, 20, 30]
    """
    batch, channels, *sizes = input_shape
    _, share, *kernels = weight_shape
    counts = spec.output_sizes(sizes, kernels)
    before = [pair[0] for pair in spec.padding] if isinstance(spec.padding, tuple) else [0] * spec.rank

    def links() -> Iterator[Link]:
        for b, c, o in indices((batch, channels, share)):
            channel = c // (channels // spec.groups) * share + o
            for place in indices(sizes):
                for element in indices(kernels):
                    laid = element
                    if spec.operation == "convolution":
                        laid = tuple(k - 1 - j for k, j in zip(kernels, element, strict=True))
                    stamped = tuple(
                        place[a] * spec.stride[a] + spec.dilation[a] * laid[a] - before[a] for a in range(spec.rank)
                    )
                    if all(0 <= p < n for p, n in zip(stamped, counts, strict=True)):
                        yield Link((b, channel, *stamped), (b, c, *place), (c, o, *element))

    shape = (batch, share * spec.groups, *counts)
    return Operator(tuple(input_shape), tuple(weight_shape), shape, links, spec.fill, spec.conjugate)
