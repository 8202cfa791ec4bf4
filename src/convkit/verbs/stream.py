"""Streams: a signal that arrives in blocks, filtered as it comes.

The concatenated output does not depend, bit for bit, on how the signal was cut. Short kernels are summed term by term,
which gives every output the same operations wherever it stands; long ones are transformed in blocks that lie on a grid
fixed by the kernel alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit.arrays import NUMPY
from convkit.errors import OptionError, ShapeError, by
from convkit.planner.algorithm import Array
from convkit.planner.plan import Plan, Prepared, plan_for
from convkit.planner.problem import Problem
from convkit.spec import sizes
from convkit.spec.boundary import OUTSIDE, index_map
from convkit.spec.conv import ConvSpec
from convkit.spec.options import whole_number
from convkit.spec.window import Window
from convkit.verbs.dtypes import check_fill, element_types, finish, result_name

GRID = 4
"""Outputs of one transformed block, in kernel lengths."""


class Stream:
    """A one-dimensional convolution over a signal of unknown length; made by ``Convolver.stream``.

    Examples
    --------
    >>> import numpy as np, convkit as ck
    >>> stream = ck.Convolver(np.array([1.0, 2.0, 3.0])).stream()
    >>> np.concatenate([stream.push([1.0, 2.0]), stream.push([3.0]), stream.flush()])
    array([ 1.,  4., 10., 12.,  9.])
    """

    def __init__(self, kernel: Any, operation: str, mode: str, axis: int, options: dict[str, Any]) -> None:
        if not isinstance(kernel, np.ndarray) or kernel.ndim != 1 or kernel.dtype.kind not in "biufc":
            raise OptionError("stream-kernel", kernel=by(kernel.shape))
        chosen = {key: value for key, value in options.items() if key not in ("axes", "method", "dtype")}
        self._spec = ConvSpec.of_arrays(1, operation, mode, dtype=result_name(options.get("dtype")), **chosen)
        for name in self._spec.boundary[0]:
            if name == "wrap" and mode != "valid":
                raise OptionError("stream-wrap")
        if self._spec.nan != "propagate":
            raise OptionError("stream-nan")
        self._axis = whole_number("axis", axis, -64)
        self._kernel = kernel
        self._window = self._spec.windows((kernel.size * self._spec.dilation[0],), kernel.shape)[0]
        self._ended = False
        self._engine: _Engine | None = None

    @property
    def latency(self) -> int:
        """Samples that may have arrived before the output that they complete is given out, beyond the window itself."""
        return 0 if self._engine is None or self._engine.grid == 1 else self._engine.grid * self._spec.stride[0] - 1

    def push(self, block: Any) -> Array:
        """Take the next samples and give the outputs that are complete.

        Parameters
        ----------
        block : array_like
            Samples along the stream's axis; the other axes are the same in every block.

        Returns
        -------
        ndarray
            The next outputs along that axis; possibly none.

        Raises
        ------
        OptionError
            ``option.stream-ended`` after `flush`.
        ShapeError
            ``shape.stream-block`` if the other axes, or the type, are not those of the first block.
        """
        if self._ended:
            raise OptionError("stream-ended")
        samples = NUMPY.array(block, "block")
        if samples.ndim == 0:
            raise ShapeError("stream-block", block=by(samples.shape), first="1-D", dtype=samples.dtype.name)
        if not -samples.ndim <= self._axis < samples.ndim:
            raise ShapeError("no-such-axis", axis=self._axis, rank=samples.ndim, last=samples.ndim - 1)
        moved = np.moveaxis(samples, self._axis, -1)
        if self._engine is None:
            self._engine = _Engine(self._spec, self._kernel, self._window, moved.shape[:-1], samples.dtype.name)
        engine = self._engine
        if moved.shape[:-1] != engine.lead or samples.dtype.name != engine.dtype:
            first = f"{by(engine.lead)} {engine.dtype}"
            raise ShapeError("stream-block", block=by(moved.shape[:-1]), first=first, dtype=samples.dtype.name)
        engine.take(moved)
        return np.moveaxis(engine.give(final=False), -1, self._axis)

    __call__ = push

    def __repr__(self) -> str:
        shape, taken = by(self._kernel.shape), 0 if self._engine is None else self._engine.received
        return f"Stream({shape} {self._kernel.dtype} along axis {self._axis}, {taken} samples taken)"

    def flush(self) -> Array:
        """End the signal and give the remaining outputs, those at the far boundary included."""
        if self._ended:
            raise OptionError("stream-ended")
        self._ended = True
        if self._engine is None:
            raise OptionError("stream-empty")
        return np.moveaxis(self._engine.give(final=True), -1, self._axis)


class _Engine:
    """The state of one stream: extended samples not yet used up, and how far outputs have been given."""

    def __init__(self, spec: ConvSpec, kernel: Array, window: Window, lead: tuple[int, ...], dtype: str) -> None:
        self.lead, self.dtype = lead, dtype
        self._spec, self._window = spec, window
        self._types = element_types(dtype, kernel.dtype.name, spec.dtype)
        self._fill = check_fill(spec.fill, self._types.compute)
        laid = np.conj(kernel) if spec.conjugate and kernel.dtype.kind == "c" else kernel
        self._laid = laid[::-1][None, None, None] if spec.flips else laid[None, None, None]
        self.grid = self._choose_grid()
        self._plans: dict[int, tuple[Plan, Prepared]] = {}
        self.received = 0  # samples pushed
        self._given = 0  # outputs given
        self._first: int | None = None  # position of the buffer's first sample; None until the near side is extended
        self._buffer = np.empty((*lead, 0), dtype)

    def _problem(self, outputs: int) -> Problem:
        """``outputs`` outputs of a block that holds exactly their windows."""
        w = self._window
        size = (outputs - 1) * w.stride + w.reach
        window = Window(size, w.kernel, outputs, 0, w.stride, w.dilation)
        batch = int(np.prod(self.lead, dtype=np.int64))
        return Problem(
            windows=(window,), batch=batch, input_dtype=self.dtype, kernel_dtype=self._laid.dtype.name,
            compute_dtype=self._types.compute, accuracy=self._spec.accuracy, overflow=self._spec.overflow,
        )  # fmt: skip

    def _choose_grid(self) -> int:
        """Outputs of one transform, or 1 where summing terms is cheaper (or the only way to be exact enough)."""
        outputs = max(1, GRID * self._window.reach // self._window.stride)
        problem = self._problem(outputs)
        if problem.exact or self._spec.accuracy == "elementwise":
            return 1
        rows = {row.algorithm: row for row in plan_for(problem).report().rows}
        terms, transform = rows["direct"].cost, rows["fft"].cost
        if terms is None or transform is None or rows["fft"].why_not is not None:
            return 1
        return outputs if transform.seconds < terms.seconds else 1

    def _plan(self, outputs: int) -> tuple[Plan, Prepared]:
        method = "fft" if self.grid > 1 else ("exact-integer" if self._problem(1).exact else "direct")
        key = outputs if outputs == self.grid else 0
        if key and key in self._plans:
            return self._plans[key]
        plan = plan_for(self._problem(outputs), method)
        made = plan, plan.prepare(self._laid)
        if key:
            self._plans[key] = made
        return made

    def take(self, block: Array) -> None:
        """Add samples to the buffer."""
        self.received += block.shape[-1]
        self._buffer = np.concatenate([self._buffer, block], axis=-1)

    def give(self, final: bool) -> Array:
        """The outputs whose windows are complete; at the end, all that remain."""
        before = max(0, -self._window.start)
        if self._first is None:
            if not final and self.received < self._window.reach:
                return np.empty((*self.lead, 0), self._types.result)
            self._buffer = np.concatenate([self._outside(-before, before), self._buffer], axis=-1)
            self._first = -before
        total = self._total() if final else None
        if final:
            end = self._window.start + (total - 1) * self._window.stride + self._window.reach if total else 0
            if end > self.received:
                self._buffer = np.concatenate(
                    [self._buffer, self._outside(self.received, end - self.received)], axis=-1
                )
        held = self._first + self._buffer.shape[-1]
        complete = max(0, (held - self._window.start - self._window.reach) // self._window.stride + 1)
        until = total if total is not None else complete // self.grid * self.grid
        parts = [self._next(until) for _ in range(-(-(until - self._given) // self.grid) if self.grid > 1 else 1)]
        outputs = [part for part in parts if part.shape[-1]]
        result = np.concatenate(outputs, axis=-1) if outputs else np.empty((*self.lead, 0), self._types.compute)
        self._drop()
        return finish(result, self._types.result, self._spec.overflow)

    def _next(self, until: int) -> Array:
        """The next block of outputs, a whole one on the grid even if fewer are left."""
        wanted = until - self._given if self.grid == 1 else min(self.grid, until - self._given)
        if wanted <= 0:
            return np.empty((*self.lead, 0), self._types.compute)
        computed = wanted if self.grid == 1 else self.grid
        plan, prepared = self._plan(computed)
        size = plan.problem.windows[0].size
        assert self._first is not None
        at = self._window.start + self._given * self._window.stride - self._first
        block = self._buffer[..., at : at + size]
        if block.shape[-1] < size:  # beyond the end nothing is used, so zeros do
            block = np.concatenate([block, np.zeros((*self.lead, size - block.shape[-1]), self.dtype)], axis=-1)
        out = np.empty(plan.problem.output_shape, self._types.compute)
        plan.run(prepared, block.reshape(plan.problem.input_shape), out)
        self._given += wanted
        return out.reshape((*self.lead, computed))[..., :wanted]

    def _total(self) -> int:
        window, size = self._window, self.received
        if self._spec.mode == "full":
            return sizes.full_size(size, window.kernel, window.stride, window.dilation).value
        if self._spec.mode == "same":
            return sizes.same_size(size, window.stride).value
        sizes.check_fit((size,), (window.kernel,), (window.dilation,))
        return sizes.padded_size(size, window.kernel, window.stride, window.dilation).value

    def _outside(self, start: int, count: int) -> Array:
        """Extended samples at positions ``start ..``, before the first or after the last sample received."""
        shape = (*self.lead, count)
        sources = np.asarray(index_map(start, count, self.received, self._window.sides), np.intp)
        name = self._window.sides[0 if start < 0 else 1]
        if count == 0 or self.received == 0 or name in ("zero", "constant"):
            if count and self.received == 0 and name not in ("zero", "constant") and self._total():
                raise ShapeError("nothing-to-extend", axis=0, boundary=name)
            return np.full(shape, self._fill if name == "constant" else 0, self.dtype)
        held = self._first if self._first is not None else 0
        assert OUTSIDE not in sources
        return self._buffer[..., sources - held]

    def _drop(self) -> None:
        """Forget samples that no later window and no far boundary needs."""
        assert self._first is not None
        needed = self._window.start + self._given * self._window.stride
        keep = min(needed, self.received - 2 * self._window.reach)
        if keep > self._first and keep > 0:
            self._buffer = self._buffer[..., keep - self._first :]
            self._first = keep
