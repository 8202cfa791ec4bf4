"""Torch's convolution layers, computed by `ck.conv` and `ck.conv_transpose`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.modules.conv import _ConvNd as _TorchConv

import convkit as ck
from convkit.errors import OptionError, ShapeError, choose
from convkit.spec.options import boundary_sides, pad_pairs, per_axis

_BOUNDARIES = {"zeros": "zero", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""Torch's padding modes by the names of ``numpy.pad``."""

_OWN: dict[str, Any] = {
    "boundary": None, "fill": 0, "operation": "correlation", "accuracy": "norm", "method": "auto", "activation": None,
}  # fmt: skip
"""What torch's layers do not have, with what it is there."""


class Layer(_TorchConv, ABC):
    """What the layers share: torch's module keeps the weights, the verb computes.

    Attributes
    ----------
    boundary, fill, operation, accuracy, method, activation
        As in `ck.conv`; ``boundary`` None stands for the padding mode.
    """

    boundary: Any
    fill: Any
    operation: str
    accuracy: Any
    method: str
    activation: str | None

    def _own(self, given: dict[str, Any]) -> None:
        """Keep what torch's layers do not have."""
        unknown = given.keys() - _OWN.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {min(unknown)!r}")
        vars(self).update({**_OWN, **given})

    def extra_repr(self) -> str:
        """Torch's arguments, and those that torch's layers do not have."""
        own = (f"{name}={getattr(self, name)!r}" for name in _OWN if getattr(self, name) != _OWN[name])
        return ", ".join([super().extra_repr(), *own])

    def options(self) -> dict[str, Any]:
        """What the verb is told besides the arrays and what becomes of the sums."""
        return {
            "stride": self.stride, "dilation": self.dilation, "groups": self.groups, "operation": self.operation,
            "accuracy": self.accuracy, "method": self.method, **self._edges(),
        }  # fmt: skip

    def ended(self, x: Tensor, add: Tensor | None, activation: str | None, *more: Any) -> Tensor:
        """``activation(layer(x) + add)``, with or without a batch axis; whole to tools that trace symbolically."""
        if isinstance(x, Proxy):
            given = (x, *more, *(() if add is None else (add,)))
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), given, {})  # type: ignore[return-value]
        if x.ndim != self.weight.ndim - 1:
            return self._verb(x, add, activation, *more)
        return self._verb(x.unsqueeze(0), None if add is None else add.unsqueeze(0), activation, *more).squeeze(0)

    @abstractmethod
    def _edges(self) -> dict[str, Any]:
        """What stands outside the input."""

    @abstractmethod
    def _verb(self, x: Tensor, add: Tensor | None, activation: str | None, *more: Any) -> Tensor:
        """The verb on a batch."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**_OWN, **state})


class _Forward(Layer):
    """`ck.conv`."""

    def forward(self, input: Tensor, add: Tensor | None = None) -> Tensor:  # noqa: A002  (torch names it so)
        """``activation(sum_i correlate(input[b, i], weight[o, i]) + bias[o] + add)``; without a batch axis as well."""
        return self.ended(input, add, self.activation)

    def _verb(self, x: Tensor, add: Tensor | None, activation: str | None) -> Tensor:
        return ck.conv(x, self.weight, self.bias, add=add, activation=activation, **self.options())

    def _edges(self) -> dict[str, Any]:
        padding: Any = self.padding
        if not isinstance(padding, str) and not isinstance(padding[0], tuple):
            padding = tuple([(pad, pad) for pad in padding])
        boundary = _BOUNDARIES[self.padding_mode] if self.boundary is None else self.boundary
        return {"padding": padding, "boundary": boundary, "fill": self.fill}

    def _made(self, construct: Callable[..., None], arguments: tuple[Any, ...], given: dict[str, Any]) -> None:
        """Torch's own construction, but for a padding that torch refuses; arguments as torch has them."""
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
        own = {name: given.pop(name) for name in _OWN if name in given}
        known = dict(zip(names, arguments, strict=False))
        padding = known.get("padding", given.get("padding", 0))
        if "padding" in known:
            arguments = (*arguments[:4], 0, *arguments[5:])
        construct(self, *arguments, **{**given, **({} if "padding" in known else {"padding": 0})})
        self._own(own)
        rank = len(self.kernel_size)
        self.padding = _paddings(padding, rank)
        if self.boundary is not None:
            if self.padding_mode != "zeros":
                raise OptionError("two-boundaries", mode=self.padding_mode, boundary=self.boundary)
            boundary_sides(self.boundary, rank)


