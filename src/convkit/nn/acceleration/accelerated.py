"""``accelerate``: a torch model on convkit's layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn.parameter import is_lazy

from convkit.catalogue import say
from convkit.data.content import first_line
from convkit.errors import OptionError
from convkit.nn.acceleration.findings import Acceleration, LayerFinding
from convkit.nn.acceleration.functional import replace_functions
from convkit.nn.acceleration.fusing import fuse, traced
from convkit.nn.acceleration.learning import learn
from convkit.nn.acceleration.swapping import fold_sequences, swap


def accelerate(model: nn.Module, example: Tensor | Sequence[Tensor] | None = None, *, training: bool = False) -> Any:
    """A copy of a torch model that runs on convkit's layers; the model itself stays as it is.

    For inference every convolution takes over what follows it, ``activation(conv(x) + bias + add)`` in one step with
    the batch norm folded into its weights. The copy is in evaluation mode for good, and its parameters want no
    gradients. For training the model keeps its class, its code and its modules, of which convolutions, batch norms and
    max poolings become convkit's: gradients flow, and the ``state_dict`` has the original's keys, shapes and values.
    While it learns, batch norms take over the addition and the ReLU or ReLU6 that follow them, in the same two passes
    over memory, and pictures go through it in ``torch.channels_last``.

    Parameters
    ----------
    model : Module
        Any torch model. Convolutions are replaced where they are torch's own modules or functions, with one to three
        axes; what else the model does is left to torch.
    example : Tensor or sequence of Tensor, optional
        Arguments of the model: with them every layer is timed before and after.
    training : bool
        Whether the copy is to be trained.

    Returns
    -------
    Module
        With an attribute ``acceleration``, an `Acceleration`: print it for a table; ``.check(model, example)`` compares
        both models with the bounds that the plans state.

    Raises
    ------
    OptionError
        ``option.not-a-module``, ``option.script-module``, ``option.lazy-model``; ``option.not-copied`` for weights that
        a hook computes.

    Notes
    -----
    The model is traced with ``torch.fx``. Where that cannot be done (control flow that depends on values or on whether
    an argument is None, hooks on containers) layers are replaced where they stand, and only what follows them in an
    ``nn.Sequential`` is taken over.

    Examples
    --------
    >>> import torch, convkit as ck
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU()).eval()
    >>> fast = ck.nn.accelerate(model)
    >>> [(layer.name, layer.folded) for layer in fast.acceleration.layers]
    [('0', ('batch norm', 'relu'))]
    >>> x = torch.randn(1, 3, 9, 9)
    >>> fast.acceleration.check(model, x).within
    True
    """
    if not isinstance(model, nn.Module):
        raise OptionError("not-a-module", type=type(model).__name__)
    if isinstance(model, ScriptModule):
        raise OptionError("script-module")
    acceleration = Acceleration()
    if training:
        done = _copied(model)
        learn(done, acceleration)
    else:
        done = _for_inference(_copied(model).eval(), acceleration)
    acceleration._model = done
    done.acceleration = acceleration  # type: ignore[assignment]
    if example is not None:
        acceleration.measure(model, *((example,) if isinstance(example, Tensor) else example))
    return done


def _copied(model: nn.Module) -> nn.Module:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise OptionError("lazy-model", name=name)
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:  # weights that torch.nn.utils.weight_norm puts in their place
        raise OptionError("not-copied", type=type(model).__name__, reason=first_line(error)) from error


def twin(model: nn.Module) -> nn.Module:
    """The model as `accelerate` makes it for training, on the very same parameters and buffers: both learn."""
    held = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    done = copy.deepcopy(model, held)
    learn(done, Acceleration())
    return done


def _for_inference(model: nn.Module, acceleration: Acceleration) -> nn.Module:
    try:
        graph_module = traced(model)
    except Exception as reason:  # the tracer runs the model's own code, which may raise anything
        acceleration.notes.append(say("nn.acceleration.not-traced", reason=first_line(reason)))
        names = swap(model)
        folded = fold_sequences(model)
        functions = replace_functions(model)
        acceleration.layers = [LayerFinding(name, folded.get(name, ())) for name in names]
        acceleration.layers += [LayerFinding(name or "forward") for name in functions]
        return model.requires_grad_(False)
    acceleration.layers = [LayerFinding(name, folded) for name, folded in fuse(graph_module).items()]
    return graph_module.eval().requires_grad_(False)
