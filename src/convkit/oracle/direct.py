"""The definition of convolution and correlation, of arrays and of networks, as links.

Along one axis, with ``n = stride * output``, ``d = dilation`` and ``K`` kernel elements, element ``j`` meets
position

=============  ======================  ==========================
extent         convolution             correlation
=============  ======================  ==========================
full           ``n - d*j``             ``n - d*(K-1-j)``
same           ``n + d*(anchor-j)``    ``n + d*(j-anchor)``
valid          ``n + d*(K-1-j)``       ``n + d*j``
padding        ``n + d*(K-1-j) - p``   ``n + d*j - p``
=============  ======================  ==========================

where ``p`` is the padding before the first sample, and the anchor is ``(K-1)//2`` for a convolution and
``K//2`` for a correlation unless given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from convkit.oracle.grid import Index, indices
from convkit.oracle.operator import Link, Operator, Outside
from convkit.spec.boundary import OUTSIDE, source_index
from convkit.spec.conv import ConvSpec


def position(spec: ConvSpec, axis: int, output: int, element: int, size: int, kernel: int) -> int:
    """Where in the extended input kernel element ``element`` stands for ``output``; the table of this module.

    Examples
    --------
    >>> [position(ConvSpec.of_arrays(1, "correlation", "same"), 0, 0, j, 9, 4) for j in range(4)]
    [-2, -1, 0, 1]
    """
    n, d, last = output * spec.stride[axis], spec.dilation[axis], kernel - 1
    flipped = spec.operation == "convolution"
    if spec.mode == "full":
        return n - d * element if flipped else n - d * (last - element)
    if spec.mode == "same":
        given = spec.anchor[axis] if spec.anchor is not None else None
        if flipped:
            return n + d * ((last // 2 if given is None else given) - element)
        return n + d * (element - (kernel // 2 if given is None else given))
    before = 0 if spec.mode == "valid" else _padding_before(spec, axis, size, kernel)
    return n + d * (last - element if flipped else element) - before


def _padding_before(spec: ConvSpec, axis: int, size: int, kernel: int) -> int:
    if spec.padding == "same":
        stride, reach = spec.stride[axis], spec.dilation[axis] * (kernel - 1) + 1
        total = (-(-size // stride) - 1) * stride + reach - size
        return max(total, 0) // 2
    return spec.padding[axis][0] if spec.padding else 0


def axis_source(spec: ConvSpec, axis: int, place: int, size: int) -> int | Outside:
    """The sample that stands at ``place`` along one axis, or what stands there instead."""
    name = spec.boundary[axis][0 if place < 0 else 1]
    source = source_index(place, size, name)
    if source != OUTSIDE:
        return source
    return "fill" if name == "constant" else "zero"


Taps = list[list[tuple[int, "int | Outside"]]]


def axis_taps(spec: ConvSpec, axis: int, count: int, size: int, kernel: int) -> Taps:
    """For each output along one axis: every kernel element with the source it meets."""
    return [
        [(j, axis_source(spec, axis, position(spec, axis, o, j, size, kernel), size)) for j in range(kernel)]
        for o in range(count)
    ]


def joined(sources: Sequence[int | Outside]) -> Index | Outside:
    """The source over all axes. Axes extend one after another, so the last one outside decides."""
    index: list[int] = []
    outside: Outside | None = None
    for source in sources:
        if isinstance(source, int):
            index.append(source)
        else:
            outside = source
    return tuple(index) if outside is None else outside


def array_operator(
    spec: ConvSpec, input_shape: Sequence[int], kernel_shape: Sequence[int], axes: Index = ()
) -> Operator:
    """The operator of ``ck.convolve`` and ``ck.correlate``.

    Parameters
    ----------
    spec : ConvSpec
        Made by `ConvSpec.of_arrays`.
    input_shape, kernel_shape : sequence of int
        The kernel has an axis for each of ``axes``, or one for each axis of the input; the axes not convolved
        then broadcast.
    axes : tuple of int
        The convolved axes, counted from 0, one for each axis of the spec; all of them where empty.

    Raises
    ------
    ShapeError, OptionError
        As `ConvSpec.windows`.
    """
    axes = axes or tuple(range(len(input_shape)))
    # A kernel with one axis for each convolved one is shared by all the others.
    shared = len(kernel_shape) == len(axes)
    along = tuple(range(len(axes))) if shared else axes
    sizes, kernels = [input_shape[a] for a in axes], [kernel_shape[a] for a in along]
    counts = spec.output_sizes(sizes, kernels)
    shape = [_broadcast(n, 1 if shared else kernel_shape[a]) for a, n in enumerate(input_shape)]
    for axis, count in zip(axes, counts, strict=True):
        shape[axis] = count
    taps = [axis_taps(spec, i, counts[i], sizes[i], kernels[i]) for i in range(len(axes))]

    def links() -> Iterator[Link]:
        for output in indices(shape):
            # Along an axis of size 1 that broadcasts, index 0 serves every output.
            source_at = _nearest(output, input_shape)
            kernel_at = [0] * len(axes) if shared else _nearest(output, kernel_shape)
            for combination in product(*(taps[i][output[axis]] for i, axis in enumerate(axes))):
                source = joined([where for _, where in combination])
                for i, (element, _) in enumerate(combination):
                    kernel_at[along[i]] = element
                    if not isinstance(source, str):
                        source_at[axes[i]] = source[i]
                yield Link(output, source if isinstance(source, str) else tuple(source_at), tuple(kernel_at))

    return Operator(tuple(input_shape), tuple(kernel_shape), tuple(shape), links, spec.fill, spec.conjugate)


def _broadcast(size: int, other: int) -> int:
    return size if other == 1 else other


def _nearest(index: Index, shape: Sequence[int]) -> list[int]:
    return [min(i, size - 1) for i, size in zip(index, shape, strict=True)]


def network_operator(spec: ConvSpec, input_shape: Sequence[int], weight_shape: Sequence[int]) -> Operator:
    """The operator of ``ck.conv``.

    ``out[b, o, n] = sum over c, j of x[b, group(o)*C/groups + c, position(n, j)] * w[o, c, j]``

    Parameters
    ----------
    spec : ConvSpec
        Made by `ConvSpec.of_network`.
    input_shape, weight_shape : sequence of int
        (batch, in channels, space...) and (out channels, in channels / groups, space...).
    """
    batch, _, *sizes = input_shape
    outs, share, *kernels = weight_shape
    counts = spec.output_sizes(sizes, kernels)
    taps = [axis_taps(spec, i, counts[i], sizes[i], kernels[i]) for i in range(spec.rank)]
    shape = (batch, outs, *counts)

    def links() -> Iterator[Link]:
        for output in indices(shape):
            b, o, *place = output
            first = o // (outs // spec.groups) * share
            for c in range(share):
                for combination in product(*(taps[i][p] for i, p in enumerate(place))):
                    source = joined([where for _, where in combination])
                    kernel = (o, c, *(element for element, _ in combination))
                    yield Link(output, source if isinstance(source, str) else (b, first + c, *source), kernel)

    return Operator(tuple(input_shape), tuple(weight_shape), shape, links, spec.fill, spec.conjugate)
