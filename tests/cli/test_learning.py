"""train, evaluate, predict and export, from the command line to the files; errors end in three lines and code 1."""

from __future__ import annotations

import doctest
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from convkit.catalogue import LANGUAGES
from tests.cli.conftest import SOURCE
from tests.data.picture_sets import write_folder, write_idx

QUICK = ("--model", "lenet5", "--batch", 16, "--seed", 1, "--threads", 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("set"), count=40, size=(16, 16))


@pytest.fixture(scope="module")
def run(tmp_path_factory, place):
    """A trained run; never written to."""
    from typer.testing import CliRunner

    from convkit import catalogue
    from convkit.cli import build

    path = tmp_path_factory.mktemp("runs") / "run"
    given = list(map(str, ["train", place, "--out", path, "--epochs", 12, "--rate", 0.002, *QUICK, "--json"]))
    before = catalogue._chosen.get()
    done = CliRunner().invoke(build(given), given, catch_exceptions=False)
    catalogue._chosen.set(before)  # the fixture that puts the language back is younger than this one
    assert done.exit_code == 0, done.output
    return path, json.loads(done.stdout)


def test_training_from_the_command_line(run, place):
    path, facts = run
    assert facts["accuracy"] > 0.9
    assert facts["pictures"] == 120
    assert [row["class"] for row in facts["classes"]] == ["across", "down", "grid"]
    assert facts["ending"] == "finished"
    expected = {
        "run.json",
        "weights.safetensors",
        "preprocessing.safetensors",
        "log.csv",
        "steps.csv",
        "result.json",
        "report.html",
    }
    assert expected <= set(os.listdir(path))
    assert len((path / "log.csv").read_text().splitlines()) == 13
    assert json.loads((path / "result.json").read_text()) == facts


