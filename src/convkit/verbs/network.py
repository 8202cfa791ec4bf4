"""The network verbs: batch x channel x space, weights (out, in/groups, ...), and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from convkit.arrays import NUMPY, tensors_of
from convkit.errors import choose
from convkit.spec.epilogue import ACTIVATIONS
from convkit.spec.options import Direction
from convkit.verbs import objects
from convkit.verbs import tensor_layers as _tensor_layers  # noqa: F401  (hands layers down to the adapter of tensors)
from convkit.verbs.addends import check_addends, check_gradient, check_types
from convkit.verbs.calls import check_out
from convkit.verbs.layout import shape_of
from convkit.verbs.network_calls import NetworkCall, network_call


def _layer(
    direction: Direction, x: Any, w: Any, bias: Any, add: Any, activation: Any, method: str, out: Any,
    options: dict[str, Any],
) -> Any:  # fmt: skip
    end: Any = None if activation is None else choose("activation", activation, ACTIVATIONS)
    tensors = tensors_of(x, w, bias, add)
    if tensors is not None:
        return tensors.network(direction, x, w, bias, add, end, method, out, options)
    samples, weights = NUMPY.array(x, "x"), NUMPY.array(w, "w")
    bias, add = (None if one is None else NUMPY.array(one, name) for name, one in (("bias", bias), ("add", add)))
    if objects.wanted(options["dtype"], samples, weights):
        call = _of_objects(direction, samples.shape, weights.shape, options)
        check_addends(bias, add, call.output_shape())
        return objects.layer(direction, samples, weights, bias, add, end, out, options)
    types = samples.dtype.name, weights.dtype.name
    call = network_call(direction, samples.shape, weights.shape, *types, method, options)
    check_addends(bias, add, call.output_shape())
    check_types(NUMPY, bias, add, end, call.types.compute)
    return call.forward(samples, weights, bias, add, end, out)


def _of_objects(
    direction: Direction, x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict[str, Any]
) -> NetworkCall:
    """The shapes of a layer over objects, checked."""
    return network_call(direction, x_shape, w_shape, "int64", "int64", "auto", {**options, "dtype": None, "fill": 0})


def conv(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    boundary: Any = "zero",
    fill: Any = 0,
    operation: str = "correlation",
    dtype: Any = None,
    overflow: str = "raise",
    accuracy: Any = "norm",
    method: str = "auto",
    activation: str | None = None,
    add: Any = None,
    out: Any = None,
) -> Any:
    """A network's convolution layer: channels are summed, the kernel is not flipped.

    ``out[b, o, i] = activation(S + bias[o] + add[b, o, i])`` with the sum
    ``S = sum_c sum_j v[b, c, i*stride - pad + j*dilation] * w[o, c, j]``, c over the channels of o's group.

    Parameters
    ----------
    x : array_like, (batch, channel, *space)
        The input, with one to any number of spatial axes.
    w : array_like, (out, channel/groups, *kernel)
        The weights.
    bias : array_like, (out,), optional
        Added to every output of its channel.
    stride, dilation : int or sequence of int
        Distance between windows, and between kernel elements.
    padding : int, sequence, "same" or "valid"
        Samples added before and after, for all axes, one number an axis, or a pair an axis. ``"same"`` gives
        ``ceil(N/stride)`` outputs, a spare pad standing at the end.
    groups : int
        Channels are split into this many independent layers.
    boundary, fill
        What the padding holds, as in ``ck.convolve``.
    operation : {"correlation", "convolution"}
        ``"convolution"`` flips the kernel along every spatial axis.
    activation : {"relu", "relu6", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "gelu", "gelu_tanh"}, optional
        Taken of every output, in the type of the sums, before it is stored; of integers only ``relu`` and ``relu6``.
    add : array_like, (batch, out, *space), optional
        Added to the output before the activation: a residual connection.
    dtype, overflow, accuracy, method, out
        As in ``ck.convolve``. The accuracy is that of the sums, with bias and ``add`` among their terms; an activation
        takes another rounding or two.

    Returns
    -------
    ndarray or torch.Tensor, (batch, out, *space)
        The layer's output; torch tensors carry gradients.

    Raises
    ------
    ShapeError, OptionError, DTypeError, IntegerOverflowError, AccuracyError
        Each says the fact, the rule with its numbers, and a fix.

    Notes
    -----
    Equivalent to ``torch.nn.functional.conv2d(x, w, bias, stride, padding, dilation, groups)`` for two spatial axes.

    Examples
    --------
    >>> import numpy as np, convkit as ck
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> w = np.array([[0.0, 1.0], [2.0, 3.0]]).reshape(1, 1, 2, 2)
    >>> ck.conv(x, w)[0, 0]
    array([[19., 25.],
           [37., 43.]])
    """
    options = {
        "operation": operation, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
        "boundary": boundary, "fill": fill, "dtype": dtype, "overflow": overflow, "accuracy": accuracy,
    }  # fmt: skip
    return _layer("forward", x, w, bias, add, activation, method, out, options)


def conv_transpose(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    operation: str = "correlation",
    dtype: Any = None,
    overflow: str = "raise",
    accuracy: Any = "norm",
    method: str = "auto",
    activation: str | None = None,
    add: Any = None,
    out: Any = None,
) -> Any:
    """A transposed convolution: the exact adjoint of `conv` with the same options. Not a deconvolution.

    ``out[b, o, q] = activation(S + bias[o] + add[b, o, q])``, ``S`` the sum of ``x[b, c, i] * w[c, o, j]`` over all
    ``i*stride + j*dilation - pad = q``.

    Parameters
    ----------
    x : array_like, (batch, channel, *space)
        The input.
    w : array_like, (channel, out/groups, *kernel)
        The weights, as those of the `conv` that it is the adjoint of.
    bias, stride, dilation, groups, operation, dtype, overflow, accuracy, method, activation, add, out
        As in `conv`.
    padding : int or sequence
        Samples cut off before and after.
    output_padding : int or sequence of int
        Samples added at the end, to tell apart the inputs that share a strided output.

    Returns
    -------
    ndarray or torch.Tensor, (batch, out, *space)
        Sizes ``(N-1)*stride + dilation*(K-1)+1 - padding + output_padding``.

    Raises
    ------
    ShapeError, OptionError, DTypeError, IntegerOverflowError, AccuracyError
        As `conv`.

    Notes
    -----
    Equivalent to ``torch.nn.functional.conv_transpose2d`` for two spatial axes. No zeros are inserted: each phase of
    the output is an ordinary convolution.

    Examples
    --------
    >>> import numpy as np, convkit as ck
    >>> ck.conv_transpose(np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]]), stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    options = {
        "operation": operation, "stride": stride, "padding": padding, "output_padding": output_padding,
        "dilation": dilation, "groups": groups, "dtype": dtype, "overflow": overflow, "accuracy": accuracy,
    }  # fmt: skip
    return _layer("transposed", x, w, bias, add, activation, method, out, options)


