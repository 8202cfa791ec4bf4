"""What the command line says about compiled kernels: `plan --asm`, the schedule in `plan`, the compiler in `doctor`."""

from __future__ import annotations

import json

import pytest

from convkit import codegen
from convkit.catalogue import texts

needs_compiler = pytest.mark.skipif(codegen.why_not() is not None, reason="no kernels are compiled here")


@needs_compiler
def test_plan_shows_the_inner_loop(convkit):
    facts = json.loads(
        convkit("plan", "900x800", "7x5", "--dtype", "float32", "--method", "compiled", "--asm", "--json").output
    )
    (loop,) = facts["loops"]
    assert facts["choice"] == "compiled"
    assert loop["spills"] == 0
    assert loop["multiply_adds"] >= 16
    text = convkit("plan", "900x800", "7x5", "--dtype", "float32", "--method", "compiled", "--asm").output
    assert loop["kernel"] in text
    assert f"{loop['multiply_adds']} multiply-adds" in text
    assert loop["text"] in text
    chinese = convkit("plan", "900x800", "7x5", "--dtype", "float32", "--method", "compiled", "--asm", "--lang", "zh")
    assert f"{loop['multiply_adds']} 次乘加" in chinese.output


def test_plan_says_so_where_nothing_is_compiled(convkit):
    text = convkit("plan", "900x800", "7x5", "--method", "gemm", "--asm").output
    assert "gemm" in text
    assert "--method compiled" in text
    assert "编译" in convkit("plan", "900x800", "7x5", "--method", "gemm", "--asm", "--lang", "zh").output
    facts = json.loads(convkit("plan", "900x800", "7x5", "--method", "gemm", "--asm", "--json").output)
    assert facts == {"choice": "gemm", "loops": []}


@needs_compiler
def test_plan_names_the_schedule(convkit):
    facts = json.loads(convkit("plan", "900x800", "7x5", "--dtype", "float32", "--json").output)
    schedules = {row["algorithm"]: row["schedule"] for row in facts["algorithms"]}
    assert schedules["compiled"].startswith("direct_")
    assert schedules["gemm"] is None
    text = convkit("plan", "900x800", "7x5", "--dtype", "float32").output
    assert schedules["compiled"] in text
    assert texts("zh")["plan.column.schedule"] in convkit("plan", "900x800", "7x5", "--lang", "zh").output


@needs_compiler
def test_doctor_knows_the_compiler_and_its_cache(convkit, monkeypatch, tmp_path):
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "cache"))
    compiler = json.loads(convkit("doctor", "--json").output)["compiler"]
    assert compiler["state"] == "ready"
    assert compiler["vector_bytes"] in (16, 32, 64)
    assert compiler["registers"] in (16, 32)
    assert compiler["kernels"]["folder"] == str(tmp_path / "cache" / "kernels")
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in (("a.o", 1000), ("b.o", 24), ("c.part", 9)):
        (folder / name).write_bytes(bytes(size))
    kept = json.loads(convkit("doctor", "--json").output)["compiler"]["kernels"]
    others = [path.stat().st_size for path in folder.glob("*.o") if path.name not in ("a.o", "b.o")]
    assert (kept["objects"], kept["bytes"]) == (2 + len(others), 1024 + sum(others))
    assert kept["state"] == "writable"
    shown = convkit("doctor").output
    assert compiler["target"] in shown
    assert compiler["llvm"] in shown
    assert f"{kept['objects']} objects" in shown


def test_doctor_says_why_nothing_is_compiled(convkit, monkeypatch):
    monkeypatch.setenv("CONVKIT_JIT", "0")
    result = convkit("doctor", "--json")
    compiler = json.loads(result.output)["compiler"]
    assert compiler["state"] == "jit-off"
    assert result.exit_code == 0
    assert "target" not in compiler
    assert texts("en")["plan.reason.jit-off"] in convkit("doctor").output
    assert texts("zh")["plan.reason.jit-off"] in convkit("doctor", "--lang", "zh").output
