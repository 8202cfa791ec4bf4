"""Streams: a signal that arrives in blocks, filtered as it comes.

The concatenated output does not depend, bit for bit, on how the signal was cut. Short kernels are summed term by term,
which gives every output the same operations wherever it stands; long ones are cut into partitions, or transformed in
blocks, that lie on a grid fixed by the kernel and the options alone.
"""

from __future__ import annotations

from math import prod
from typing import Any, cast

import numpy as np

from convkit.arrays import NUMPY
from convkit.errors import OptionError, ShapeError, by, choose
from convkit.planner.algorithm import Array
from convkit.planner.problem import Problem
from convkit.spec.conv import ConvSpec
from convkit.spec.options import LATENCIES, Latency, Overflow, whole_number
from convkit.verbs.dtypes import check_fill, element_types, finish, result_name
from convkit.verbs.stream_signal import Signal
from convkit.verbs.stream_ways import Geometry, way_for


class Stream:
    """A one-dimensional convolution over a signal of unknown length; made by ``Convolver.stream``.

    ``out[i] = sum_j v[i*stride + start + j*dilation] * w[j]``, as for the whole signal at once.

    Where a long kernel is cut into partitions of B samples (`block`), with ``h`` the laid kernel reversed and ``h_p``
    its elements ``p*B .. (p+1)*B - 1``: ``y[n] = sum_{m<B} h[m] v[n-m] + sum_{p>=1} (h_p * v)[n]``. The first sum is
    formed term by term as samples arrive, the second by overlap-save, with the spectra of the last blocks kept: one
    real transform forth and one back for each block, and one product of spectra for each partition. Far from the head
    partitions are larger, and their work is spread over the blocks that arrive meanwhile. A stream then holds about
    ``4 + 3.3*rows`` numbers for each tap, however long the signal is: 2.8 MB for 100 000 taps in float32 and one row,
    5.6 MB in float64; under another boundary than zero and constant, up to eight more a tap and row.

    Notes
    -----
    W. G. Gardner, Efficient convolution without input-output delay, J. Audio Eng. Soc. 43(3), 1995: a head without
    delay, larger partitions behind it. F. Wefers, Partitioned convolution algorithms for real-time auralization, RWTH
    Aachen, 2015: uniform partitions with a frequency-domain delay line (chapter 5), scheduling of larger ones (6).

    Examples
    --------
    >>> import numpy as np, convkit as ck
    >>> stream = ck.Convolver(np.array([1.0, 2.0, 3.0])).stream()
    >>> np.concatenate([stream.push([1.0, 2.0]), stream.push([3.0]), stream.flush()])
    array([ 1.,  4., 10., 12.,  9.])

    A room response of two seconds: every block gives as many samples as it took.

    >>> rng = np.random.default_rng(0)
    >>> room = rng.standard_normal(96_000) * np.exp(-np.arange(96_000) / 20_000)
    >>> reverb = ck.Convolver(room).stream(block=256)
    >>> [reverb.push(rng.standard_normal(count)).size for count in (256, 100, 256)]
    [256, 100, 256]
    >>> reverb.latency, reverb.block
    (0, 256)
    """

    def __init__(
        self, kernel: Any, operation: str, mode: str, axis: int, options: dict[str, Any], latency: str = "zero",
        block: int | None = None,
    ) -> None:  # fmt: skip
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
        self._latency: Latency = cast("Latency", choose("latency", latency, LATENCIES))
        self._block = None if block is None else whole_number("block", block, 1)
        self._kernel = kernel
        self._window = self._spec.windows((kernel.size * self._spec.dilation[0],), kernel.shape)[0]
        self._ended = False
        self._engine: _Engine | None = None

    @property
    def latency(self) -> int:
        """Samples that may have arrived before the output that they complete is given out, beyond the window itself.

        Known from the first block on, whose type has a part in how the stream computes; 0 before.
        """
        return 0 if self._engine is None else self._engine.way.latency

    @property
    def block(self) -> int | None:
        """Samples of one partition; None where the kernel is not cut into partitions, and before the first block."""
        return None if self._engine is None else self._engine.way.block

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
            self._engine = _Engine(self, moved.shape[:-1], samples.dtype.name)
        engine = self._engine
        if moved.shape[:-1] != engine.lead or samples.dtype.name != engine.dtype:
            first = f"{by(engine.lead)} {engine.dtype}"
            raise ShapeError("stream-block", block=by(moved.shape[:-1]), first=first, dtype=samples.dtype.name)
        engine.signal.take(moved)
        return np.moveaxis(engine.give(final=False), -1, self._axis)

    __call__ = push

    def __repr__(self) -> str:
        shape, taken = by(self._kernel.shape), 0 if self._engine is None else self._engine.signal.received
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
    """A stream's signal, and the way its outputs are computed."""

    def __init__(self, stream: Stream, lead: tuple[int, ...], dtype: str) -> None:
        spec, kernel, window = stream._spec, stream._kernel, stream._window
        self.lead, self.dtype = lead, dtype
        self._types = element_types(dtype, kernel.dtype.name, spec.dtype)
        self._overflow: Overflow = spec.overflow
        self.signal = Signal(spec, window, lead, dtype, check_fill(spec.fill, self._types.compute))
        laid = np.conj(kernel) if spec.conjugate and kernel.dtype.kind == "c" else kernel
        laid = laid[::-1][None, None, None] if spec.flips else laid[None, None, None]
        problem = Problem(
            windows=(window,), input_dtype=self.signal.dtype.name, kernel_dtype=kernel.dtype.name,
            compute_dtype=self._types.compute, accuracy=spec.accuracy, overflow=spec.overflow,
        )  # fmt: skip
        self.way = way_for(Geometry(window, laid, problem), prod(lead), stream._latency, stream._block)

    def give(self, final: bool) -> Array:
        """The outputs that are due; at the end, all that remain."""
        sums = np.empty((prod(self.lead), 0), self._types.compute)
        if self.signal.extend_before(self.way.before, final):
            total = self.signal.extend_after() if final else None
            sums = self.way.give(self.signal, total)
        return finish(sums.reshape(*self.lead, sums.shape[-1]), self._types.result, self._overflow)
