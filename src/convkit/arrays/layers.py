"""What the adapter of tensors asks of the verbs: a network's layer over memory that tensors and NumPy share.

The verbs stand above this room and hand their layers down to it, see `provide`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from convkit.arrays.namespace import Namespace

Direction = Literal["forward", "transposed"]
Map = Literal["forward", "input_gradient", "weight_gradient"]


class Options(NamedTuple):
    """A layer's options, spelled out for every axis in plain numbers and words: what an operator's schema holds.

    Attributes
    ----------
    stride, output_padding, dilation : tuple of int
        One number an axis.
    padding : tuple of int
        Before and after, axis by axis; none at all stands for ``"same"``.
    groups : int
        Independent layers side by side.
    boundary : tuple of str
        Before and after, axis by axis.
    fill : number
        What stands outside under ``constant``.
    operation : {"correlation", "convolution"}
        Whether the kernel is flipped.
    dtype : str
        The type of the result, ``""`` for the one that the inputs' types give.
    overflow, accuracy, method : str
        As in ``ck.conv``; a tolerance as its digits.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    boundary: tuple[str, ...]
    fill: complex
    operation: str
    dtype: str
    overflow: str
    accuracy: str
    method: str


class Job(Protocol):
    """What was done to arrays of some shapes and strides, to be done to others."""

    def run(self, places: Sequence[int]) -> bool:
        """Do it to arrays at these addresses; False where infinite numbers leave more to be done."""
        ...


class Layer(Protocol):
    """One layer for one set of shapes, types and options; arrays are NumPy's.

    Attributes
    ----------
    output_shape : tuple of int
        (batch, channel, *space) of the result.
    dtype : str
        Type of the result.
    stored : str
        Type in which it is written; the caller rounds it if it is another.
    sums : str
        Type that sums are formed in.
    written : bool
        Whether results are written where the caller says; otherwise they are new arrays, ``out`` being None.
    """

    output_shape: tuple[int, ...]
    dtype: str
    stored: str
    sums: str
    written: bool

    def prepare(self, w: Any, bias: bool, add: str, activation: str) -> Any:
        """The weights made ready for any number of inputs and an epilogue with these parts; ``add``: of which type."""
        ...

    def forward(self, ready: Any, x: Any, w: Any, bias: Any, add: Any, activation: str, out: Any) -> Any:
        """``activation(layer(x, w) + bias + add)``; weights that are not ready (None) are made so."""
        ...

    def recorded(
        self, of: Map, arrays: Sequence[Any], activation: str = "", ready: Any = None
    ) -> Job | Literal["never", "later"]:  # fmt: skip
        """A map done to arrays and made a job: the result, samples or upstream gradient, the other factor, addends.

        Of a gradient of weights the samples stand first. ``"never"`` for what is more than a job, ``"later"`` where
        these arrays do not tell.
        """
        ...

    def input_gradient(self, g: Any, w: Any, out: Any) -> Any:
        """Gradient of the input; a new array if ``out`` is None."""
        ...

    def weight_gradient(self, g: Any, x: Any, out: Any) -> Any:
        """Gradient of the weights, likewise."""
        ...


class PoolOptions(NamedTuple):
    """How windows are laid: one number an axis, the padding before and after, axis by axis.

    Attributes
    ----------
    size, stride, padding : tuple of int
        The windows.
    rounding : {"floor", "ceil"}
        Whether a last window may hang over the end.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    rounding: str


class Layers(Protocol):
    """Layers of all kinds, and pooling."""

    def options(self, direction: Direction, rank: int, method: str, given: dict[str, Any]) -> Options:
        """The options of a verb, checked and spelled out."""
        ...

    def layer(
        self, direction: Direction, x_shape: tuple[int, ...], w_shape: tuple[int, ...], x_dtype: str, w_dtype: str,
        options: Options,
    ) -> Layer:  # fmt: skip
        """The layer, made now or found again."""
        ...

    def result(
        self, direction: Direction, x_shape: Sequence[Any], w_shape: Sequence[Any], x_dtype: str, w_dtype: str,
        options: Options,
    ) -> tuple[tuple[Any, ...], str]:  # fmt: skip
        """Shape and type of the output; sizes may be symbols."""
        ...

    def check_addends(
        self, xp: Namespace, bias: Any, add: Any, activation: str, shape: Sequence[Any], compute: str
    ) -> None:  # fmt: skip
        """Raise unless addends and activation go with sums of this shape and type."""
        ...

    def check_gradient(self, shape: Sequence[Any], expected: Sequence[Any], x: Sequence[Any], w: Sequence[Any]) -> None:
        """Raise unless a gradient has the shape of the layer's output."""
        ...

    def lend(self, team: Any, number: int) -> None:
        """Have the work done by threads of the tensors' library, see `convkit.codegen.pool.lend`."""
        ...

    def pooled(self, shape: Sequence[Any], options: PoolOptions) -> tuple[Any, ...]:
        """Shape of what pooling gives; sizes may be symbols."""
        ...

    def largest(self, x: Any, options: PoolOptions) -> Any:
        """The largest value of each window."""
        ...

    def selected(self, x: Any, values: Any, options: PoolOptions) -> Any:
        """For each window the number of ``values`` where the largest of ``x`` stands, the first of equals."""
        ...

    def selected_gradient(self, x: Any, g: Any, options: PoolOptions) -> Any:
        """The adjoint: ``g`` added up where the largest of ``x`` stand."""
        ...

    def largest_kept(self, x: Any, options: PoolOptions) -> tuple[Any, Any] | None:
        """The largest value of each window and its place there, kept for `kept_gradient`; None where nobody can."""
        ...

    def kept_gradient(self, g: Any, places: Any, shape: tuple[int, ...], options: PoolOptions) -> Any:
        """``g`` added up at the places kept, for an input of this shape."""
        ...

    def mean(self, x: Any, options: PoolOptions) -> Any:
        """The mean of each window."""
        ...

    def mean_gradient(self, g: Any, shape: tuple[int, ...], options: PoolOptions) -> Any:
        """Gradient of the mean's input."""
        ...


_provided: list[Layers] = []


def provide(layers: Layers) -> None:
    """Hand down the verbs' layers."""
    _provided[:] = [layers]


def provided() -> Layers:
    """What was handed down."""
    return _provided[0]
