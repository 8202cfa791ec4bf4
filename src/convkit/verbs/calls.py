"""A call worked out once: from shapes, types and options to something that takes arrays.

The second call with the same shapes, types and options finds its record in a dictionary.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np

from convkit import algorithms as _algorithms  # noqa: F401  (registers the algorithms)
from convkit import memory
from convkit.arrays import NUMPY, Namespace, stored_name
from convkit.errors import DTypeError, OptionError, ShapeError, by
from convkit.planner.algorithm import Alone, Array
from convkit.planner.plan import Plan, Prepared, Quick
from convkit.planner.problem import Problem
from convkit.spec.conv import ConvSpec
from convkit.verbs.bilinear import FACTORED, Bilinear, run
from convkit.verbs.dtypes import ElementTypes, check_fill, element_types, finish, result_name
from convkit.verbs.layout import Layout, layout_of

_KEPT = 4096
_ONE = (None, None, None)
"""One sample, one group, one channel: the axes that a lone array lacks."""

SMALL_KERNEL, SMALL_INPUT = 1 << 12, 1 << 17
"""Bytes of a kernel, and samples of an input, up to which what was made of the kernel is remembered by its bytes."""

SMALL_FACTORED = 1 << 16
"""Bytes of a kernel up to which it is, whatever the input, if what is made of it is its factors."""

_REMEMBERED = 32
_ready: dict[tuple[ArrayCall, bytes], Alone] = {}
"""What was made of small kernels: the same one often comes again, and then nothing has to be found out about it."""


class ArrayCall:
    """``convolve`` or ``correlate`` for one set of shapes, types and options.

    Attributes
    ----------
    spec : ConvSpec
        What is computed.
    layout : Layout
        Which axes are convolved.
    types : ElementTypes
        What sums are formed and stored in.
    operator : Bilinear
        The arithmetic, with its adjoints.
    dtypes : tuple of str
        Types of input, kernel and result.
    counts : tuple of int
        Outputs along the convolved axes.
    lone : bool
        Whether all axes of the array are convolved, in their order, and NumPy has its types.
    """

    __slots__ = (
        "_kernel_bytes",
        "_laid",
        "_small",
        "counts",
        "dtypes",
        "layout",
        "lone",
        "operator",
        "quick",
        "spec",
        "types",
    )

    def __init__(self, spec: ConvSpec, layout: Layout, types: ElementTypes, x_dtype: str, k_dtype: str, method: str):
        self.spec = spec
        self.layout = layout
        self.types = types
        fill = check_fill(spec.fill, types.compute)
        problem = Problem(
            windows=spec.windows(layout.sizes, layout.kernel), batch=layout.batch, groups=layout.groups,
            input_dtype=stored_name(x_dtype), kernel_dtype=widened_name(k_dtype), compute_dtype=types.compute,
            result_dtype=types.result if types.compute != types.result == stored_name(types.result) else "",
            fill=fill, accuracy=spec.accuracy, overflow=spec.overflow,
        )  # fmt: skip
        self.operator = Bilinear(problem, method)
        self.dtypes = x_dtype, k_dtype, types.result
        self.counts = tuple(window.count for window in problem.windows)
        order = slice(None, None, -1) if spec.flips else slice(None)
        self._laid = (*_ONE, *[order] * layout.rank)
        in_order = not layout.lead and layout.axes == tuple(range(layout.rank))
        self.lone = in_order and spec.nan == "propagate" and "bfloat16" not in self.dtypes
        self._kernel_bytes = math.prod(layout.kernel) * np.dtype(problem.kernel_dtype).itemsize
        self._small = self._kernel_bytes <= SMALL_KERNEL and math.prod(layout.sizes) <= SMALL_INPUT
        self.quick = self._quick()

    def _quick(self) -> Quick | None:
        """For one NumPy array, what is left to do once everything else has been worked out.

        It gives None for arrays that need more care.
        """
        operator = self.operator
        if not self.lone:
            return None
        if operator.method in FACTORED or operator.worth_a_look:
            return self._ready
        plan = operator.plan()
        arithmetic = plan.quick("convolution" if self.spec.flips else "correlation")
        if arithmetic is None or self.types.result != plan.stored:
            return self._ready
        if self.spec.conjugate and operator.problem.kernel_dtype.startswith("complex"):
            return lambda x, k, out: arithmetic(x, k.conj(), out)
        return arithmetic

    def _ready(self, x: Array, k: Array, out: Array | None) -> Array | None:
        """The way by a kernel made ready; small ones are remembered."""
        return (self._remembered(k) if self._kernel_bytes <= SMALL_FACTORED else self._alone(k)[0])(x, out)

    def _remembered(self, k: Array) -> Alone:
        """`_alone`, made once for kernels of the same bytes."""
        key = self, k.tobytes()
        known = _ready.get(key)
        if known is None:
            known, factored = self._alone(k.copy())
            if self._small or factored:
                if len(_ready) >= _REMEMBERED:
                    _ready.clear()
                _ready[key] = known
        return known

    def _alone(self, k: Array) -> tuple[Alone, bool]:
        """The run with this kernel, and whether it is one outer product."""
        laid = (k.conj() if self.spec.conjugate else k)[self._laid]
        plan = self.operator.plan(laid)
        return self.alone(plan, plan.prepare(laid)), plan.problem.structure == "separable"

    def alone(self, plan: Plan, prepared: Prepared) -> Alone:
        """The run for an array whose axes are all convolved, in their order: nothing is looked up, no axis moves."""
        at_once = prepared.plan.stored == self.types.result
        short = plan.alone(prepared) if at_once else None

        def run(x: Array, out: Array | None) -> Array | None:
            result = short(x, out) if short is not None else None
            if result is not None or out is not None:
                return result
            sums = memory.empty(self.counts, prepared.plan.stored)
            plan.run(prepared, x[_ONE], sums[_ONE])
            return self._finish(sums)

        return run

    def canonical_kernel(self, xp: Namespace, k: Any) -> Any:
        """The kernel as the operator takes it: flipped and conjugated as the spec says."""
        laid = self.layout.canonical_kernel(xp, xp.conj(k) if self.spec.conjugate else k)
        return xp.flip(laid, self.layout.rank) if self.spec.flips else laid

    def run(self, xp: Namespace, x: Any, k: Any, out: Any = None) -> Any:
        """The result for two arrays of the shapes and types that the call was made for."""
        if xp is NUMPY:
            result = self.quick(x, k, out) if self.quick is not None else None
            if result is not None:
                return result
            laid = self.canonical_kernel(xp, widened(xp, k))
            plan = self.operator.plan(laid)
            writable = out is not None and not np.may_share_memory(out, k)
            return self.run_prepared(plan, plan.prepare(laid), x, out, writable)
        laid = self.canonical_kernel(xp, widened(xp, k))
        sums = xp.apply(self.operator, "forward", self.layout.canonical_input(xp, widened(xp, x)), laid)
        return xp.finish(self.layout.restore(xp, sums), self.types.result, self._finish)

    def run_prepared(
        self, plan: Plan, prepared: Prepared, x: Array, out: Array | None = None, writable: bool = True
    ) -> Array:
        """The same for NumPy arrays and a kernel made ready; a large input is never copied to be laid out.

        ``out`` is written directly where its type and its place in memory allow it.
        """
        stored = prepared.plan.stored
        direct = out is not None and writable and out.dtype == stored and not np.may_share_memory(out, x)
        sums = out if direct and out is not None else memory.empty(self.output_shape(), stored)
        outer = self.layout.outer_axis(x)
        if outer is None:
            _into(self.layout, plan, prepared, x, sums)
        else:
            others = [axis for axis in range(x.ndim) if axis not in self.layout.axes]
            part = self.layout.without(outer)
            slices, targets = np.moveaxis(x, others[outer], 0), np.moveaxis(sums, others[outer], 0)
            for samples, target in zip(slices, targets, strict=True):
                _into(part, plan, prepared, samples, target)
        result = NUMPY.finish(sums, self.types.result, self._finish)
        if out is None:
            return result
        if result is not out:
            out[...] = result
        return out

    def _finish(self, sums: Array) -> Array:
        return finish(sums, self.types.result, self.spec.overflow)

    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.layout_shape(self.counts)

    def layout_shape(self, along: list[int] | tuple[int, ...]) -> tuple[int, ...]:
        """A shape with ``along`` on the convolved axes and the broadcast sizes on the others."""
        layout = self.layout
        sizes = dict(zip(layout.axes, along, strict=True))
        others = iter(layout.lead)
        return tuple(sizes[axis] if axis in sizes else next(others) for axis in range(len(layout.lead) + layout.rank))

    def plan(self) -> Plan:
        """The plan of the forward operator, the kernel's values not known."""
        return self.operator.plan()


