"""How each library runs and trains a network of the zoo, at its best settings."""

from __future__ import annotations

import copy
import importlib.util
import io
import shutil
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from convkit.cli.bench.networks import CLASSES, Network
from convkit.cli.bench.peers import Contender
from convkit.cli.bench.ways.way import Results, Run

FEW = 2
"""Pictures of the step whose gradients are compared."""


class Ready:
    """A network of the zoo in torch's own layers, with its pictures and labels."""

    def __init__(self, network: Network) -> None:
        import torch

        from convkit.nn import zoo

        self.network = network
        self.model = zoo.plain_torch(zoo.build(network.model, classes=CLASSES, size=network.size, seed=0))
        rng = torch.Generator().manual_seed(1)
        self.pictures = torch.randn(network.batch, 3, network.size, network.size, generator=rng)
        self.labels = torch.randint(0, CLASSES, (network.batch,), generator=rng)

    def right(self) -> np.ndarray:
        """What everybody should give: scores, or gradients of a step with `FEW` pictures, by torch in float64."""
        model, pictures = copy.deepcopy(self.model).double(), self.pictures.double()
        if self.network.use == "inference":
            import torch

            with torch.inference_mode():
                return model.eval()(pictures).numpy()
        return gradients(self, model, pictures)


def contenders(ready: Ready, absent: dict[str, str]) -> Iterator[Contender]:
    """Everybody who can do it, convkit first, each made when it is asked for; ``absent`` is told who is not there."""
    import torch

    from convkit.nn import accelerate

    training = ready.network.use == "training"
    layouts = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
    for way, layout in layouts.items():
        pictures = ready.pictures.contiguous(memory_format=layout)
        model = copy.deepcopy(ready.model).to(memory_format=layout)  # type: ignore[call-overload]
        yield _torch("convkit", f"convkit {way}", ready, accelerate(model, training=training), pictures)
    for way, layout in layouts.items():
        pictures = ready.pictures.contiguous(memory_format=layout)
        model = copy.deepcopy(ready.model).to(memory_format=layout)  # type: ignore[call-overload]
        yield _torch("torch", f"torch {way}", ready, model, pictures)
    if training:
        return
    if any(map(shutil.which, ("c++", "g++", "clang++"))):
        compiled = torch.compile(copy.deepcopy(ready.model).eval(), dynamic=False, options={"freezing": True})
        entrant = _torch("torch", "torch.compile", ready, compiled, ready.pictures)
        entrant.run()  # compiles, for a minute or so
        yield entrant
    else:
        absent["torch.compile"] = "no C++ compiler"
    if importlib.util.find_spec("onnx") is None:
        absent["ONNX Runtime, OpenVINO"] = "no onnx"
        return
    model = exported(ready)
    if importlib.util.find_spec("onnxruntime") is None:
        absent["ONNX Runtime"] = "not installed"
    else:
        from convkit.cli.bench.ways.by_onnxruntime import bound

        outputs = {"scores": (ready.network.batch, CLASSES)}
        way = bound(model, {"pictures": ready.pictures.numpy()}, outputs)
        yield Contender("ONNX Runtime", "ONNX Runtime", way.run, way.read)
    if importlib.util.find_spec("openvino") is None:
        absent["OpenVINO"] = "not installed"
    else:
        from convkit.cli.bench.ways.by_openvino import compiled as compiled_by_openvino

        way = compiled_by_openvino(model, ready.pictures.numpy())
        yield Contender("OpenVINO", "OpenVINO", way.run, way.read)


def exported(ready: Ready) -> bytes:
    """The network as an ONNX model; by the older exporter, which folds batch norms and needs no further package."""
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            copy.deepcopy(ready.model).eval(), (ready.pictures,), file, dynamo=False,  # type: ignore[arg-type]
            input_names=["pictures"], output_names=["scores"],
        )  # fmt: skip
    return file.getvalue()


def _torch(library: str, name: str, ready: Ready, model: Any, pictures: Any) -> Contender:
    if ready.network.use == "training":
        run = _step(ready, model, pictures)
        return Contender(library, name, run, lambda _: (gradients(ready, model, pictures),))
    import torch

    model.eval()

    def predict() -> Any:
        with torch.inference_mode():
            return model(pictures)

    return Contender(library, name, predict, lambda scores: (scores.numpy(),))


def _step(ready: Ready, model: Any, pictures: Any) -> Run:
    import torch

    model.train()
    # A rate of zero leaves the weights what they are; they are written all the same, so nothing made of them is kept.
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(pictures), ready.labels).backward()
        optimiser.step()

    return step


def gradients(ready: Ready, model: Any, pictures: Any) -> np.ndarray:
    """All gradients of a step with a few pictures, one after another."""
    import torch

    model.train()
    model.zero_grad(set_to_none=True)
    torch.manual_seed(0)  # what is dropped out is the same for everybody
    torch.nn.functional.cross_entropy(model(pictures[:FEW]), ready.labels[:FEW]).backward()
    found: Results = tuple(p.grad.contiguous().numpy().ravel() for p in model.parameters())
    result = np.concatenate(found)
    model.zero_grad(set_to_none=True)
    return result
