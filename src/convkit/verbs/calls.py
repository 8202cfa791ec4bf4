"""A call worked out once: from shapes, types and options to something that takes arrays.

The second call with the same shapes, types and options finds its record in a dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from convkit import algorithms as _algorithms  # noqa: F401  (registers the algorithms)
from convkit.arrays import NUMPY, Namespace
from convkit.errors import DTypeError, OptionError, ShapeError, by
from convkit.planner.algorithm import Array
from convkit.planner.plan import Plan, Prepared
from convkit.planner.problem import Problem
from convkit.spec.conv import ConvSpec
from convkit.verbs.bilinear import FACTORED, Bilinear, run
from convkit.verbs.dtypes import ElementTypes, check_fill, element_types, finish, result_name
from convkit.verbs.layout import Layout, layout_of

_KEPT = 4096


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
    """

    __slots__ = ("layout", "operator", "quick", "spec", "types")

    def __init__(self, spec: ConvSpec, layout: Layout, types: ElementTypes, x_dtype: str, k_dtype: str, method: str):
        self.spec = spec
        self.layout = layout
        self.types = types
        fill = check_fill(spec.fill, types.compute)
        problem = Problem(
            windows=spec.windows(layout.sizes, layout.kernel), batch=layout.batch, groups=layout.groups,
            input_dtype=_storage(x_dtype), kernel_dtype=_storage(k_dtype), compute_dtype=types.compute, fill=fill,
            accuracy=spec.accuracy, overflow=spec.overflow,
        )  # fmt: skip
        self.operator = Bilinear(problem, method)
        self.quick = self._quick()

    def _quick(self) -> Callable[[Array, Array], Array] | None:
        """For one short row of floats, the arithmetic alone."""
        problem = self.operator.problem
        plain = self.types.compute == self.types.result == problem.input_dtype == problem.kernel_dtype
        if not plain or self.layout.lead or self.spec.nan != "propagate" or self.operator.method in FACTORED:
            return None
        row = self.operator.plan().quick()
        if row is None or self.spec.flips:
            return row
        if self.spec.conjugate and problem.kernel_dtype.startswith("complex"):
            return lambda x, k: row(x, k[::-1].conj())
        return lambda x, k: row(x, k[::-1])

    def canonical_kernel(self, xp: Namespace, k: Any) -> Any:
        """The kernel as the operator takes it: flipped and conjugated as the spec says."""
        laid = self.layout.canonical_kernel(xp, xp.conj(k) if self.spec.conjugate else k)
        return xp.flip(laid, self.layout.rank) if self.spec.flips else laid

    def sums(self, xp: Namespace, x: Any, k: Any, out: Any = None) -> Any:
        """The result in the compute type, in canonical form."""
        laid = self.canonical_kernel(xp, k)
        if xp is NUMPY:
            plan = self.operator.plan(laid)
            return self.run_prepared(plan, plan.prepare(laid), x, out)
        return xp.apply(self.operator, "forward", self.layout.canonical_input(xp, x), laid, out)

    def run_prepared(self, plan: Plan, prepared: Prepared, x: Array, out: Array | None = None) -> Array:
        """The same for NumPy arrays and a kernel made ready; a large input is never copied to be laid out."""
        layout = self.layout
        outer = layout.outer_axis(x)
        if outer is None:
            return run(plan, prepared, layout.canonical_input(NUMPY, x), out)
        counts = [window.count for window in plan.problem.windows]
        sums = np.empty((layout.batch, 1, 1, *counts), self.types.compute) if out is None else out
        part = layout.without(outer)
        slices = np.moveaxis(x, [axis for axis in range(x.ndim) if axis not in layout.axes][outer], 0)
        targets = np.moveaxis(sums.reshape((*layout.lead, *counts)), outer, 0)
        for samples, target in zip(slices, targets, strict=True):
            done = run(plan, prepared, part.canonical_input(NUMPY, samples))
            target[...] = done.reshape(target.shape)
        return sums

    def run(self, xp: Namespace, x: Any, k: Any, out: Any = None) -> Any:
        """The result for two arrays of the shapes and types that the call was made for."""
        if xp is NUMPY and out is None and self.quick is not None:
            return self.quick(x, k)
        direct = self.writable(x, k, out) if out is not None else None
        return self.finished(xp, self.sums(xp, widened(xp, x), widened(xp, k), direct), out, direct)

    def finished(self, xp: Namespace, sums: Any, out: Any = None, direct: Array | None = None) -> Any:
        """Sums as the result, in ``out`` if it is given; ``direct`` is the view of it that may hold them already."""
        result = xp.finish(self.layout.restore(xp, sums), self.types.result, self._finish)
        if out is None:
            return result
        if direct is None or not np.shares_memory(sums, out):
            out[...] = result
        return out

    def _finish(self, sums: Array) -> Array:
        return finish(sums, self.types.result, self.spec.overflow)

    def writable(self, x: Array, k: Array, out: Array) -> Array | None:
        """``out`` in canonical form if the algorithm may write there: right type, no copy needed, no overlap."""
        if out.dtype.name != self.types.compute or np.may_share_memory(out, x) or np.may_share_memory(out, k):
            return None
        moved = np.moveaxis(out, self.layout.axes, range(-self.layout.rank, 0))
        canonical = moved.reshape((self.layout.batch, self.layout.groups, 1, *moved.shape[len(self.layout.lead) :]))
        return canonical if np.may_share_memory(canonical, out) else None

    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        counts = [window.count for window in self.operator.problem.windows]
        return self.layout_shape(counts)

    def layout_shape(self, along: list[int] | tuple[int, ...]) -> tuple[int, ...]:
        """A shape with ``along`` on the convolved axes and the broadcast sizes on the others."""
        layout = self.layout
        sizes = dict(zip(layout.axes, along, strict=True))
        others = iter(layout.lead)
        return tuple(sizes[axis] if axis in sizes else next(others) for axis in range(len(layout.lead) + layout.rank))

    def plan(self) -> Plan:
        """The plan of the forward operator, the kernel's values not known."""
        return self.operator.plan()


def _storage(dtype: str) -> str:
    return "float32" if dtype == "bfloat16" else dtype


def widened(xp: Namespace, array: Any) -> Any:
    """bfloat16, which NumPy's arithmetic does not know, as float32."""
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
