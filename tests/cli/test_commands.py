"""The other commands, help in both languages, and exit codes from a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from convkit.catalogue import LANGUAGES, texts
from convkit.cli import doctor

COMMANDS = (
    "tour", "filter", "convolve", "train", "evaluate", "predict", "export", "explain", "identify", "plan", "bench",
    "doctor",
)  # fmt: skip


def test_help_lists_what_there_is_and_nothing_else(convkit):
    text = convkit("--help").output
    for command in COMMANDS:
        assert f" {command} " in text
    for later in ("match", "deconvolve", "studio"):
        assert f" {later} " not in text
    assert convkit().output.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_speaks_both_languages(convkit, command):
    english, chinese = convkit(command, "--help"), convkit(command, "--help", "--lang", "zh")
    for result in (english, chinese):
        assert result.exit_code == 0
        assert not re.search(r"\bcli\.[a-z]", result.output), "a key without its sentence"
    assert "Usage:" in english.output
    assert "用法：" in chinese.output
    assert "选项" in chinese.output
    assert texts("zh")[f"cli.{command}.help"][:12] in chinese.output
    for line in english.output.splitlines():
        assert not re.search("[一-鿿]", line)


def test_language_comes_from_everywhere(convkit, process):
    assert "卷积：从信号到网络" in convkit("--lang=zh", "--help").output
    assert "卷积：从信号到网络" in process("--help", CONVKIT_LANG="zh").stdout
    assert "卷积：从信号到网络" in process("--help", LC_ALL="zh_CN.UTF-8").stdout
    assert "from a signal to a network" in process("--help", LC_ALL="zh_CN.UTF-8", CONVKIT_LANG="en").stdout


def test_exit_codes(process, tmp_path):
    right = process("convolve", "1,2,3", "1,1")
    assert (right.returncode, right.stdout, right.stderr) == (0, "[1 3 5 3]\n", "")
    impossible = process("convolve", tmp_path / "none.npy", "1,1")
    assert impossible.returncode == 1
    assert impossible.stdout == ""
    assert impossible.stderr.startswith("ConvError[file.not-found]: ")
    assert "Traceback" not in impossible.stderr
    assert process("convolve", "1,2,3").returncode == 2
    assert process("convolve", "1,2,3", "1", "--mode", "sam").returncode == 2
    assert process("nosuch").returncode == 2
    assert process("convolve", "1,2", "1", "--lang", "fr").returncode == 2
    chinese = process("convolve", tmp_path / "none.npy", "1,1", "--lang", "zh")
    assert "不存在" in chinese.stderr
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", process("--version").stdout)


def test_help_loads_nothing_heavy():
    source = str(Path(doctor.__file__).parents[2])
    code = (
        "import sys\n"
        "from convkit.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'scipy', 'matplotlib', 'PIL', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_plan(convkit):
    text = convkit("plan", "256x256", "5x5", "--dtype", "float32").output
    assert "256x256 * 5x5 -> 260x260" in text
    facts = json.loads(convkit("plan", "1000", "31", "--mode", "valid", "--json").output)
    names = {row["algorithm"] for row in facts["algorithms"]}
    assert facts["choice"] in names
    assert {"direct", "fft"} <= names
    named = convkit("plan", "256x256", "5x5", "--method", "direct", "--json").output
    assert json.loads(named)["choice"] == "direct"
    for shape in ("10x", "-3", "ten"):
        wrong = convkit("plan", "--", shape, "5")
        assert (wrong.exit_code, "option.shape-literal" in wrong.stderr) == (1, True)


def test_explain_numbers_and_scenes(convkit, tmp_path):
    text = convkit("explain", "1,2,3,4", "1,2,3", "--mode", "valid")
    assert text.exit_code == 0, text.output
    assert "10" in text.output
    assert "16" in text.output
    scene = convkit("explain", "flip")
    assert "Is the kernel flipped?" in scene.output
    assert "14 20 26 32" in scene.output
    assert "卷积核要翻转吗？" in convkit("explain", "flip", "--lang", "zh").output
    assert convkit("explain", "flip", "--format", "markdown").output.startswith("# Is the kernel flipped?")
    for form, start in (("html", "<"), ("svg", "<svg")):
        out = tmp_path / f"x.{form}"
        result = convkit("explain", "flip", "--format", form, "-o", out)
        assert result.exit_code == 0, result.output
        assert out.read_text(encoding="utf-8").startswith(start)
    none = convkit("explain", "and-gate", "--format", "svg")
    assert (none.exit_code, "option.no-steps" in none.stderr) == (1, True)
    assert convkit("explain", "and-gate").exit_code == 0


def test_explain_takes_every_option(convkit):
    options = ["--operation", "correlation", "--mode", "same", "--boundary", "wrap", "--anchor", "0", "--stride", "2"]
    result = convkit("explain", "1,2,3,4,5", "1,2,3", *options)
    assert result.exit_code == 0, result.output
    assert "14" in result.output  # 1*1 + 2*2 + 3*3


def test_identify(convkit):
    text = convkit("identify", "1,2,3,4,5,6", "1,2,3", "14,20,26,32")
    assert text.exit_code == 0, text.output
    assert "ck.correlate(x, k, mode='valid')" in text.output
    assert json.loads(convkit("identify", "1,2,3,4,5,6", "1,2,3", "10,16,22,28", "--json").output)
    assert convkit("identify", "1,2,3,4,5,6", "1,2,3", "14,20,26,32", "--lang", "zh").output != text.output


def test_doctor(convkit, monkeypatch, tmp_path):
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "cache"))
    facts = json.loads(convkit("doctor", "--json").output)
    assert facts["healthy"] is True
    assert facts["self_test"] == "ok"
    assert facts["required"]["numpy"]
    assert facts["threads"] >= 1
    assert facts["cache"] == {"folder": str(tmp_path / "cache"), "state": "absent"}
    assert set(facts["machine"]) == {"elementwise", "matrix", "transform", "bandwidth", "call", "fused"}
    for language in LANGUAGES:
        result = convkit("doctor", "--lang", language)
        assert result.exit_code == 0
        assert texts(language)["cli.doctor.healthy"] in result.output


def test_doctor_finds_what_is_wrong(convkit, monkeypatch):
    import convkit as ck

    real = ck.convolve
    with monkeypatch.context() as inside:
        inside.setattr(ck, "convolve", lambda *arguments, **options: real(*arguments, **options) + 1)
        sick = convkit("doctor", "--json")
    assert sick.exit_code == 1
    assert json.loads(sick.output)["self_test"] == "convolve(int64)"
    with monkeypatch.context() as inside:
        inside.setattr(doctor, "REQUIRED", ("numpy", "no-such-package"))
        missing = convkit("doctor")
    assert missing.exit_code == 1
    assert "missing or wrong" in missing.output


def test_doctor_names_the_extra_that_is_missing(convkit, monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"nn": ("no-such-package",)})
    result = convkit("doctor")
    assert result.exit_code == 0
    assert "pip install 'convkit[nn]'" in result.output


def test_cache_states(tmp_path):
    assert doctor._state(None) == "none"
    assert doctor._state(tmp_path / "x") == "absent"
    assert doctor._state(tmp_path) == "writable"
    (tmp_path / "file").touch()
    assert doctor._state(tmp_path / "file") == "read-only"
