"""From LLVM IR to machine code: checked, compiled to an object, loaded as a function."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from convkit.codegen.target import Target, binding


def build(ir: str, target: Target) -> bytes:
    """The object file of ``ir``, for ``target``, which need not be this machine.

    Raises
    ------
    RuntimeError
        If LLVM finds the IR malformed or knows no such target.
    """
    machine, module = _parsed(ir, target)
    return machine.emit_object(module)


def assembly(ir: str, target: Target) -> str:
    """The same as text."""
    machine, module = _parsed(ir, target)
    return machine.emit_assembly(module)


def _parsed(ir: str, target: Target) -> tuple[Any, Any]:
    machine = _machine(target)
    module = binding().parse_assembly(ir)
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    module.verify()
    return machine, module


def _machine(target: Target) -> Any:
    return (
        binding()
        .Target.from_triple(target.triple)
        .create_target_machine(cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="jitdefault")
    )


_engines: list[Any] = []
"""Engines own the memory of what they loaded, so they stay."""


def load(machine_code: bytes, name: str, target: Target, arguments: list[Any]) -> Callable[..., None]:
    """The function ``name`` of an object file. Calling it releases Python's global lock.

    Raises
    ------
    RuntimeError
        If the object cannot be loaded, or holds no such function.
    """
    llvm = binding()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(target))
    engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    address = engine.get_function_address(name)
    if not address:
        raise RuntimeError(f"the object holds no function {name}")
    _engines.append(engine)
    return ctypes.CFUNCTYPE(None, *arguments)(address)
