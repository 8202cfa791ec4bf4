"""Training runs: killed at any step they go on with the same bits; what is wrong is said, and what was saved stays."""

from __future__ import annotations

import errno
import json
import os
import shutil

import numpy as np
import pytest
import torch

from convkit import data
from convkit.errors import ConvError, RunError
from convkit.nn import runs, zoo
from convkit.nn.runs import chance, checkpoint, costs, faults, folder, looking
from convkit.nn.runs.augmentation import changed
from convkit.nn.runs.history import Epoch, History
from convkit.nn.runs.preprocessing import Preprocessing, pixels
from convkit.nn.runs.ranks import Ranks
from convkit.planner import machine
from tests.data.picture_sets import write_folder, write_idx

QUICK = {"model": "lenet5", "epochs": 2, "batch": 16, "augment": runs.Augmentation(shift=1, rotate=5), "seed": 3}


@pytest.fixture(autouse=True)
def one_thread():
    """Small sums are not worth a second thread, and results here are compared bit for bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def stripes_set(tmp_path_factory):
    return str(write_idx(tmp_path_factory.mktemp("set"), size=(16, 16)))


def session(place, path, resume="no", start=None, **options):
    path.mkdir(exist_ok=True)
    return runs.prepared(runs.Wish(place, path, {**QUICK, **options}, resume=resume, start=start), Ranks())


def tensors(path):
    return checkpoint.read(checkpoint.checkpoints(path / "checkpoints")[-1]).tensors


class Killed(BaseException):
    """What nothing catches: the process is gone."""


@pytest.mark.parametrize("model", ["lenet5", "small_cnn", "mlp"])
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path, stripes_set, model):
    whole = session(stripes_set, tmp_path / "whole", model=model)
    assert whole.training.run() == "finished"
    chance_of = np.random.default_rng(5)
    killed = tmp_path / "killed"
    deaths = 0
    while True:
        goes_on = session(stripes_set, killed, "yes", model=model)
        left = int(chance_of.integers(1, 5))

        def count(moment, left=[left]):  # noqa: B006  (a counter of its own for every sitting)
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        try:
            ending = goes_on.training.run(runs.Watch(step=count, save_every=0.0))
        except Killed:
            deaths += 1
            continue
        break
    assert ending == "finished"
    assert deaths > 2
    one, other = tensors(tmp_path / "whole"), tensors(killed)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (killed / "steps.csv").read_bytes() == (tmp_path / "whole" / "steps.csv").read_bytes()
    assert (killed / "weights.safetensors").read_bytes() == (tmp_path / "whole" / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_every_optimiser_and_schedule_goes_on(tmp_path, stripes_set, optimiser, schedule):
    options = {"optimiser": optimiser, "schedule": schedule, "preprocess": "mean"}
    session(stripes_set, tmp_path / "a", **options).training.run()
    stop = iter([False] * 6 + [True] * 9)
    first = session(stripes_set, tmp_path / "b", **options)
    assert first.training.run(runs.Watch(stop=lambda: next(stop))) == "interrupted"
    second = session(stripes_set, tmp_path / "b", "yes", **options)
    assert second.resumed == 7
    second.training.run()
    one, other = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_full_disk_leaves_earlier_checkpoints(tmp_path, stripes_set, monkeypatch):
    full = {"bytes": 3}
    real = checkpoint.save_file

    def save(tensors, path, metadata=None):
        full["bytes"] -= 1
        if full["bytes"] < 0:
            path.write_bytes(b"half a checkpoint")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(tensors, path, metadata=metadata)

    monkeypatch.setattr(checkpoint, "save_file", save)
    made = session(stripes_set, tmp_path)
    with pytest.raises(RunError) as caught:
        made.training.run(runs.Watch(save_every=0.0))
    assert caught.value.code == "run.cannot-save"
    assert "No space left" in str(caught.value)
    assert "step-00000003.safetensors" in str(caught.value)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000002.safetensors", "step-00000003.safetensors"]
    monkeypatch.setattr(checkpoint, "save_file", real)
    again = session(stripes_set, tmp_path, "yes")
    assert again.resumed == 3
    assert again.training.run() == "finished"


def test_a_damaged_checkpoint_is_refused_and_the_one_before_serves(tmp_path, stripes_set):
    session(stripes_set, tmp_path).training.run(runs.Watch(save_every=0.0))
    before, newest = checkpoint.checkpoints(tmp_path / "checkpoints")
    good = newest.read_bytes()
    for damaged in (good[:-9], good[:-9] + bytes(9), b"", b"\xff" * 100):
        newest.write_bytes(damaged)
        with pytest.raises(RunError) as caught:
            session(stripes_set, tmp_path, "yes")
        assert caught.value.code == "run.damaged-checkpoint"
        assert str(before) in str(caught.value)
    before_too = before.read_bytes()
    before.unlink()
    with pytest.raises(RunError, match=r"run\.no-checkpoint-left"):
        session(stripes_set, tmp_path, "yes")
    before.write_bytes(before_too)
    assert session(stripes_set, tmp_path, "yes", before).training.run() == "finished"
    assert tensors(tmp_path).keys() == checkpoint.read(before).tensors.keys()


def test_a_checkpoint_of_another_model(tmp_path, stripes_set):
    session(stripes_set, tmp_path / "a", model="mlp").training.run()
    other = checkpoint.checkpoints(tmp_path / "a" / "checkpoints")[-1]
    session(stripes_set, tmp_path / "b")
    with pytest.raises(RunError, match=r"run\.other-model.*lenet5"):
        session(stripes_set, tmp_path / "b", "yes", other)
    shutil.copy(tmp_path / "a" / "weights.safetensors", tmp_path / "b" / "weights.safetensors")
    with pytest.raises(ConvError, match=r"file\.another-model"):
        runs.opened(tmp_path / "b")


def test_a_run_inside_its_data_would_be_a_class(tmp_path):
    pictures = write_folder(tmp_path / "pictures", parts=("",), size=(16, 16))
    for inside in (pictures, pictures / "run"):
        with pytest.raises(RunError, match=r"run\.inside-data(.|\n)*pictures-run"):
            session(str(pictures), inside)
    (pictures / "run").rmdir()
    assert session(str(pictures), tmp_path / "pictures-run").training.run() == "finished"
    files = write_idx(tmp_path / "files", size=(16, 16))
    session(str(files), files / "run")
    session(str(files), files / "run", "yes")


def test_a_run_is_not_mixed_with_another(tmp_path, stripes_set):
    session(stripes_set, tmp_path / "a")
    refusals = {
        "run.exists": lambda: session(stripes_set, tmp_path / "a"),
        "run.other-options": lambda: session(stripes_set, tmp_path / "a", "yes", rate=0.5),
        "run.other-data": lambda: session("digits", tmp_path / "a", "yes"),
        "run.no-run": lambda: runs.opened(tmp_path),
        "run.no-weights": lambda: runs.opened(tmp_path / "a"),
        "run.not-a-classifier": lambda: session(stripes_set, tmp_path / "c", model="unet"),
    }
    for code, call in refusals.items():
        with pytest.raises(RunError) as caught:
            call()
        assert caught.value.code == code
        assert len(caught.value.text("zh").splitlines()) == 3
    with runs.alone(tmp_path / "a", Ranks()), pytest.raises(RunError, match=r"run\.busy"):  # noqa: SIM117
        with runs.alone(tmp_path / "a", Ranks()):
            pass
    (tmp_path / "a" / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.damaged\b"):
        runs.opened(tmp_path / "a")


def test_models_are_looked_up_before_the_data_is_read(tmp_path):
    """And none is named that gives a class to every pixel."""
    with pytest.raises(ConvError) as caught:
        session(str(tmp_path / "no data"), tmp_path / "run", model="vnet")
    assert caught.value.code == "option.unknown-value"
    assert "small_cnn" in str(caught.value)
    assert "unet" not in str(caught.value)


def test_a_run_goes_on_by_the_rates_that_it_began_with(tmp_path, stripes_set):
    """Measuring the machine anew may choose other algorithms, whose last bits differ."""
    began = machine.Machine(fused=3e10, call=1e-6)
    with machine.used(began):
        session(stripes_set, tmp_path)
    again = session(stripes_set, tmp_path, "yes")
    assert machine.current() != began
    with runs.planned_as(again.about):
        assert machine.current() == began
    assert machine.current() != began
    old = json.loads((tmp_path / "run.json").read_text())
    del old["machine"]  # as runs were before
    (tmp_path / "run.json").write_text(json.dumps(old))
    with runs.planned_as(session(stripes_set, tmp_path, "yes").about):
        assert machine.current() != began


def test_a_loss_that_is_no_number_stops_and_says_where(tmp_path, stripes_set):
    made = session(stripes_set, tmp_path)
    made.training.run(runs.Watch(stop=lambda: True))
    kept = checkpoint.checkpoints(tmp_path / "checkpoints")[-1].read_bytes()
    again = session(stripes_set, tmp_path, "yes")
    with torch.no_grad():
        [layer for layer in again.training.network.modules() if isinstance(layer, torch.nn.Conv2d)][1].weight[
            0, 0, 0, 0
        ] = np.nan
    with pytest.raises(RunError) as caught:
        again.training.run()
    error = caught.value
    assert error.code == "run.diverged"
    assert (error.facts["epoch"], error.facts["step"], error.facts["what"]) == (1, 2, "weights")
    assert "Conv2d" in str(error.facts["layer"])
    assert checkpoint.checkpoints(tmp_path / "checkpoints")[-1].read_bytes() == kept
    assert "step-" in str(caught.value)
    for one in checkpoint.checkpoints(tmp_path / "checkpoints"):
        one.unlink()
    with pytest.raises(RunError, match=r"intact: -"):
        again.training.run()


def test_where_numbers_end():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    assert faults.where_not_finite(network, torch.full((1, 2), torch.inf)) == ("input", "input")
    assert faults.where_not_finite(network, torch.ones(1, 2)) == ("loss", "loss")
    torch.nn.init.constant_(network[2].weight, 3e38)
    torch.nn.init.constant_(network[0].weight, 10.0)
    assert faults.where_not_finite(network, torch.ones(1, 2)) == ("2 (Linear)", "output")
    network[0].bias.data[1] = torch.nan
    assert faults.where_not_finite(network, torch.ones(1, 2)) == ("0 (Linear)", "weights")


def test_early_stopping_and_the_best_weights():
    history = History()
    for number, (loss, accuracy) in enumerate([(1.0, 0.5), (0.8, 0.9), (0.9, 0.9), (0.85, 0.7)], start=1):
        history.loss_sum = history.seen = 1.0
        better = history.finish_epoch(Epoch(number, number, 0.1, 1.0, 0.5, loss, accuracy, 1.0))
        assert better == (number < 3)
    assert (history.best, history.stale) == (2, 2)


def test_patience_stops(tmp_path, stripes_set):
    made = session(
        stripes_set, tmp_path, epochs=30, patience=1, rate=1e-9, schedule="constant", augment=runs.Augmentation()
    )
    made.training.history.epochs.append(Epoch(0, 0, 0.1, 1.0, 0.5, 0.0, 1.0, 1.0))  # a loss that cannot be beaten
    assert made.training.run() == "stopped-early"


def test_time_limit(tmp_path, stripes_set):
    made = session(stripes_set, tmp_path, epochs=50)
    assert made.training.run(runs.Watch(limit=0.0)) == "time-limit"
    assert len(made.training.history.losses) == 1


@pytest.mark.parametrize("kind", ["none", "mean", "normalise", "pca", "whiten"])
def test_preprocessing_learns_from_the_training_part_alone(stripes_set, kind):
    parts = data.divided(data.open_collection(stripes_set), validation=0.2, seed=0)
    learned = Preprocessing(kind, parts.shape).learn(parts.train)
    images = pixels(parts.train.take(np.arange(len(parts.train))))
    out = learned(images)
    assert out.shape == images.shape
    if kind != "none":
        assert out.mean(dim=0).abs().max() < (2e-6 if kind != "normalise" else 10)
    if kind == "normalise":
        assert abs(float(out.mean())) < 1e-5
        assert abs(float(out.std(unbiased=False)) - 1) < 1e-5
    if kind == "whiten":
        flat = out.flatten(1).double()
        variances = torch.linalg.eigvalsh(flat.T @ flat / len(flat))
        assert float(variances.max()) < 1.0
        assert float(variances.max()) > 0.9
    if kind == "pca":
        centred = (images - images.mean(dim=0)).flatten(1)
        rest = 1 - float((out.flatten(1) ** 2).sum() / (centred**2).sum())
        assert 0 < rest < 0.0101
    other = Preprocessing(kind, parts.shape).learn(parts.test)
    assert kind == "none" or not torch.equal(learned(images), other(images))
    with pytest.raises(ConvError, match=r"option\.covariance-too-large"):
        Preprocessing("pca", (70, 70, 1))


def test_changes_depend_on_the_picture_and_the_epoch_alone():
    images = torch.rand(6, 1, 9, 7)
    augment = runs.Augmentation(shift=2, rotate=20, zoom=0.2, erase=3, flip="both")
    numbers = chance.draws(6, 8, 1, 4)
    whole = changed(images, augment, numbers)
    parts = torch.cat([changed(images[i : i + 2], augment, numbers[i : i + 2]) for i in (0, 2, 4)])
    assert torch.equal(whole, parts)
    assert not torch.equal(numbers, chance.draws(6, 8, 1, 5))
    assert torch.equal(changed(images, runs.Augmentation(), numbers), images)


def test_a_shift_moves_pixels_and_a_turn_turns():
    picture = torch.zeros(1, 1, 7, 7)
    picture[0, 0, 3, 3] = 1
    numbers = torch.full((1, 8), 0.9999)
    moved = changed(picture, runs.Augmentation(shift=2), numbers)
    assert torch.argwhere(moved[0, 0])[0].tolist() == [1, 1]
    line = torch.zeros(1, 1, 9, 9)
    line[0, 0, 4] = 1
    numbers[:] = 0.5
    numbers[0, 2] = 1.0  # as far as turns go
    turned = changed(line, runs.Augmentation(rotate=90), numbers)[0, 0]
    torch.testing.assert_close(turned, line[0, 0].T, atol=1e-5, rtol=0)


def test_options_of_a_recipe():
    assert str(runs.Augmentation.of("shift=2,flip=horizontal")) == "shift=2,flip=horizontal"
    assert str(runs.Augmentation.of("none")) == "none"
    recipe = runs.suited("folder", (32, 32, 3), 4000)
    assert runs.Recipe.of(json.loads(json.dumps(recipe.facts()))) == recipe
    assert recipe.augment.flip == "horizontal"
    assert runs.suited("idx", (28, 28, 1), 60000).augment.flip == "none"
    wrong = [
        ("option.augment", lambda: runs.Augmentation.of("shift=x")),
        ("option.augment", lambda: runs.Augmentation(rotate=400)),
        ("option.augment", lambda: runs.Augmentation(erase=99)),
        ("option.unknown-value", lambda: runs.Augmentation.of("sift=1")),
        ("option.not-positive", lambda: recipe.changed({"rate": 0.0})),
        ("option.not-positive", lambda: recipe.changed({"rate": float("nan")})),
        ("option.too-small", lambda: recipe.changed({"epochs": 0})),
        ("option.share", lambda: recipe.changed({"smoothing": 1.0})),
        ("option.unknown-value", lambda: recipe.changed({"optimiser": "lion"})),
    ]
    for code, call in wrong:
        with pytest.raises(ConvError) as caught:
            call()
        assert caught.value.code == code


def test_batches_are_shared_evenly(tmp_path, stripes_set):
    parts = data.divided(data.open_collection(stripes_set), validation=0.1, seed=0)
    network = zoo.build("mlp", channels=1, classes=3, size=(16, 16))
    preprocess = Preprocessing("none", parts.shape)
    place = folder.Folder(tmp_path / "a")
    with pytest.raises(RunError, match=r"run\.batch-and-ranks"):
        runs.Training(network, preprocess, parts, runs.Recipe(batch=16), place, Ranks(0, 3))


def test_costs_of_layers():
    network = zoo.build("small_cnn", channels=1, classes=10, size=28)
    rows = {cost.name: cost for cost in costs.layer_costs(network, (28, 28, 1), batch=2, rounds=1)}
    first, second, last = rows["block1.conv"], rows["block2.conv"], rows["output"]
    assert (first.parameters, first.multiply_adds, first.field) == (288, 28 * 28 * 288, 3)
    assert (second.out, second.field) == ((64, 14, 14), 8)
    assert (last.multiply_adds, last.field) == (1280, None)
    assert sum(cost.parameters for cost in rows.values()) == zoo.parameters(network)
    assert 0 < first.fraction(1e12) < 1
    residual = {
        cost.name: cost.field
        for cost in costs.layer_costs(zoo.build("resnet18", size=96), (96, 96, 3), batch=1, rounds=1)
    }
    assert residual["conv1"] == 7
    assert residual["layer1.0.conv2"] == 27
    assert residual["layer1.1.conv1"] == 35  # through the sum of two ways


def test_saliency_is_the_slope(stripes_set):
    network = zoo.build("lenet5", channels=1, classes=3, size=16, seed=1).eval()
    preprocess = Preprocessing("none", (16, 16, 1))
    image = data.open_collection(stripes_set).test.take(np.array([4]))[0]
    found = looking.saliency(network, preprocess, image, 2)
    x = pixels(image[None])
    step = torch.zeros_like(x)
    step[0, 0, 5, 6] = 1e-2
    with torch.no_grad():
        slope = (network(x + step) - network(x - step))[0, 2] / 2e-2
    assert found.shape == (16, 16)
    assert abs(float(slope)) == pytest.approx(float(found[5, 6]), rel=0.05, abs=1e-4)
    assert next(iter(looking.feature_maps(network, preprocess, image).values())).ndim == 3


def test_a_streamed_folder_gives_the_same_network(tmp_path):
    place = str(write_folder(tmp_path / "set", size=(16, 16)))
    weights = []
    for limit in (1 << 30, 1000):
        path = tmp_path / str(limit)
        path.mkdir()
        made = runs.prepared(runs.Wish(place, path, {**QUICK, "epochs": 1}, limit=limit), Ranks())
        made.training.run()
        weights.append(tensors(path))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_usual_rate_depends_on_norms_and_optimiser():
    from convkit.nn.runs.optimisation import usual_rate

    normed, plain = (zoo.build(name, channels=1, classes=3, size=16) for name in ("small_cnn", "lenet5"))
    assert usual_rate(normed, "adamw") > usual_rate(plain, "adamw")
    assert usual_rate(plain, "sgd") > usual_rate(plain, "adamw")