def conv_input_gradient(
    g: Any,
    w: Any,
    input_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    boundary: Any = "zero",
    fill: Any = 0,
    operation: str = "correlation",
    dtype: Any = None,
    overflow: str = "raise",
    accuracy: Any = "norm",
    method: str = "auto",
    out: Any = None,
) -> Any:
    """Gradient of the input of `conv`: the exact adjoint with respect to ``x``, boundaries included.

    Parameters
    ----------
    g : array_like, (batch, out, *space)
        Gradient of the output.
    w : array_like, (out, channel/groups, *kernel)
        The weights.
    input_shape : sequence of int
        Shape of ``x``, which a strided output does not determine.
    stride, padding, dilation, groups, boundary, fill, operation, dtype, overflow, accuracy, method, out
        As in `conv`; a constant ``fill`` has no part in the gradient.

    Returns
    -------
    ndarray or torch.Tensor
        Of shape ``input_shape``.

    Raises
    ------
    ShapeError
        ``shape.gradient`` if ``g`` is not the shape that `conv` gives; otherwise as `conv`.

    Examples
    --------
    >>> import numpy as np, convkit as ck
    >>> ck.conv_input_gradient(np.ones((1, 1, 2)), np.array([[[1.0, 2.0, 3.0]]]), (1, 1, 4))
    array([[[1., 3., 5., 3.]]])
    """
    options = {
        "operation": operation, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
        "boundary": boundary, "fill": fill, "dtype": dtype, "overflow": overflow, "accuracy": accuracy,
    }  # fmt: skip
    return _gradient("input", g, w, shape_of("input_shape", input_shape), method, out, options)