def _paddings(padding: Any, rank: int) -> Any:
    """Torch's form, or pairs where the two sides differ."""
    if isinstance(padding, str):
        return choose("padding", padding, ("same", "valid"))
    pairs = pad_pairs(tuple(padding) if isinstance(padding, Sequence) and len(padding) > 1 else _one(padding), rank)
    return tuple(before for before, _ in pairs) if all(before == after for before, after in pairs) else pairs


def _one(value: Any) -> Any:
    """Torch takes ``(1,)`` for ``1``."""
    return value[0] if isinstance(value, Sequence) and len(value) == 1 and not isinstance(value[0], Sequence) else value


class Conv1d(_Forward, nn.Conv1d):
    """`torch.nn.Conv1d` on `ck.conv`: the same arguments, the same ``state_dict``, and what torch lacks.

    Shapes: (batch, in_channels, samples) to (batch, out_channels, samples), the batch axis optional.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        As in torch; ``padding`` may also be a pair an axis, and ``"same"`` goes with a stride: ``ceil(N/stride)``.
    boundary, fill : str or sequence, number
        What the padding holds, as in `ck.conv`, instead of ``padding_mode``; any pad length.
    operation : {"correlation", "convolution"}
        ``"convolution"`` flips the kernel.
    accuracy, method, activation
        As in `ck.conv`. ``activation(layer(x) + add)`` where ``add`` is given to the call as well.

    Examples
    --------
    >>> import torch
    >>> Conv1d(3, 4, 5, stride=2)(torch.zeros(2, 3, 11)).shape
    torch.Size([2, 4, 4])
    >>> Conv1d(3, 4, 5, stride=2, padding="same", boundary="reflect")(torch.zeros(2, 3, 11)).shape
    torch.Size([2, 4, 6])
    """

    def __init__(self, *arguments: Any, **given: Any) -> None:
        self._made(nn.Conv1d.__init__, arguments, given)


class Conv2d(_Forward, nn.Conv2d):
    """`torch.nn.Conv2d` on `ck.conv`: the same arguments, the same ``state_dict``; see `Conv1d`.

    Shapes: (batch, in_channels, rows, columns) to (batch, out_channels, rows, columns), the batch axis optional.

    Examples
    --------
    >>> import torch
    >>> Conv2d(1, 2, (3, 2), padding="same")(torch.zeros(1, 1, 5, 7)).shape
    torch.Size([1, 2, 5, 7])
    """

    def __init__(self, *arguments: Any, **given: Any) -> None:
        self._made(nn.Conv2d.__init__, arguments, given)


class Conv3d(_Forward, nn.Conv3d):
    """`torch.nn.Conv3d` on `ck.conv`: the same arguments, the same ``state_dict``; see `Conv1d`.

    Shapes: (batch, in_channels, planes, rows, columns) to (batch, out_channels, ...), the batch axis optional.

    Examples
    --------
    >>> import torch
    >>> Conv3d(1, 2, 2)(torch.zeros(1, 1, 3, 4, 5)).shape
    torch.Size([1, 2, 2, 3, 4])
    """

    def __init__(self, *arguments: Any, **given: Any) -> None:
        self._made(nn.Conv3d.__init__, arguments, given)


