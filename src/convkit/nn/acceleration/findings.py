"""What `accelerate` did, layer by layer, what it gained, and how far the results are from the original's."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from convkit.arrays import torch_operators
from convkit.arrays.layers import Direction
from convkit.catalogue import say
from convkit.nn.acceleration.joined import Joined
from convkit.nn.layers import Layer
from convkit.planner.algorithm import ErrorBound
from convkit.verbs.tensor_layers import LAYERS, TensorLayer

ROUNDS = 5
"""Times that each way is timed, in turns; the best counts."""


@dataclass(frozen=True)
class LayerFinding:
    """One layer.

    Attributes
    ----------
    name : str
        Its name in the accelerated model.
    folded : tuple of str
        What it took over: ``"batch norm"``, ``"add"``, the name of an activation; ``"max-pool"`` where inputs like the
        example's are pooled before they are stored.
    shape : tuple of int
        Shape of its input; empty without an example.
    algorithm : str
        What the plan chose.
    bound : str
        The bound on its error that the plan states.
    before, after : float or None
        Seconds that torch and convkit take for it.
    """

    name: str
    folded: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    algorithm: str = ""
    bound: str = ""
    before: float | None = None
    after: float | None = None

    @property
    def gain(self) -> float | None:
        """How many times as fast as before."""
        return None if self.before is None or not self.after else self.before / self.after


@dataclass(frozen=True)
class Check:
    """An accelerated model against its original.

    Attributes
    ----------
    difference : float
        The largest difference between their outputs, relative to the largest output.
    error, original_error : float
        How far either is from the original in float64, likewise.
    layers : dict of float
        For every layer the largest error as a part of the bound that its plan states; a layer is within it up to 1.
    """

    difference: float
    error: float
    original_error: float
    layers: dict[str, float]

    @property
    def within(self) -> bool:
        """Whether every layer keeps its bound."""
        return all(part <= 1 for part in self.layers.values())

    def __str__(self) -> str:
        worst = max(self.layers, key=lambda name: self.layers[name], default="")
        return say(
            "nn.acceleration.check", difference=f"{self.difference:.1e}", error=f"{self.error:.1e}",
            original=f"{self.original_error:.1e}", layer=worst or "-", part=f"{self.layers.get(worst, 0.0):.2g}",
        )  # fmt: skip


@dataclass
class Acceleration:
    """What was done with a model; printed, it is a table.

    Attributes
    ----------
    layers : list of LayerFinding
        The layers.
    notes : list of str
        What was not done, and why.
    before, after : float or None
        Seconds that the original and the accelerated model take for the example.
    together : list of tuple of str
        Layers that are done as one for inputs like the example's, a few rows at a time.
    """

    layers: list[LayerFinding] = field(default_factory=list[LayerFinding])
    notes: list[str] = field(default_factory=list[str])
    before: float | None = None
    after: float | None = None
    together: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    _model: Any = None

    def rows(self) -> list[dict[str, Any]]:
        """The layers as plain records."""
        return [
            {
                "name": one.name, "shape": list(one.shape), "folded": list(one.folded), "algorithm": one.algorithm,
                "bound": one.bound, "before": one.before, "after": one.after, "gain": one.gain,
            }
            for one in self.layers
        ]  # fmt: skip

    def check(self, original: nn.Module, *example: Tensor) -> Check:
        """Run both models on an example and compare them, layer by layer with the bounds that the plans state.

        Parameters
        ----------
        original : Module
            The model that was given to `accelerate`; it is run in evaluation mode, on a copy in float64 as well.
        example : Tensor
            The model's arguments.
        """
        exact = copy.deepcopy(original).double().eval()
        reference = copy.deepcopy(original).eval()
        with torch.no_grad():
            truth = _flat(exact(*(one.double() if one.is_floating_point() else one for one in example)))
            theirs = _flat(reference(*example))
            ours = _flat(self._model(*example))
        size = float(truth.abs().max()) or 1.0
        parts = {name: _part_of_bound(layer, x, add, end) for name, layer, x, add, end in seen(self._model, example)}
        return Check(
            float((ours - theirs).abs().max()) / size, float((ours - truth).abs().max()) / size,
            float((theirs - truth).abs().max()) / size, parts,
        )  # fmt: skip

    def measure(self, original: nn.Module, *example: Tensor) -> None:
        """Say for an example what every layer chose, and time it against torch, in turns."""
        known = {one.name: one for one in self.layers}
        found: dict[str, LayerFinding] = {}
        with torch.no_grad():
            for name, layer, x, add, end in seen(self._model, example):
                plan = plan_of(layer, x, add, end)
                folded = known[name].folded if name in known else ()
                before, after = _timed(
                    (_as_torch(layer, x, add, end, "batch norm" in folded), lambda: layer.ended(x, add, end))  # noqa: B023
                )
                found[name] = LayerFinding(
                    name, folded, tuple(x.shape), plan.choice, str(plan.error_bound), before, after
                )  # fmt: skip
            self.layers = [found.get(one.name, one) for one in self.layers]
            training = original.training
            original.eval()
            try:
                self.before, self.after = _timed((lambda: original(*example), lambda: self._model(*example)))
            finally:
                original.train(training)
        known_pools: Callable[..., set[str]] | None = getattr(self._model, "pooled_layers", None)
        pooled = set[str]() if known_pools is None else known_pools(*example)
        for n, one in enumerate(self.layers):
            if one.name in pooled and "max-pool" not in one.folded:
                self.layers[n] = replace(one, folded=(*one.folded, "max-pool"))
        known_joined: Callable[..., list[tuple[str, ...]]] | None = getattr(self._model, "joined_layers", None)
        self.together = [] if known_joined is None else known_joined(*example)

    def __str__(self) -> str:
        heads = [say(f"nn.acceleration.{head}") for head in ("layer", "input", "folded", "algorithm", "time", "gain")]
        table = [heads, *(_row(one) for one in self.layers)]
        if self.before is not None and self.after is not None:
            whole = LayerFinding(say("nn.acceleration.whole"), before=self.before, after=self.after)
            table.append(_row(whole))
        widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        joined = "; ".join(" + ".join(names) for names in self.together)
        together = [say("nn.acceleration.together", layers=joined)] if joined else []
        return "\n".join([*lines, *together, *self.notes])


def _row(one: LayerFinding) -> list[str]:
    times = "" if one.before is None or one.after is None else f"{1e3 * one.before:.3g} > {1e3 * one.after:.3g} ms"
    gain = "" if one.gain is None else f"{one.gain:.2f}x"
    return [one.name, "x".join(map(str, one.shape)), " + ".join(one.folded), one.algorithm, times, gain]


def _flat(output: Any) -> Tensor:
    """All numbers of a model's output, side by side."""
    if isinstance(output, Tensor):
        return output.detach().double().reshape(-1)
    if is_dataclass(output):
        output = vars(output)
    values = output.values() if isinstance(output, dict) else output
    found = [one for one in values if isinstance(one, Tensor | Sequence | dict) and not isinstance(one, str)]
    return torch.cat([torch.empty(0, dtype=torch.float64), *map(_flat, found)])


