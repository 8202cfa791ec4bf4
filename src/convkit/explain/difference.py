"""Two conventions on the same arrays: which outputs differ, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.catalogue import say
from convkit.explain.card import passport
from convkit.explain.meaning import Note
from convkit.explain.values import compute
from convkit.explain.writing import convkit_code
from convkit.spec import ConvSpec


@dataclass(frozen=True, slots=True)
class Difference:
    """Two results and where they differ.

    Attributes
    ----------
    spec_a, spec_b : ConvSpec
        The two conventions.
    result_a, result_b : ndarray
        What they give.
    mask : ndarray of bool or None
        True where they differ; None where the shapes differ.
    notes : tuple of Note
        Why, in sentences.
    """

    spec_a: ConvSpec
    spec_b: ConvSpec
    result_a: np.ndarray[Any, Any]
    result_b: np.ndarray[Any, Any]
    mask: np.ndarray[Any, Any] | None
    notes: tuple[Note, ...]

    def text(self) -> str:
        """The difference as plain text."""
        lines = [f"a  {convkit_code(self.spec_a)}", f"b  {convkit_code(self.spec_b)}"]
        lines += [f"- {note}" for note in self.notes]
        if self.mask is not None and self.mask.any() and self.mask.ndim <= 2 and self.mask.size <= 1024:
            rows = np.atleast_2d(self.mask)
            lines += ["", say("explain.diff.mask")]
            lines += ["  " + " ".join("#" if cell else "." for cell in row) for row in rows]
        return "\n".join(lines)

    def markdown(self) -> str:
        """The difference as Markdown."""
        return f"```text\n{self.text()}\n```\n"

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain data, for programs."""
        return {
            "a": convkit_code(self.spec_a),
            "b": convkit_code(self.spec_b),
            "result_a": self.result_a.tolist(),
            "result_b": self.result_b.tolist(),
            "mask": None if self.mask is None else self.mask.tolist(),
            "notes": [{"key": note.key, "text": str(note)} for note in self.notes],
        }


def diff(call_a: object, call_b: object, x: Any = None, k: Any = None) -> Difference:
    """Which outputs of two calls differ, and why.

    Parameters
    ----------
    call_a, call_b : ConvSpec or str
        Two conventions; text may be another library's call.
    x, k : array_like, optional
        The arrays; without them a small example whose values are all different.

    Raises
    ------
    ConvError
        Those of `passport` and of the verbs.

    Examples
    --------
    >>> print(diff("np.convolve(x, k)", "np.correlate(x, k, 'full')", [1, 2, 4], [1, 3]).text())
    a  ck.convolve(x, k, mode='full')
    b  ck.correlate(x, k, mode='full')
    - one flips the kernel and the other does not
    - 4 of 4 outputs differ
    <BLANKLINE>
    where they differ:
      # # # #
    """
    given = None if k is None else np.asarray(k)
    first = passport(call_a, kernel_shape=None if given is None else given.shape).spec
    second = passport(call_b, kernel_shape=None if given is None else given.shape).spec
    samples, kernel = _example(first) if x is None or given is None else (np.asarray(x), given)
    if x is None or given is None:
        first = passport(call_a, kernel_shape=kernel.shape).spec
        second = passport(call_b, kernel_shape=kernel.shape).spec
    first, second = _of_rank(first, call_a, kernel), _of_rank(second, call_b, kernel)
    a, b = compute(first, samples, kernel), compute(second, samples, kernel)
    notes = _options(first, second, kernel)
    if a.shape != b.shape:
        notes.append(Note("diff.shapes", {"a": _shape(a), "b": _shape(b)}))
        return Difference(first, second, a, b, None, tuple(notes))
    mask = _unequal(a, b)
    border = _leaves(first, samples, kernel) | _leaves(second, samples, kernel)
    count = int(mask.sum())
    if count == 0:
        notes.append(Note("diff.equal" if notes else "diff.same-spec"))
    else:
        notes.append(Note("diff.count", {"count": count, "total": mask.size}))
        if border.any() and not border.all() and not (mask & ~border).any():
            notes.append(Note("diff.border"))
        notes += _shift(a, b)
    return Difference(first, second, a, b, mask, tuple(notes))