def conv_weight_gradient(
    g: Any,
    x: Any,
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    boundary: Any = "zero",
    fill: Any = 0,
    operation: str = "correlation",
    dtype: Any = None,
    overflow: str = "raise",
    accuracy: Any = "norm",
    method: str = "auto",
    out: Any = None,
) -> Any:
    """Gradient of the weights of `conv`: the exact adjoint with respect to ``w``.

    ``dw[o, c, j] = sum_b sum_i g[b, o, i] * v[b, c, i*stride - pad + j*dilation]``.

    Parameters
    ----------
    g : array_like, (batch, out, *space)
        Gradient of the output.
    x : array_like, (batch, channel, *space)
        The input.
    weight_shape : sequence of int
        Shape of ``w``.
    stride, padding, dilation, groups, boundary, fill, operation, dtype, overflow, accuracy, method, out
        As in `conv`.

    Returns
    -------
    ndarray or torch.Tensor
        Of shape ``weight_shape``.

    Raises
    ------
    ShapeError
        ``shape.gradient`` if ``g`` is not the shape that `conv` gives; otherwise as `conv`.

    Examples
    --------
    >>> import numpy as np, convkit as ck
    >>> ck.conv_weight_gradient(np.ones((1, 1, 2)), np.array([[[1.0, 2.0, 4.0, 8.0]]]), (1, 1, 3))
    array([[[ 3.,  6., 12.]]])
    """
    options = {
        "operation": operation, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
        "boundary": boundary, "fill": fill, "dtype": dtype, "overflow": overflow, "accuracy": accuracy,
    }  # fmt: skip
    return _gradient("weights", g, x, shape_of("weight_shape", weight_shape), method, out, options)


def _gradient(
    of: Literal["input", "weights"], g: Any, other: Any, shape: tuple[int, ...], method: str, out: Any,
    options: dict[str, Any],
) -> Any:  # fmt: skip
    """The gradient, of this shape, of the one; ``other`` is what stood beside it in the layer."""
    tensors = tensors_of(g, other)
    if tensors is not None:
        return tensors.network_gradient(of, g, other, shape, method, out, options)
    upstream, beside = NUMPY.array(g, "g"), NUMPY.array(other, "w" if of == "input" else "x")
    x_shape, w_shape = (shape, beside.shape) if of == "input" else (beside.shape, shape)
    exact = objects.wanted(options["dtype"], upstream, beside)
    if exact:
        call = _of_objects("forward", x_shape, w_shape, options)
    else:
        x, w = (upstream, beside) if of == "input" else (beside, upstream)  # the types that stand in their places
        call = network_call("forward", x_shape, w_shape, x.dtype.name, w.dtype.name, method, options)
    check_gradient(upstream.shape, call.output_shape(), x_shape, w_shape)
    if exact:
        return objects.gradient(of, upstream, beside, shape, out, options)
    if out is not None:
        check_out(out, shape, call.types.result)
    return (call.input_gradient if of == "input" else call.weight_gradient)(upstream, beside, out)