def seen(model: nn.Module, example: Sequence[Tensor]) -> list[tuple[str, Layer, Tensor, Tensor | None, str | None]]:
    """Every layer of a model with its input, the array added, and the activation, of one run of the model."""
    found: dict[str, tuple[str, Layer, Tensor, Tensor | None, str | None]] = {}
    handles: list[Any] = []

    def watch(name: str, layer: Layer, activation: str | None) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
            # What has another shape is added afterwards.
            joined = isinstance(module, Joined) and given[1].shape == output.shape
            add = given[1].detach().clone() if joined else None
            found.setdefault(name, (name, layer, given[0].detach().clone(), add, activation))

        return hook

    inner = {id(one.layer) for one in model.modules() if isinstance(one, Joined)}
    for name, module in model.named_modules():
        if isinstance(module, Joined):
            handles.append(module.register_forward_hook(watch(name, module.layer, module.activation)))
        elif isinstance(module, Layer) and id(module) not in inner:
            handles.append(module.register_forward_hook(watch(name, module, module.activation)))
    try:
        with torch.no_grad():
            model(*example)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def layer_of(layer: Layer, shape: Sequence[int], dtype: torch.dtype) -> TensorLayer:
    """A layer as the verbs have it, for an input of this shape, batch axis included, and type."""
    direction: Direction = "transposed" if layer.transposed else "forward"
    given = {"dtype": None, "overflow": "raise", **layer.options()}
    method = given.pop("method")
    options = LAYERS.options(direction, len(shape) - 2, method, given)
    found = torch_operators.layer_of(
        direction, torch.Size(shape), layer.weight.shape, dtype, layer.weight.dtype, options
    )  # fmt: skip
    return cast("TensorLayer", found)