def _example(spec: ConvSpec) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Integers that are all different, with axes of different lengths and an even and an odd kernel."""
    sizes, kernels = tuple(7 + axis for axis in range(spec.rank)), tuple(4 - axis % 2 for axis in range(spec.rank))
    if spec.mode is None:
        groups = spec.groups
        lead_x, lead_k = (1, 2 * groups), (groups, 2)
        if spec.direction == "transposed":
            lead_x, lead_k = (1, groups), (groups, 1)
        sizes, kernels = (*lead_x, *sizes), (*lead_k, *kernels)
    total = int(np.prod(sizes))
    x = ((np.arange(total) * 37) % 101 + np.arange(total) // 101).reshape(sizes)
    return x, (np.arange(int(np.prod(kernels))) * 3 + 1).reshape(kernels)


def _of_rank(spec: ConvSpec, call: object, kernel: np.ndarray[Any, Any]) -> ConvSpec:
    """A call that tells neither its number of axes nor anything axis by axis takes them from the arrays."""
    rank = kernel.ndim if spec.mode is not None else kernel.ndim - 2
    if spec.rank == rank or isinstance(call, ConvSpec) or rank < 1:
        return spec
    shared: dict[str, Any] = {"stride": spec.stride[0], "dilation": spec.dilation[0], "fill": spec.fill}
    sides = (spec.boundary[0],) * rank
    if spec.mode is None:
        return spec
    return ConvSpec.of_arrays(rank, spec.operation, spec.mode, boundary=sides, **shared)


def _options(a: ConvSpec, b: ConvSpec, kernel: np.ndarray[Any, Any]) -> list[Note]:
    """A sentence for each option in which the two differ."""
    notes: list[Note] = []
    if a.operation != b.operation:
        notes.append(Note("diff.operation"))
        if bool(np.asarray(kernel == np.flip(kernel)).all()):
            notes.append(Note("diff.symmetric"))
    if a.conjugate != b.conjugate and kernel.dtype.kind == "c":
        notes.append(Note("diff.conjugate"))
    if a.mode != b.mode or a.padding != b.padding:
        notes.append(Note("diff.extent", {"a": a.mode or a.padding, "b": b.mode or b.padding}))
    if a.boundary != b.boundary or a.fill != b.fill:
        notes.append(Note("diff.boundary", {"a": _boundaries(a), "b": _boundaries(b)}))
    for name in ("stride", "dilation"):
        first, second = getattr(a, name), getattr(b, name)
        if first != second:
            notes.append(Note(f"diff.{name}", {"a": " x ".join(map(str, first)), "b": " x ".join(map(str, second))}))
    if a.mode == b.mode == "same":
        anchors = [[spec.anchor_of(axis, size) for axis, size in enumerate(kernel.shape)] for spec in (a, b)]
        if a.operation != b.operation:
            anchors[1] = [size - 1 - anchor for size, anchor in zip(kernel.shape, anchors[1], strict=True)]
        if anchors[0] != anchors[1]:
            moved = ", ".join(f"{two - one:+d}" for one, two in zip(*anchors, strict=True))
            notes.append(Note("diff.anchor", {"shift": moved}))
    if a.groups != b.groups:
        notes.append(Note("diff.groups", {"a": a.groups, "b": b.groups}))
    return notes


def _boundaries(spec: ConvSpec) -> str:
    return ", ".join(dict.fromkeys(name for sides in spec.boundary for name in sides))


def _shape(array: np.ndarray[Any, Any]) -> str:
    return " x ".join(map(str, array.shape))


def _unequal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if a.dtype.kind in "fc" or b.dtype.kind in "fc":
        return np.asarray(
            ~np.isclose(a, b, rtol=1e-9, atol=1e-12 * max(1.0, float(np.abs(a).max(initial=0))), equal_nan=True)
        )
    return np.asarray(a != b)


def _leaves(spec: ConvSpec, x: np.ndarray[Any, Any], kernel: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which outputs have a window that leaves the array."""
    lead = 0 if spec.mode is not None else 2
    windows = spec.windows(x.shape[lead:], kernel.shape[lead:])
    leaves = np.zeros([window.count for window in windows], bool)
    for axis, window in enumerate(windows):
        places = window.start + np.arange(window.count) * window.stride
        out = (places < 0) | (places + window.reach - 1 > (window.size - 1) * window.up)
        leaves |= out.reshape([-1 if other == axis else 1 for other in range(len(windows))])
    return leaves if lead == 0 else leaves[None, None]


def _shift(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> list[Note]:
    """Whether one result is the other moved by a sample."""
    for axis in range(a.ndim):
        if a.shape[axis] < 3:
            continue
        for move in (1, -1):
            near = a.take(range(max(0, move), a.shape[axis] + min(0, move)), axis)
            far = b.take(range(max(0, -move), a.shape[axis] + min(0, -move)), axis)
            if not _unequal(near, far).any():
                return [Note("diff.moved", {"axis": axis, "by": f"{-move:+d}"})]
    return []
