"""An explanation: a spec, its numbers, the trace of every term, and the verb's own result to check it against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from convkit.errors import OptionError, ShapeError, by
from convkit.explain.blocks import Block
from convkit.explain.values import compute
from convkit.explain.writing import convkit_code
from convkit.oracle import Grid, Step, Trace, TraceError, array_operator, network_operator, trace, transposed_operator
from convkit.oracle.adapters import from_grid, to_grid
from convkit.spec import ConvSpec, Window

MOST_TERMS = 200_000
"""Products that an explanation keeps at most."""

_NETWORK_OPTIONS = {"padding", "output_padding", "groups", "direction"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every step of one convolution.

    Attributes
    ----------
    spec : ConvSpec
        What is computed.
    x, k, bias : Grid
        The numbers, exact where they are exact.
    trace : Trace
        For every output its terms.
    result : ndarray
        What the verb gives.
    windows : tuple of Window
        Where the kernel lies, axis by axis.
    """

    spec: ConvSpec
    x: Grid
    k: Grid
    bias: Grid | None
    trace: Trace
    result: np.ndarray[Any, Any]
    windows: tuple[Window, ...]

    @property
    def steps(self) -> list[Step]:
        """One `Step` an output: its index, its terms, its value."""
        return self.trace.steps

    @property
    def code(self) -> str:
        """The call that is explained."""
        return convkit_code(self.spec, bias="bias" if self.bias is not None else None)

    @property
    def spatial(self) -> int:
        """The first convolved axis: 2 where batch and channels stand in front."""
        return 0 if self.spec.mode is not None else 2

    def positions(self, step: Step, kernel: Sequence[int]) -> tuple[int, ...]:
        """Where a kernel element of one output stands on the input's axes, outside the array included."""
        places: list[int] = []
        for axis, window in enumerate(self.windows):
            element = kernel[self.spatial + axis]
            laid = window.kernel - 1 - element if self.spec.flips else element
            place = step.output[self.spatial + axis] * window.stride + window.start + laid * window.dilation
            places.append(place // window.up)
        return tuple(places)

    def outside(self, step: Step, kernel: Sequence[int]) -> bool:
        """Whether a kernel element of one output stands outside the array."""
        places = self.positions(step, kernel)
        return any(not 0 <= place < window.size for place, window in zip(places, self.windows, strict=True))

    def verify(self) -> None:
        """Check that the terms give the values shown, and that the verb gives the same values.

        Raises
        ------
        TraceError
            ``trace.wrong-product``, ``trace.wrong-sum`` or ``trace.differs-from-verb``, naming the output.
        """
        self.trace.verify()
        for step in self.trace:
            given = self.result[step.output]
            if not self._agrees(step, given):
                where = ", ".join(map(str, step.output))
                raise TraceError("differs-from-verb", output=where, value=step.value, verb=given)

    def _agrees(self, step: Step, given: Any) -> bool:
        if self.result.dtype.kind == "O":
            return bool(step.value == given)
        stored = from_grid(Grid((1,), [step.value]), self.result.dtype, self.spec.overflow)[0]
        if self.result.dtype.kind in "iu":
            return bool(stored == given)
        if not np.isfinite(stored) or not np.isfinite(given):
            return bool(stored == given or (stored != stored and given != given))
        size = sum(abs(complex(term.product)) for term in step.terms) + abs(complex(step.bias or 0))
        return abs(complex(stored) - complex(given)) <= 64 * float(np.finfo(self.result.dtype).eps) * max(size, 1e-300)

    def blocks(self) -> list[Block]:
        """The explanation as paragraphs, tables and steps, in the language in force."""
        from convkit.explain.blocks import blocks_of

        return blocks_of(self)

    def text(self) -> str:
        """The explanation as plain text."""
        from convkit.explain.render_text import text

        return text(self.blocks())

    def markdown(self) -> str:
        """The explanation as Markdown."""
        from convkit.explain.render_markdown import markdown

        return markdown(self.blocks())

    def svg(self, output: Sequence[int] | None = None) -> str:
        """A picture of one output: the window it sees, the kernel as it lies, the result."""
        from convkit.explain.render_svg import svg

        return svg(self, output)

    def html(self) -> str:
        """The explanation as one self-contained piece of HTML."""
        from convkit.explain.render_html import html

        return html(self)

    _repr_html_ = html

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain data, for programs."""
        return {"code": self.code, "blocks": [block.to_dict() for block in self.blocks()], **self.trace.to_dict()}


def explain(x: Any, k: Any, bias: Any = None, *, spec: ConvSpec | None = None, **options: Any) -> Explanation:
    """Explain a convolution step by step, with its own numbers.

    Parameters
    ----------
    x, k : array_like
        Input and kernel. With a network's options, batch x channel x space and (out, in/groups, space).
    bias : array_like, optional
        One number an output channel.
    spec : ConvSpec, optional
        What is computed, instead of ``options``.
    **options
        The options of the verb; ``operation="correlation"`` for `correlate`, any of ``padding``, ``groups``,
        ``output_padding`` or ``direction`` for the network's verbs.

    Returns
    -------
    Explanation
        With ``.text()``, ``.markdown()``, ``.svg()``, ``.html()``, ``.steps``; notebooks show it.

    Raises
    ------
    ShapeError
        ``shape.too-large-to-explain``, and those of the verb.
    OptionError
        ``option.not-explained``, and those of the verb.

    Examples
    --------
    >>> print(explain([1, 2, 3], [1, 2, 3]).steps[2].value)
    10
    """
    given, kernel = np.asarray(x), np.asarray(k)
    added = None if bias is None else np.asarray(bias)
    if spec is None:
        spec = _spec(given, kernel, added, options)
    elif options:
        raise OptionError("spec-and-options", options=", ".join(options))
    if spec.nan != "propagate":
        raise OptionError("not-explained", option="nan", value=spec.nan)
    lead = 0 if spec.mode is not None else 2
    if given.ndim != spec.rank + lead or kernel.ndim != spec.rank + lead:
        raise ShapeError("wrong-rank", input=by(given.shape), kernel=by(kernel.shape), rank=spec.rank + lead)
    windows = spec.windows(given.shape[lead:], kernel.shape[lead:])
    _check_size(given, kernel, windows, lead)
    result = compute(spec, given, kernel, added)
    operator_of = array_operator
    if spec.mode is None:
        operator_of = network_operator if spec.direction == "forward" else transposed_operator
    operator = operator_of(spec, given.shape, kernel.shape)
    grids = [None if array is None else to_grid(array, "plain") for array in (given, kernel, added)]
    samples, elements, extra = grids
    assert samples is not None
    assert elements is not None
    explanation = Explanation(
        spec, samples, elements, extra, trace(operator, samples, elements, extra), result, windows
    )
    explanation.verify()
    return explanation


def _spec(x: np.ndarray[Any, Any], k: np.ndarray[Any, Any], bias: object, options: dict[str, Any]) -> ConvSpec:
    known = {key: value for key, value in options.items() if key != "method"}
    for name in ("axes", "weights", "mask", "out"):
        if known.pop(name, None) is not None:
            raise OptionError("not-explained", option=name, value=str(options[name]))
    if bias is not None or _NETWORK_OPTIONS & set(known):
        if x.ndim < 3:
            raise ShapeError("wrong-rank", input=by(x.shape), kernel=by(k.shape), rank=3)
        return ConvSpec.of_network(x.ndim - 2, known.pop("operation", "correlation"), **known)
    if isinstance(known.get("dtype"), type | np.dtype):
        known["dtype"] = np.dtype(known["dtype"]).name
    return ConvSpec.of_arrays(x.ndim, known.pop("operation", "convolution"), known.pop("mode", "full"), **known)


def _check_size(x: np.ndarray[Any, Any], k: np.ndarray[Any, Any], windows: tuple[Window, ...], lead: int) -> None:
    outputs = prod(window.count for window in windows) * (x.shape[0] * k.shape[0] if lead else 1)
    terms = outputs * prod(window.kernel for window in windows) * (k.shape[1] if lead else 1)
    if terms > MOST_TERMS:
        side = max(1, int((MOST_TERMS * x.size / terms) ** (1 / max(1, len(windows)))) // 2)
        crop = ", ".join(["..."] * bool(lead) + [f":{min(side, size)}" for size in x.shape[lead:]])
        raise ShapeError("too-large-to-explain", input=by(x.shape), kernel=by(k.shape), terms=terms, most=MOST_TERMS,
                         crop=crop)  # fmt: skip
