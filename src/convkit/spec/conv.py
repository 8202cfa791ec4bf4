"""ConvSpec: everything that says what is to be computed, and nothing about how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convkit.errors import OptionError, ShapeError, by, choose
from convkit.spec import sizes
from convkit.spec.options import (
    MODES,
    NAN_POLICIES,
    OPERATIONS,
    OVERFLOWS,
    Mode,
    NanPolicy,
    Operation,
    Overflow,
    Sides,
    boundary_sides,
    entries,
    pad_pairs,
    per_axis,
    tolerance,
    whole_number,
)
from convkit.spec.window import Window

Padding = tuple[tuple[int, int], ...] | Literal["same"]
Accuracy = Literal["norm", "elementwise"] | float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvSpec:
    """What a convolution means: frozen, hashable, every option spelled out for every axis.

    Make one with `ConvSpec.of_arrays` (the verbs on arrays: ``convolve``, ``correlate``) or `ConvSpec.of_network`
    (the verbs on batch x channel x space: ``conv``, ``conv_transpose``).

    Attributes
    ----------
    rank : int
        Number of convolved axes.
    operation : {"convolution", "correlation"}
        Whether the kernel is flipped.
    conjugate : bool
        Whether the kernel is conjugated: correlation of arrays does, a network's does not.
    mode : {"full", "same", "valid"} or None
        Extent of the result; None where ``padding`` says it.
    padding : tuple of (before, after), "same", or None
        A network's padding; None where ``mode`` says it.
    anchor : tuple of int or None
        Kernel element that lies on the output sample in mode ``same``; None outside that mode.
    direction : {"forward", "transposed"}
        Transposed is the exact adjoint of the forward operation with the same options.
    """

    rank: int
    operation: Operation = "convolution"
    conjugate: bool = False
    direction: Literal["forward", "transposed"] = "forward"
    mode: Mode | None = "full"
    padding: Padding | None = None
    output_padding: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    anchor: tuple[int | None, ...] | None = None
    boundary: tuple[Sides, ...] = ()
    fill: complex = 0
    groups: int = 1
    dtype: str | None = None
    overflow: Overflow = "raise"
    nan: NanPolicy = "propagate"
    accuracy: Accuracy = "norm"

    @classmethod
    def of_arrays(
        cls,
        rank: int,
        operation: str = "convolution",
        mode: str = "full",
        *,
        boundary: object = "zero",
        fill: complex = 0,
        stride: object = 1,
        dilation: object = 1,
        anchor: object = None,
        dtype: str | None = None,
        overflow: str = "raise",
        nan: str = "propagate",
        accuracy: object = "norm",
    ) -> ConvSpec:
        """The spec of ``ck.convolve`` and ``ck.correlate`` over ``rank`` axes, its options checked."""
        choose("operation", operation, OPERATIONS)
        choose("mode", mode, MODES)
        if anchor is not None and mode != "same":
            raise OptionError("anchor-needs-same", mode=mode)
        sides = boundary_sides(boundary, rank)
        return cls(
            rank=rank,
            operation=operation,  # type: ignore[arg-type]
            conjugate=operation == "correlation",
            mode=mode,  # type: ignore[arg-type]
            stride=per_axis("stride", stride, rank, 1),
            dilation=per_axis("dilation", dilation, rank, 1),
            anchor=_anchors(anchor, rank) if mode == "same" else None,
            boundary=sides,
            fill=_shown_fill(fill, sides),
            **_policies(dtype, overflow, nan, accuracy),  # type: ignore[arg-type]
        )

    @classmethod
    def of_network(
        cls,
        rank: int,
        operation: str = "correlation",
        *,
        direction: Literal["forward", "transposed"] = "forward",
        stride: object = 1,
        padding: object = 0,
        output_padding: object = 0,
        dilation: object = 1,
        groups: int = 1,
        boundary: object = "zero",
        fill: complex = 0,
        dtype: str | None = None,
        overflow: str = "raise",
        accuracy: object = "norm",
    ) -> ConvSpec:
        """The spec of ``ck.conv`` and ``ck.conv_transpose`` over ``rank`` spatial axes, its options checked."""
        choose("operation", operation, OPERATIONS)
        if isinstance(padding, str):
            choose("padding", padding, ("same", "valid"))
            pads: Padding = "same" if padding == "same" else ((0, 0),) * rank
        else:
            pads = pad_pairs(padding, rank)
        strides, dilations = per_axis("stride", stride, rank, 1), per_axis("dilation", dilation, rank, 1)
        sides = boundary_sides(boundary, rank)
        extra = per_axis("output_padding", output_padding, rank, 0)
        for axis, spare in enumerate(extra):
            if spare >= max(strides[axis], dilations[axis]) and spare > 0:
                raise OptionError(
                    "output-padding", value=spare, stride=strides[axis], dilation=dilations[axis], axis=axis
                )
        return cls(
            rank=rank,
            operation=operation,  # type: ignore[arg-type]
            direction=direction,
            mode=None,
            padding=pads,
            output_padding=extra,
            stride=strides,
            dilation=dilations,
            boundary=sides,
            fill=_shown_fill(fill, sides),
            groups=whole_number("groups", groups, 1),
            **_policies(dtype, overflow, "propagate", accuracy),  # type: ignore[arg-type]
        )

    @property
    def flips(self) -> bool:
        """Whether the kernel is laid down reversed (see `Window`): a convolution, or a transposed correlation."""
        return (self.operation == "convolution") != (self.direction == "transposed")

    def output_sizes(self, input_sizes: Sequence[int], kernel_sizes: Sequence[int]) -> tuple[int, ...]:
        """Sizes of the result along the convolved axes."""
        return tuple(window.count for window in self.windows(input_sizes, kernel_sizes))

    def windows(self, input_sizes: Sequence[int], kernel_sizes: Sequence[int]) -> tuple[Window, ...]:
        """Lower the spec to one `Window` an axis, checking that kernel and input go together.

        Raises
        ------
        ShapeError
            ``shape.wrong-rank``, ``shape.empty-kernel``, ``shape.kernel-does-not-fit``, ``shape.nothing-to-extend``,
            ``shape.empty-output``.
        OptionError
            ``option.anchor-out-of-kernel``.
        """
        sizes_in, kernels = tuple(input_sizes), tuple(kernel_sizes)
        if len(sizes_in) != self.rank or len(kernels) != self.rank:
            raise ShapeError("wrong-rank", input=by(sizes_in), kernel=by(kernels), rank=self.rank)
        if 0 in kernels:
            raise ShapeError("empty-kernel", kernel=by(kernels), axis=kernels.index(0))
        if self.direction == "transposed":
            return self._transposed_windows(sizes_in, kernels)
        starts, counts = self._starts_and_counts(sizes_in, kernels)
        windows = tuple(
            Window(n, k, count, start, s, d, 1, sides)
            for n, k, count, start, s, d, sides in zip(
                sizes_in, kernels, counts, starts, self.stride, self.dilation, self.boundary, strict=True
            )
        )
        for axis, window in enumerate(windows):
            needed = {*window.sides} - {"zero", "constant"}
            if window.size == 0 and window.count > 0 and needed:
                raise ShapeError("nothing-to-extend", axis=axis, boundary=", ".join(sorted(needed)))
        return windows

    def _starts_and_counts(self, sizes_in: tuple[int, ...], kernels: tuple[int, ...]) -> tuple[list[int], list[int]]:
        starts: list[int] = []
        counts: list[int] = []
        if self.mode == "valid":
            sizes.check_fit(sizes_in, kernels, self.dilation)
        elif self.mode is None and self.padding != "same":
            pads = self.pads(sizes_in, kernels)
            padded = tuple(n + before + after for n, (before, after) in zip(sizes_in, pads, strict=True))
            sizes.check_fit(padded, kernels, self.dilation)
        for axis, (n, k, s, d) in enumerate(zip(sizes_in, kernels, self.stride, self.dilation, strict=True)):
            reach = sizes.reach(k, d)
            if self.mode == "full":
                starts.append(1 - reach)
                counts.append(sizes.full_size(n, k, s, d).value)
            elif self.mode == "same":
                anchor = self.anchor_of(axis, k)
                # A convolution lays the kernel reversed, so its anchor counts from the other end.
                starts.append(-d * (k - 1 - anchor if self.operation == "convolution" else anchor))
                counts.append(sizes.same_size(n, s).value)
            elif self.mode == "valid":
                starts.append(0)
                counts.append(sizes.padded_size(n, k, s, d).value)
            else:
                pad = self.pads(sizes_in, kernels)[axis]
                starts.append(-pad[0])
                counts.append(sizes.padded_size(n, k, s, d, pad).value if self.padding != "same" else -(-n // s))
        return starts, counts

    def pads(self, input_sizes: Sequence[int], kernel_sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """A network's padding as (before, after) for each axis, ``"same"`` worked out for these sizes."""
        if self.padding == "same":
            each = zip(input_sizes, kernel_sizes, self.stride, self.dilation, strict=True)
            return tuple(sizes.same_padding(*axis) for axis in each)
        return self.padding or ((0, 0),) * self.rank

    def anchor_of(self, axis: int, kernel: int) -> int:
        """The kernel element on the output sample along ``axis``.

        Unless given, ``(K-1)//2`` for a convolution and ``K//2`` for a correlation.
        """
        given = self.anchor[axis] if self.anchor is not None else None
        if given is None:
            return (kernel - 1) // 2 if self.operation == "convolution" else kernel // 2
        if given >= kernel:
            raise OptionError("anchor-out-of-kernel", anchor=given, kernel=kernel, axis=axis, last=kernel - 1)
        return given

    def _transposed_windows(self, sizes_in: tuple[int, ...], kernels: tuple[int, ...]) -> tuple[Window, ...]:
        if self.padding == "same":
            raise OptionError("transposed-same")
        windows: list[Window] = []
        for axis, (n, k) in enumerate(zip(sizes_in, kernels, strict=True)):
            s, d, pad = self.stride[axis], self.dilation[axis], self.pads(sizes_in, kernels)[axis]
            size = sizes.transposed_size(n, k, s, d, pad, self.output_padding[axis])
            if size.value < 1 and n > 0:
                raise ShapeError("empty-output", axis=axis, rule=size.rule, numbers=size.numbers, value=size.value)
            windows.append(Window(n, k, size.value, pad[0] - (sizes.reach(k, d) - 1), 1, d, s))
        return tuple(windows)


def _shown_fill(fill: complex, sides: tuple[Sides, ...]) -> complex:
    """``fill`` where some side shows it, otherwise 0, so that equal operations have equal specs."""
    return fill if any("constant" in pair for pair in sides) else 0


def _anchors(anchor: object, rank: int) -> tuple[int | None, ...] | None:
    if anchor is None:
        return None
    several = entries(anchor)
    if several is not None and len(several) == rank:
        return tuple(None if item is None else whole_number("anchor", item, 0) for item in several)
    return per_axis("anchor", anchor, rank, 0)


def _policies(dtype: str | None, overflow: str, nan: str, accuracy: object) -> dict[str, object]:
    choose("overflow", overflow, OVERFLOWS)
    choose("nan", nan, NAN_POLICIES)
    relative = tolerance(accuracy)
    if relative is not None:
        if not relative > 0:
            raise OptionError("tolerance-not-positive", value=relative)
        accuracy = relative
    else:
        choose("accuracy", accuracy, ("norm", "elementwise"))
    return {"dtype": dtype, "overflow": overflow, "nan": nan, "accuracy": accuracy}
