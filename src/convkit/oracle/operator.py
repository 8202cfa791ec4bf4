"""An operator written down as its links, and the one sum that every forward value is.

``out[o] = sum over links (o, s, j) of x[s] * k[j]  (+ bias[channel of o])``

The gradients, the adjoint and the trace are other sums over the same links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from convkit.oracle.grid import Grid, Index, Number

Outside: TypeAlias = Literal["zero", "fill"]
"""What stands at a position that takes its value from no sample: nothing, or the fill value."""


class Link(NamedTuple):
    """One product: the output it adds to, the sample (or what stands outside), the kernel element."""

    output: Index
    source: Index | Outside
    kernel: Index


@dataclass(frozen=True)
class Operator:
    """A sum of products of input samples and kernel elements.

    Attributes
    ----------
    input_shape, kernel_shape, output_shape : tuple of int
        Shapes of the arrays it joins.
    links : callable
        Yields every `Link`, freshly on each call.
    fill : number
        The value of a link whose source is ``"fill"``.
    conjugate : bool
        Whether the kernel's elements are conjugated.
    """

    input_shape: Index
    kernel_shape: Index
    output_shape: Index
    links: Callable[[], Iterable[Link]]
    fill: Number = 0
    conjugate: bool = False

    def sample(self, x: Grid, link: Link) -> Number:
        """The input's value in ``link``; the integer 0 where nothing stands."""
        if link.source == "zero":
            return 0
        return self.fill if link.source == "fill" else x[link.source]

    def element(self, k: Grid, link: Link) -> Number:
        """The kernel's value in ``link``, conjugated where the operator says so."""
        return k[link.kernel].conjugate() if self.conjugate else k[link.kernel]

    def apply(self, x: Grid, k: Grid, bias: Grid | None = None) -> Grid:
        """The output: ``out[o] = sum x[s] * k[j]``, plus ``bias[o[1]]`` where a bias is given.

        A position where nothing stands adds no term, so an infinite kernel element beyond a zero boundary
        does not make NaN. An output without terms is the integer 0.

        Examples
        --------
        >>> from convkit.oracle import array_operator
        >>> from convkit.spec import ConvSpec
        >>> array_operator(ConvSpec.of_arrays(1), (3,), (2,)).apply(Grid.of([1, 2, 3]), Grid.of([1, 10])).values
        [1, 12, 23, 30]
        """
        out = Grid.full(self.output_shape, 0)
        for link in self.links():
            if link.source != "zero":
                out.add(link.output, self.sample(x, link) * self.element(k, link))
        if bias is not None:
            for index in out.indices():
                out.add(index, bias[index[1:2]])
        return out
