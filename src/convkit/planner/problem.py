"""Problem: a lowered convolution with everything that decides how it should be done. Hashable."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from convkit.spec.conv import Accuracy
from convkit.spec.epilogue import Epilogue
from convkit.spec.options import Overflow
from convkit.spec.window import Window

Structure = Literal["dense", "separable", "low-rank"]


@dataclass(frozen=True, slots=True)
class Smooth:
    """What is known of a factor of the kernel that is a sum of few oscillations, see `convkit.planner.exponentials`.

    Attributes
    ----------
    terms : int
        How many oscillations.
    parity : {"even", "odd", "none"}
        Whether the factor is symmetric or antisymmetric about its middle.
    direction : {"forward", "backward"}
        Along which samples enter the recursion, so that it does not grow.
    error : float
        The distance of the sum from the factor, compared with the factor, by norms.
    growth : float
        How many units of roundoff, compared with the factor, one step may leave in the outputs.
    """

    terms: int
    parity: Literal["even", "odd", "none"]
    direction: Literal["forward", "backward"]
    error: float
    growth: float


@dataclass(frozen=True)
class Problem:
    """``out[b,g,o,i] = sum_c sum_j v[b,g,c, i*stride + start + j*dilation] * w[g,o,c,j]``.

    ``v`` is the boundary-extended input (see `Window`), ``w`` the kernel in the order in which it is laid down.

    Attributes
    ----------
    windows : tuple of Window
        The geometry, one entry a convolved axis.
    batch, groups, in_channels, out_channels : int
        Sizes of ``b``, ``g``, ``c`` and ``o``; channels are counted within a group.
    input_dtype, kernel_dtype : str
        How the arrays are stored.
    compute_dtype : str
        What sums are formed in; an integer type means that they must be exact.
    result_dtype : str
        What the caller stores in the end, if it is another type: an algorithm may write it at once.
    structure, rank : str, int
        What is known of the kernel's values: ``rank`` outer products of one vector an axis.
    uniform : tuple of int
        The axes along which the kernel is known to be constant.
    smooth : tuple of Smooth
        For each axis, of what its factor is known to be a sum within the accuracy asked for; empty if of nothing.
    batch_of : {"samples", "channels"}
        Samples must not change each other's bits; the channels of a weight gradient may be computed together.
    epilogue : Epilogue, optional
        What becomes of the sums before they are stored.
    kernel_is : {"kept", "fresh"}
        Whether a kernel that was made ready serves many calls; that of a gradient has changed until the next.
    """

    windows: tuple[Window, ...]
    batch: int = 1
    groups: int = 1
    in_channels: int = 1
    out_channels: int = 1
    input_dtype: str = "float64"
    kernel_dtype: str = "float64"
    compute_dtype: str = "float64"
    result_dtype: str = ""
    fill: complex = 0
    accuracy: Accuracy = "norm"
    overflow: Overflow = "raise"
    structure: Structure = "dense"
    rank: int = 0
    uniform: tuple[int, ...] = ()
    smooth: tuple[Smooth, ...] = ()
    batch_of: Literal["samples", "channels"] = "samples"
    device: str = "cpu"
    epilogue: Epilogue | None = None
    kernel_is: Literal["kept", "fresh"] = "kept"

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.windows, self.batch, self.groups, self.in_channels, self.out_channels, self.input_dtype,
                     self.kernel_dtype, self.compute_dtype, self.result_dtype, self.fill, self.accuracy, self.overflow,
                     self.structure, self.rank, self.uniform, self.smooth, self.batch_of, self.device,
                     self.epilogue, self.kernel_is))  # fmt: skip

    @cached_property
    def taps(self) -> int:
        """Kernel elements that meet one input channel."""
        return math.prod(window.kernel for window in self.windows)

    @cached_property
    def outputs(self) -> int:
        """Output positions of one channel of one sample."""
        return math.prod(window.count for window in self.windows)

    @cached_property
    def images(self) -> int:
        """Single-channel convolutions: batch x groups x input channels x output channels."""
        return self.batch * self.groups * self.in_channels * self.out_channels

    @property
    def terms(self) -> int:
        """Products summed into one output."""
        return self.taps * self.in_channels

    @property
    def multiply_adds(self) -> int:
        """Products of the definition, boundary included."""
        return self.taps * self.outputs * self.images

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(batch, groups, out_channels, *count); of windows that an epilogue pools, so many fewer."""
        counts = [window.count for window in self.windows]
        if self.epilogue is not None and self.epilogue.pool:
            counts = [count // size for count, size in zip(counts, self.epilogue.pool, strict=True)]
        return (self.batch, self.groups, self.out_channels, *counts)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """(groups, out_channels, in_channels, *kernel)."""
        return (self.groups, self.out_channels, self.in_channels, *(window.kernel for window in self.windows))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(batch, groups, in_channels, *size)."""
        return (self.batch, self.groups, self.in_channels, *(window.size for window in self.windows))

    @property
    def single(self) -> bool:
        """Whether one kernel is shared by every channel: no sum over channels, no groups."""
        return self.groups == self.in_channels == self.out_channels == 1

    @property
    def upsampled(self) -> bool:
        """Whether zeros stand between the input's samples along some axis."""
        return any(window.up > 1 for window in self.windows)

    @cached_property
    def plain(self) -> Problem:
        """The sums alone, in their own type, for an algorithm that leaves the epilogue to others."""
        return self if self.epilogue is None else self.derive(epilogue=None, result_dtype="")

    @cached_property
    def sums(self) -> Problem:
        """The sums alone, in their own type."""
        return self.derive(epilogue=None, result_dtype="") if self.epilogue or self.result_dtype else self

    @property
    def exact(self) -> bool:
        """Whether sums are over integers, so that the result must be exact."""
        return self.compute_dtype in ("int64", "uint64")

    def derive(self, **changes: object) -> Problem:
        """A copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def __str__(self) -> str:
        sizes = "x".join(str(window.size) for window in self.windows)
        kernel = "x".join(str(window.kernel) for window in self.windows)
        counts = "x".join(str(window.count) for window in self.windows)
        channels = "" if self.single else f" channels {self.groups}*{self.in_channels}->{self.out_channels}"
        return f"{sizes} * {kernel} -> {counts}{channels} batch {self.batch} {self.compute_dtype}"
