"""A problem that is measured, as data: what is convolved with what, and the least work that takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from convkit.cli.bench.layer_tables import Form
from convkit.errors import by

Kind = Literal["filter", "layer"]
Values = Literal["dense", "separable", "gaussian", "box", "derivative"]
Layout = Literal["contiguous", "transposed", "reversed", "sliced"]
Direction = Literal["forward", "input-gradient", "weight-gradient"]


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes
    ----------
    suite : str
        The suite it belongs to.
    kind : {"filter", "layer"}
        A filter correlates one array with one kernel, as many outputs as inputs; a layer is batch x channel x space.
    shape, kernel : tuple of int
        Sizes of the input and of the kernel (the weights).
    dtype : str
        Element type of the input and, unless ``result`` says otherwise, of the result. Kernels have the same type;
        those of bytes are float32, but for derivatives, which are int64.
    stride, padding, groups : int
        Options of a layer; a filter has the stride only.
    direction : {"forward", "input-gradient", "weight-gradient"}
        A layer's output, or one of its gradients.
    dilation : int
        Distance of the kernel's elements.
    axes : tuple of int
        The axes that a filter runs along, if not all; the others are channels that share the kernel.
    boundary : str
        What stands outside a filter's input, by NumPy's names.
    values : {"dense", "separable", "gaussian", "box", "derivative"}
        A filter's kernel: random numbers, an outer product of random vectors, or the named one.
    sigma : float
        Standard deviation of a Gaussian.
    result : str
        Element type of the result, where it is not the input's.
    layout : {"contiguous", "transposed", "reversed", "sliced"}
        How a filter's input lies in memory.
    span : int
        Whole numbers are between ``-span`` and ``span``, but for bytes.
    tolerance : float
        The error by norms that is asked of convkit instead of a few units of roundoff; peers are asked for nothing.
    form : {"conv", "transposed"}
        Whether a layer is a convolution, with weights (out, in/groups, ...), or the adjoint of one, with weights
        (in, out/groups, ...).
    source : str
        The networks that a layer comes from.
    """

    suite: str
    kind: Kind
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: str = "float32"
    stride: int = 1
    padding: int = 0
    groups: int = 1
    direction: Direction = "forward"
    dilation: int = 1
    axes: tuple[int, ...] = ()
    boundary: str = "zero"
    values: Values = "dense"
    sigma: float = 0.0
    result: str = ""
    layout: Layout = "contiguous"
    span: int = 1000
    tolerance: float = 0.0
    form: Form = "conv"
    source: str = ""

    @property
    def name(self) -> str:
        """A short name, unique within a suite."""
        parts = [by(self.shape), by(self.kernel), self.dtype]
        if self.result:
            parts.append(f"to {self.result}")
        if self.values != "dense":
            parts.append(f"{self.values} {self.sigma:g}" if self.sigma else self.values)
        if self.form != "conv":
            parts.append(self.form)
        if self.stride > 1:
            parts.append(f"stride {self.stride}")
        if self.dilation > 1:
            parts.append(f"dilation {self.dilation}")
        if self.groups > 1:
            parts.append(f"groups {self.groups}")
        if self.padding:
            parts.append(f"padding {self.padding}")
        if self.boundary != "zero":
            parts.append(self.boundary)
        if self.layout != "contiguous":
            parts.append(self.layout)
        if np.dtype(self.dtype).kind == "i" and self.span != 1000:
            parts.append(f"up to {self.span:.0e}")
        if self.tolerance:
            parts.append(f"within {self.tolerance:.0e}")
        if self.direction != "forward":
            parts.append(self.direction)
        return " ".join(parts)

    @property
    def spatial(self) -> tuple[int, ...]:
        """Sizes along the convolved axes."""
        if self.kind == "layer":
            return self.shape[2:]
        return tuple(self.shape[axis] for axis in self.axes) if self.axes else self.shape

    @property
    def taps(self) -> tuple[int, ...]:
        """Kernel elements along the convolved axes."""
        return self.kernel if self.kind == "filter" else self.kernel[2:]

    @property
    def filter_axes(self) -> tuple[int, ...]:
        """The axes that a filter runs along."""
        return self.axes or tuple(range(len(self.shape)))

    @property
    def along(self) -> tuple[int, ...]:
        """A filter's kernel elements along every axis of the input: 1 along those that it does not run along."""
        taps = dict(zip(self.filter_axes, self.kernel, strict=True))
        return tuple(taps.get(axis, 1) for axis in range(len(self.shape)))

    @property
    def output(self) -> tuple[int, ...]:
        """Sizes of the result."""
        if self.kind == "filter":
            strided = self.filter_axes
            return tuple(-(-n // self.stride) if axis in strided else n for axis, n in enumerate(self.shape))
        reaches = [self.dilation * (taps - 1) + 1 for taps in self.taps]
        sides = zip(self.spatial, reaches, strict=True)
        if self.form == "transposed":
            space = [(size - 1) * self.stride + reach - 2 * self.padding for size, reach in sides]
            return (self.shape[0], self.kernel[1] * self.groups, *space)
        space = [(size + 2 * self.padding - reach) // self.stride + 1 for size, reach in sides]
        return (self.shape[0], self.kernel[0], *space)

    @property
    def computed(self) -> tuple[int, ...]:
        """Sizes of what is computed: of the output, or of a gradient."""
        return {"forward": self.output, "input-gradient": self.shape, "weight-gradient": self.kernel}[self.direction]

    @property
    def options(self) -> dict[str, int]:
        """The options of a layer that differ from what they are unless somebody says so."""
        named = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        return {name: value for name, value in named.items() if value != (0 if name == "padding" else 1)}

    @property
    def out_dtype(self) -> str:
        """Element type of the result."""
        return self.result or self.dtype

    @property
    def plain(self) -> bool:
        """Whether a filter has stride 1, dilation 1, zeros outside and runs along all axes."""
        return self.stride == self.dilation == 1 and self.boundary == "zero" and not self.axes

    @property
    def _each(self) -> float:
        """Real operations of one product and its addition."""
        return 8.0 if np.dtype(self.dtype).kind == "c" else 2.0

    @property
    def flops(self) -> float:
        """Additions and multiplications of the definition."""
        channels = 1 if self.kind == "filter" else self.kernel[1]
        # A transposed layer lays its kernel down once for each sample of the input.
        windows = self.output if self.form == "conv" else self.shape
        return self._each * math.prod(windows) * channels * math.prod(self.taps)

    @property
    def factored_flops(self) -> float:
        """Operations of one pass along each axis, or of running sums; infinite where the kernel has no factors."""
        if self.values == "dense":
            return math.inf
        each = 2.0 * len(self.taps) if self.values == "box" else self._each * sum(self.taps)
        return each * math.prod(self.output)

    @cached_property
    def transform_flops(self) -> float:
        """Operations of overlap-save with the best power-of-two tile; infinite for layers, which sum over channels."""
        if self.kind == "layer":
            return math.inf
        rank, outputs = len(self.taps), math.prod(self.shape)
        reach = [self.dilation * (taps - 1) + 1 for taps in self.taps]
        best = math.inf
        for exponent in range(1, 28):
            tiles = [max(1, min(2**exponent, 2 * size) - taps + 1) for size, taps in zip(self.spatial, reach)]
            if 2**exponent < 2 * max(reach) and 2**exponent < max(self.spatial):
                continue
            samples = float(2 ** (exponent * rank))
            work = 5.0 * samples * math.log2(samples) + 3.0 * samples
            best = min(best, work * outputs / math.prod(tiles))
        return best * (2.0 if np.dtype(self.dtype).kind == "c" else 1.0)

    @property
    def bytes(self) -> float:
        """Bytes that must be read and written at least once."""
        size, written = np.dtype(self.dtype).itemsize, np.dtype(self.out_dtype).itemsize
        return float(size * (math.prod(self.shape) + math.prod(self.kernel)) + written * math.prod(self.output))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The input and the kernel: the same numbers every time."""
        return _arrays(replace(self, direction="forward", source=""))

    def upstream(self) -> np.ndarray:
        """The gradient of a layer's output that is carried back: the same numbers every time."""
        return _upstream(replace(self, direction="forward", source=""))

    def factors(self) -> list[np.ndarray] | None:
        """The kernel's vectors, one an axis, where it is an outer product."""
        return _vectors(self)

    def _kernel(self, rng: np.random.Generator) -> np.ndarray:
        if self.kind == "layer":
            return _samples(rng, self, self.kernel)
        factors = self._factors(rng)
        if factors is None:
            if self.dtype != "uint8":
                return _samples(rng, self, self.kernel)
            kernel = rng.random(self.kernel, np.float32)
            return kernel / kernel.sum()
        kernel = factors[0]
        for factor in factors[1:]:
            kernel = kernel[..., None] * factor
        return np.ascontiguousarray(kernel)

    def _factors(self, rng: np.random.Generator) -> list[np.ndarray] | None:
        kind = "float32" if self.dtype == "uint8" else self.dtype
        if self.values == "separable":
            if self.dtype == "uint8":
                vectors = [rng.random(taps, np.float32) for taps in self.kernel]
                return [vector / vector.sum() for vector in vectors]
            return [_samples(rng, self, (taps,)) for taps in self.kernel]
        if self.values == "gaussian":
            places = [np.arange(taps) - taps // 2 for taps in self.kernel]
            bells = [np.exp(-0.5 * (place / self.sigma) ** 2) for place in places]
            return [(bell / bell.sum()).astype(kind) for bell in bells]
        if self.values == "box":
            return [np.full(taps, 1 / taps, kind) for taps in self.kernel]
        if self.values == "derivative":
            whole = "int64" if self.dtype == "uint8" else kind
            return [np.array([1, 2, 1], whole), np.array([-1, 0, 1], whole)]
        return None


@lru_cache(maxsize=1)
def _arrays(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Made once for everybody who takes part."""
    rng = np.random.default_rng(20260)
    return _laid_out(_samples(rng, problem, problem.shape), problem.layout), problem._kernel(rng)


@lru_cache(maxsize=1)
def _upstream(problem: Problem) -> np.ndarray:
    return _samples(np.random.default_rng(20261), problem, problem.output)


@lru_cache(maxsize=1)
def _vectors(problem: Problem) -> list[np.ndarray] | None:
    rng = np.random.default_rng(20260)
    _samples(rng, problem, problem.shape)
    return problem._factors(rng)


def _samples(rng: np.random.Generator, problem: Problem, shape: tuple[int, ...]) -> np.ndarray:
    kind = np.dtype(problem.dtype)
    if kind == np.uint8:
        return rng.integers(0, 256, shape, np.uint8)
    if kind.kind in "iu":
        return rng.integers(-problem.span if kind.kind == "i" else 0, problem.span + 1, shape).astype(kind)
    if kind.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(kind)
    return rng.standard_normal(shape).astype(kind)


def _laid_out(x: np.ndarray, layout: Layout) -> np.ndarray:
    """The same numbers as a view of another array."""
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "reversed":
        return np.ascontiguousarray(np.flip(x))[(slice(None, None, -1),) * x.ndim]
    if layout == "sliced":
        wider = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wider[..., ::2] = x
        return wider[..., ::2]
    return x
