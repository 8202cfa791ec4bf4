"""Where the windows stand along one axis: the single geometry that every operation is lowered to.

``out[i] = sum_j v[i*stride + start + j*dilation] * w[j]``, i = 0..count-1, j = 0..kernel-1

where ``v`` is the boundary-extended input with ``up - 1`` zeros put between neighbouring samples, and ``w`` the
kernel in the order in which it is laid down: reversed for a convolution, as it is for a correlation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from convkit.spec.options import Sides


@dataclass(frozen=True, slots=True)
class Window:
    """One axis of a lowered convolution; see the formula of this module.

    Attributes
    ----------
    size : int
        Samples of the input along this axis.
    kernel : int
        Elements of the kernel.
    count : int
        Outputs.
    start : int
        Position, in the upsampled input, of the first element of the first window. May be negative.
    stride, dilation, up : int
        Distance between windows, between the kernel's elements, and between input samples.
    sides : tuple of str
        The boundaries before and after.
    """

    size: int
    kernel: int
    count: int
    start: int = 0
    stride: int = 1
    dilation: int = 1
    up: int = 1
    sides: Sides = ("zero", "zero")

    @property
    def reach(self) -> int:
        """Positions that one window covers: ``dilation*(kernel-1) + 1``."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def first(self) -> int:
        """First position that any window touches (in the upsampled input)."""
        return self.start

    @property
    def last(self) -> int:
        """Last position that any window touches; ``first - 1`` if there is no window."""
        if self.count == 0:
            return self.start - 1
        return self.start + (self.count - 1) * self.stride + self.reach - 1

    @property
    def span(self) -> int:
        """Number of positions from the first to the last."""
        return self.last - self.first + 1

    @property
    def inside(self) -> bool:
        """Whether no window leaves the input, so that the boundary plays no part."""
        return self.first >= 0 and self.last <= (self.size - 1) * self.up

    @property
    def extension(self) -> tuple[int, int]:
        """First position and number of the samples that a gradient goes to, zeros between samples not counted.

        They are those that windows touch. On sides with boundary ``zero`` or ``constant`` they are all of the input's,
        touched or not, and none beyond: there is no sample.
        """
        first = 0 if self.sides[0] in ("zero", "constant") else -(-self.first // self.up)
        last = self.size - 1 if self.sides[1] in ("zero", "constant") else self.last // self.up
        return first, max(0, last - first + 1)

    def input_adjoint(self) -> Window:
        """The axis that carries a gradient back to the samples of the extended input, those of `extension`.

        ``dv[p] = sum_j g'[p*up - start - j*dilation] * w[j]``: the kernel reversed, the gradient with ``stride - 1``
        zeros between its samples (that is ``g'``), and a window for every input sample.
        """
        first, count = self.extension
        return Window(
            size=self.count,
            kernel=self.kernel,
            count=count,
            start=first * self.up - self.start - (self.reach - 1),
            stride=self.up,
            dilation=self.dilation,
            up=self.stride,
        )

    def kernel_adjoint(self) -> Window:
        """The axis whose result is the gradient of the kernel: the upstream gradient becomes the kernel.

        ``dk[j] = sum_i v[start + j*dilation + i*stride] * g[i]``: stride and dilation change places.
        """
        return replace(self, kernel=self.count, count=self.kernel, stride=self.dilation, dilation=self.stride)