def test_the_report_stands_alone_in_both_languages(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    for section in ("curves", "confusion", "mistakes", "kernels", "inside", "costs", "recipe"):
        assert f'id="{section}"' in page
    assert page.count("<svg") == 4
    for words in ("Worst mistakes", "最严重的错误", "receptive field", "感受野"):
        assert words in page
    assert "{" not in re.sub(r"<(style|script)>.*?</\1>|<svg.*?</svg>", "", page, flags=re.DOTALL)


def test_evaluating(convkit, run, place):
    path, facts = run
    done = convkit("evaluate", path, place, "--json")
    found = json.loads(done.stdout)
    assert (found["accuracy"], found["split"], found["confusion"]) == (facts["accuracy"], "test", facts["confusion"])
    alone = json.loads(convkit("evaluate", path, place / "test", "--json").stdout)
    assert (alone["accuracy"], alone["split"], alone["pictures"]) == (facts["accuracy"], "all", 120)
    assert json.loads(convkit("evaluate", path, place, "--split", "all", "--json").stdout)["pictures"] == 240
    spoken = convkit("evaluate", path, place, "--lang", "zh")
    assert "召回率" in spoken.stdout


def test_evaluating_test_files_alone(convkit, tmp_path):
    write_idx(tmp_path / "set", size=(16, 16))
    done = convkit("train", tmp_path / "set", "-o", tmp_path / "run", "--epochs", 2, *QUICK, "--json")
    facts = json.loads(done.stdout)
    for name in list(os.listdir(tmp_path / "set")):
        if name.startswith("train"):
            (tmp_path / "set" / name).unlink()
    found = json.loads(convkit("evaluate", tmp_path / "run", tmp_path / "set", "--json").stdout)
    assert (found["accuracy"], found["pictures"], found["split"]) == (facts["accuracy"], 30, "test")
    write_idx(tmp_path / "other", classes=5, size=(16, 16))
    failed(convkit("evaluate", tmp_path / "run", tmp_path / "other"), "data.unknown-label", "4")
    write_idx(tmp_path / "small")
    failed(convkit("evaluate", tmp_path / "run", tmp_path / "small"), "data.wrong-size", "12x10x1")
    failed(convkit("evaluate", tmp_path / "run", tmp_path / "set", "--split", "train"), "data.no-part", "test")


def failed(done, code, said=""):
    assert done.exit_code == 1, done.output
    assert f"ConvError[{code}]" in done.stderr, done.stderr
    assert said in done.stderr, done.stderr
    assert not done.stdout


def test_part_of_the_classes(convkit, place, tmp_path):
    options = ("--epochs", 1, *QUICK, "--classes", "grid,across", "--json")
    facts = json.loads(convkit("train", place, "--out", tmp_path / "run", *options).stdout)
    assert [row["class"] for row in facts["classes"]] == ["grid", "across"]
    found = json.loads(convkit("evaluate", tmp_path / "run", place / "test", "--json").stdout)
    assert found["pictures"] == 80


def test_predicting(convkit, run, place, tmp_path):
    path, _ = run
    one = sorted((place / "test" / "down").iterdir())[0]
    done = convkit("predict", path, one, one, "--maps", tmp_path / "maps", "--top", 2, "--json")
    first, second = json.loads(done.stdout)["predictions"]
    assert first["class"] == "down"
    assert [len(first["top"]), first["top"][0]["class"]] == [2, "down"]
    assert first["top"] == second["top"]
    assert sum(row["share"] for row in first["top"]) <= 1
    assert len(first["maps"]) == 3  # saliency and two convolutions
    with Image.open(first["maps"][0]) as image:
        assert image.size == (256, 256)
    assert f"{one}: down" in convkit("predict", path, one).stdout


def test_predicting_odd_pictures(convkit, run, tmp_path):
    path, _ = run
    for mode, size in (("L", (20, 18)), ("RGB", (16, 16)), ("RGBA", (16, 16)), ("I;16", (16, 16))):
        Image.new(mode, size).save(tmp_path / f"{mode[0]}{len(mode)}.png")
    failed(convkit("predict", path, tmp_path / "L1.png"), "data.wrong-size", "--size 16x16")
    failed(convkit("predict", path, tmp_path / "R3.png"), "data.wrong-size", "16x16x3")
    failed(convkit("predict", path, tmp_path / "R4.png"), "data.mode", "--channels 1")
    failed(convkit("predict", path, tmp_path / "I4.png"), "data.deep")
    failed(convkit("predict", path, tmp_path / "none.png"), "file.not-found")
    failed(convkit("predict", path, tmp_path), "file.is-a-folder")
    for name, options in (("L1", ("--size", 16)), ("R3", ("--channels", 1)), ("R4", ("--channels", 1))):
        assert convkit("predict", path, tmp_path / f"{name}.png", *options).exit_code == 0


def test_exporting(convkit, run, place, tmp_path):
    import torch
    from safetensors import safe_open

    from convkit import data
    from convkit.nn import runs
    from convkit.nn.runs.exporting import Complete

    path, _ = run
    images = data.open_collection(place).test.take(np.arange(5))
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    with torch.no_grad():
        expected = Complete(runs.opened(path))(x)
    torch_file, weights = tmp_path / "m.pt2", tmp_path / "m.safetensors"
    assert "batch x 1 x 16 x 16" in convkit("export", path, "--format", "torch", "-o", torch_file).stdout
    got = torch.export.load(torch_file).module()(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    facts = json.loads(convkit("export", path, "-f", "safetensors", "-o", weights, "--json").stdout)
    assert facts["classes"] == ["across", "down", "grid"]
    with safe_open(weights, "np") as file:
        assert json.loads(file.metadata()["convkit"])["classes"] == facts["classes"]
        assert "preprocess.mean" in file.keys()  # noqa: SIM118
    failed(convkit("export", path, "-f", "onix", "-o", weights), "option.unknown-value", 'format="onnx"')


def test_a_run_that_is_there_is_not_overwritten(convkit, run, place):
    path, facts = run
    failed(convkit("train", place, "--out", path), "run.exists", "--resume")
    failed(convkit("train", place, "--out", path, "--resume", "--lr", 0.5), "run.other-options", "rate=")
    again = convkit("train", place, "--out", path, "--resume", "--json")
    assert json.loads(again.stdout)["accuracy"] == facts["accuracy"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--epochs", 0), "option.too-small"),
        (("--model", "resnet19"), "option.unknown-value"),
        (("--augment", "twist=3"), "option.unknown-value"),
        (("--channels", 2), "option.unknown-value"),
        (("--size", "axb"), "option.shape-literal"),
        (("--size", "8x8x8"), "option.shape-literal"),
        (("--time-limit", 0), "option.not-positive"),
        (("--memory", 0), "option.too-small"),
        (("--classes", "down"), "data.one-class"),
        (("--model", "vgg16"), "shape.picture-too-small"),
    ],
)
def test_wrong_options(convkit, place, tmp_path, options, code):
    failed(convkit("train", place, "--out", tmp_path / "run", *options), code)
    assert not (tmp_path / "run").exists()


def test_help_speaks(convkit):
    for command in ("train", "evaluate", "predict", "export"):
        for language in LANGUAGES:
            done = convkit(command, "--help", "--lang", language)
            assert done.exit_code == 0
            assert "cli." not in done.stdout


@pytest.mark.parametrize(
    ("language", "end"),
    [("en", "the same bits as if it had never stopped."), ("zh", "继续 RUN 中的训练，结果与从未中断时逐位相同。")],
)
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_help_is_told_whole_in_any_width(convkit, monkeypatch, language, end, columns):
    """中文 has no spaces to break lines at; what did not fit used to be cut off."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in ("train", "filter"):
        said = convkit(command, "--help", "--lang", language).stdout
        assert "…" not in said.replace("……", "")
        assert all(cell_len(line) <= columns for line in said.splitlines())
        if command == "train":
            assert "".join(end.split()) in "".join(said.replace("│", "").split())


def start(place, path, *options):
    environment = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    arguments = ["train", place, "--out", path, "--epochs", 400, "--save-every", 0, *QUICK, *options]
    return subprocess.Popen(
        [sys.executable, "-m", "convkit", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(folder, count):
    for _ in range(600):
        if len(list(folder.glob("step-*"))) >= count:
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint came")


def test_a_stop_signal_saves_and_says_how_to_go_on(place, tmp_path):
    process = start(place, tmp_path / "run")
    wait_for(tmp_path / "run" / "checkpoints", 2)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert b"--resume" in said


def test_two_processes_learn_what_one_does(convkit, place, tmp_path):
    """As torchrun starts them; without batch norm their losses are those of one process, but for rounding."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    arguments = ["train", place, "--out", tmp_path / "two", "--epochs", 1, *QUICK]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "convkit", *map(str, arguments)],
            env={**os.environ, **world, "RANK": str(rank), "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for rank in (0, 1)
    ]
    (spoken, _), (silent, also_silent) = (process.communicate(timeout=120) for process in processes)
    assert [process.returncode for process in processes] == [0, 0], also_silent
    assert "held out" in spoken
    assert silent == ""
    convkit("train", place, "--out", tmp_path / "one", "--epochs", 1, *QUICK)
    one, two = (np.genfromtxt(tmp_path / name / "steps.csv", delimiter=",", skip_header=1) for name in ("one", "two"))
    np.testing.assert_allclose(two, one, rtol=1e-4)


def test_a_file_size_limit_is_a_full_disk(place, tmp_path):
    """A real write error: the kernel refuses to let files grow."""
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); from convkit.cli import main; main()"
    )
    arguments = ["train", place, "--out", tmp_path / "run", "--epochs", 1, *QUICK]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": SOURCE, "LANG": "C", "CONVKIT_LANG": "en"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "ConvError[run.cannot-save]" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run").glob("*.safetensors.*"))
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    from convkit.cli.learning.plots import curves
    from convkit.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"missing\.plots"):
        curves([([1, 2], [3, 4])])


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_about_training(language, convkit):
    from convkit.nn.runs import recipe
    from convkit.nn.zoo import MODELS

    page = Path(__file__).resolve().parents[2] / "docs" / language / "training.md"
    done = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (done.attempted, done.failed) == (9, 0)
    text = page.read_text(encoding="utf-8")
    words = [*recipe.PREPROCESSINGS, *recipe.OPTIMISERS, *recipe.SCHEDULES, *recipe.INITIALISATIONS]
    words += [name for name, model in MODELS.items() if model.task == "classification"]
    assert [word for word in words if f"`{word}`" not in text] == []
    known = convkit("train", "--help").stdout
    assert [option for option in set(re.findall(r"(?<=`)--[a-z-]+", text)) if option not in known] in ([], ["--maps"])