def plan_of(layer: Layer, x: Tensor, add: Tensor | None = None, activation: str | None = None) -> Any:
    """The plan of a layer for an input of this shape and type, with what becomes of the sums."""
    shape = x.shape if x.ndim == layer.weight.ndim else (1, *x.shape)
    call = layer_of(layer, shape, x.dtype)
    return call.plan(layer.bias is not None, "" if add is None else call.stored, activation or "")


def _part_of_bound(layer: Layer, x: Tensor, add: Tensor | None, activation: str | None) -> float:
    """The largest error of the layer's sums as a part of what its plan allows."""
    bound: ErrorBound = plan_of(layer, x, add, activation).error_bound
    double = copy.deepcopy(layer).double()
    with torch.no_grad():
        stored = layer.ended(x, add, None)
        wide, other = x.double(), None if add is None else add.double()
        exact = double.ended(wide, other, None)
        error = (stored.double() - exact).abs()
        if bound.kind == "norm":
            weights = torch.linalg.vector_norm(double.weight.flatten(1), dim=1).max()
            allowed = torch.linalg.vector_norm(wide) * weights
            extra = 0.0 if double.bias is None else float(double.bias.abs().max())
            allowed = allowed + extra + (0.0 if other is None else float(other.abs().max()))
        else:
            for parameter in double.parameters():
                parameter.abs_()
            allowed = double.ended(wide.abs(), None if other is None else other.abs(), None)
    room = (bound.factor * allowed).expand_as(error)
    if stored.dtype in (torch.float16, torch.bfloat16):
        # The plan speaks of the sums; what is stored is rounded once more.
        kind = torch.finfo(stored.dtype)
        room = room * (1 + kind.eps) + kind.eps / 2 * exact.abs() + kind.smallest_normal * kind.eps / 2
    return float(torch.where(error > 0, error / room.clamp_min(torch.finfo(torch.float64).tiny), 0.0).max())


def _as_torch(
    layer: Layer, x: Tensor, add: Tensor | None, activation: str | None, norm: bool
) -> Callable[[], Tensor] | None:
    """The same steps by torch, one after another, as the original takes them; None where torch has no such layer."""
    options = layer.options()
    rank = layer.weight.ndim - 2
    function = getattr(nn.functional, f"conv_transpose{rank}d" if layer.transposed else f"conv{rank}d", None)
    pads = options["padding"]
    uneven = not layer.transposed and not isinstance(pads, str) and any(before != after for before, after in pads)
    own = options["operation"] != "correlation" or options.get("boundary", "zero") != "zero" or uneven
    if function is None or own or (pads == "same" and set(layer.stride) != {1}):
        return None
    given: dict[str, Any] = {name: options[name] for name in ("stride", "dilation", "groups")}
    if layer.transposed:
        given.update(padding=pads, output_padding=options["output_padding"])
    else:
        given["padding"] = pads if isinstance(pads, str) else tuple(before for before, _ in pads)
    channels = layer.out_channels
    zeros, ones = (make(channels, dtype=x.dtype) for make in (torch.zeros, torch.ones))

    def run() -> Tensor:
        out = function(x, layer.weight, layer.bias, **given)
        if norm:
            out = nn.functional.batch_norm(out, zeros, ones, ones, zeros)
        if add is not None:
            out = out + add
        return torch_operators.activated(activation or "", out)

    return run


def _timed(ways: Sequence[Callable[[], Any] | None]) -> list[float | None]:
    best: list[float | None] = [None] * len(ways)
    for turn in range(ROUNDS + 1):
        for place, way in enumerate(ways):
            if way is None:
                continue
            start = time.perf_counter()
            way()
            seconds = time.perf_counter() - start
            if turn:  # the first warms up
                known = best[place]
                best[place] = seconds if known is None else min(known, seconds)
    return best