class ConvNd(_Forward):
    """The same for any number of spatial axes: as many as ``kernel_size`` has entries.

    Shapes: (batch, in_channels, *space) to (batch, out_channels, *space), the batch axis optional.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels.
    kernel_size : sequence of int
        One number an axis.
    stride, padding, dilation, groups, bias, padding_mode, device, dtype, and what torch lacks
        As in `Conv1d`.

    Raises
    ------
    ShapeError
        ``shape.no-space`` for a kernel without axes.

    Examples
    --------
    >>> import torch
    >>> ConvNd(1, 2, (2, 2, 2, 3), padding=(0, 0, 0, 1))(torch.zeros(1, 1, 3, 4, 5, 6)).shape
    torch.Size([1, 2, 2, 3, 4, 6])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sequence[int], stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None, **own: Any,
    ) -> None:  # fmt: skip
        rank = _rank(kernel_size)

        def construct(
            self: Any, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, **given: Any
        ) -> None:  # fmt: skip
            _TorchConv.__init__(
                self, in_channels, out_channels, tuple(kernel_size), per_axis("stride", stride, rank, 1),
                (0,) * rank, transposed=False, output_padding=(0,) * rank, **given,
            )  # fmt: skip

        self._made(construct, (in_channels, out_channels, kernel_size, stride, padding), {
            "dilation": per_axis("dilation", dilation, rank, 1), "groups": groups, "bias": bias,
            "padding_mode": padding_mode, "device": device, "dtype": dtype, **own,
        })  # fmt: skip


def _rank(kernel_size: Any) -> int:
    if not isinstance(kernel_size, Sequence) or not kernel_size:
        raise ShapeError("no-space", kernel=kernel_size)
    return len(kernel_size)


class _Transposed(Layer):
    """`ck.conv_transpose`."""

    def forward(
        self, input: Tensor, output_size: Sequence[int] | None = None, add: Tensor | None = None  # noqa: A002
    ) -> Tensor:  # fmt: skip
        """The exact adjoint of the convolution with the same options; without a batch axis as well."""
        return self.ended(input, add, self.activation, output_size)

    def _verb(
        self, x: Tensor, add: Tensor | None, activation: str | None, output_size: Sequence[int] | None = None
    ) -> Tensor:  # fmt: skip
        options = self.options()
        if output_size is not None:
            options["output_padding"] = tuple(
                self._output_padding(  # type: ignore[operator]
                    x, list(output_size), self.stride, self.padding, self.kernel_size, len(self.stride), self.dilation
                )
            )
        return ck.conv_transpose(x, self.weight, self.bias, add=add, activation=activation, **options)

    def _edges(self) -> dict[str, Any]:
        return {"padding": self.padding, "output_padding": tuple(self.output_padding)}

    def _made(self, construct: Callable[..., None], arguments: tuple[Any, ...], given: dict[str, Any]) -> None:
        own = {name: given.pop(name) for name in ("operation", "accuracy", "method", "activation") if name in given}
        construct(self, *arguments, **given)
        self._own(own)


class ConvTranspose1d(_Transposed, nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` on `ck.conv_transpose`: the same arguments, the same ``state_dict``.

    Shapes: (batch, in_channels, samples) to (batch, out_channels, samples), the batch axis optional.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype
        As in torch.
    operation, accuracy, method, activation
        As in `ck.conv_transpose`.

    Examples
    --------
    >>> import torch
    >>> ConvTranspose1d(3, 4, 5, stride=2)(torch.zeros(2, 3, 11)).shape
    torch.Size([2, 4, 25])
    """  # noqa: E501

    def __init__(self, *arguments: Any, **given: Any) -> None:
        self._made(nn.ConvTranspose1d.__init__, arguments, given)


class ConvTranspose2d(_Transposed, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` on `ck.conv_transpose`: the same arguments, the same ``state_dict``.

    Examples
    --------
    >>> import torch
    >>> layer = ConvTranspose2d(3, 4, 2, stride=2, activation="relu")
    >>> layer(torch.zeros(2, 3, 5, 6), output_size=(11, 12)).shape
    torch.Size([2, 4, 11, 12])
    """

    def __init__(self, *arguments: Any, **given: Any) -> None:
        self._made(nn.ConvTranspose2d.__init__, arguments, given)


class ConvTranspose3d(_Transposed, nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` on `ck.conv_transpose`: the same arguments, the same ``state_dict``.

    Examples
    --------
    >>> import torch
    >>> ConvTranspose3d(1, 2, 2, stride=2)(torch.zeros(1, 1, 3, 4, 5)).shape
    torch.Size([1, 2, 6, 8, 10])
    """

    def __init__(self, *arguments: Any, **given: Any) -> None:
        self._made(nn.ConvTranspose3d.__init__, arguments, given)


def same_layer(layer: nn.Module) -> Layer | None:
    """Torch's convolution as this room's, on the same weights with the same hooks; None for any other module."""
    kind = TORCH_KINDS.get(type(layer))
    return None if kind is None else cast("Layer", same_module(layer, kind, _OWN))


def same_module(module: nn.Module, kind: type[nn.Module], own: dict[str, Any]) -> nn.Module:
    """A module as one of another kind, on the same parameters and buffers, with the same hooks."""
    ours = kind.__new__(kind)
    ours.__dict__.update({**own, **module.__dict__})
    for held in ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
        ours.__dict__[held] = module.__dict__[held].copy()
    return ours


TORCH_KINDS: dict[type, type[Layer]] = {
    nn.Conv1d: Conv1d, nn.Conv2d: Conv2d, nn.Conv3d: Conv3d, nn.ConvTranspose1d: ConvTranspose1d,
    nn.ConvTranspose2d: ConvTranspose2d, nn.ConvTranspose3d: ConvTranspose3d,
}  # fmt: skip
KINDS = frozenset(TORCH_KINDS.values())