def _into(layout: Layout, plan: Plan, prepared: Prepared, x: Array, out: Array) -> None:
    """Write the result for ``x`` into ``out``, both with their axes in the caller's order."""
    moved = np.moveaxis(out, layout.axes, range(-layout.rank, 0))
    target = moved.reshape((layout.batch, layout.groups, 1, *moved.shape[len(layout.lead) :]))
    done = run(plan, prepared, layout.canonical_input(NUMPY, x), target)
    if done is not target or not np.may_share_memory(target, out):
        moved[...] = done.reshape(moved.shape)


def widened_name(dtype: str) -> str:
    """The type in which `widened` gives an array."""
    return "float32" if dtype == "bfloat16" else dtype


def widened(xp: Namespace, array: Any) -> Any:
    """bfloat16, whose arithmetic NumPy does not know without help, as float32."""
    return xp.cast(array, "float32") if xp.dtype(array) == "bfloat16" else array


_calls: dict[Hashable, ArrayCall] = {}


def array_call(
    x_shape: tuple[int, ...],
    k_shape: tuple[int, ...],
    x_dtype: str,
    k_dtype: str,
    operation: str,
    mode: str,
    *,
    axes: Any = None,
    dtype: Any = None,
    method: str = "auto",
    **options: Any,
) -> ArrayCall:
    """The record of one call, made now or found again."""
    key = (x_shape, k_shape, x_dtype, k_dtype, operation, mode, axes, dtype, method, *options.values())
    try:
        known = _calls.get(key)
    except TypeError:  # options given as lists or arrays
        axes, dtype, options = (
            plain(axes),
            plain(dtype),
            {name: plain(value) for name, value in options.items()},
        )
        key = (
            x_shape,
            k_shape,
            x_dtype,
            k_dtype,
            operation,
            plain(mode),
            axes,
            dtype,
            plain(method),
            *options.values(),
        )
        known = _calls.get(key)
    if known is not None:
        return known
    layout = layout_of(x_shape, k_shape, axes)
    asked = result_name(dtype)
    spec = ConvSpec.of_arrays(layout.rank, operation, mode, dtype=asked, **options)
    types = element_types(x_dtype, k_dtype, asked)
    call = ArrayCall(spec, layout, types, x_dtype, k_dtype, method)
    if method not in FACTORED:
        call.plan()  # an unknown method, or an accuracy out of reach, is said before any work
    if len(_calls) >= _KEPT:
        _calls.clear()
    _calls[key] = call
    return call


def plain(value: Any) -> Any:
    """An option's value as a number or nested tuples, so that it can be a key."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value


def check_out(out: Any, shape: tuple[int, ...], dtype: str) -> None:
    """Raise unless ``out`` is a writable NumPy array of ``shape`` and ``dtype``.

    Raises
    ------
    OptionError
        ``option.out-not-writable``.
    ShapeError
        ``shape.out``.
    DTypeError
        ``dtype.out``.
    """
    if not isinstance(out, np.ndarray) or not out.flags.writeable:
        raise OptionError("out-not-writable", type=type(out).__name__)
    if out.shape != shape:
        raise ShapeError("out", out=by(out.shape), result=by(shape), shape=shape)
    if out.dtype.name != dtype:
        raise DTypeError("out", out=out.dtype.name, result=dtype)
