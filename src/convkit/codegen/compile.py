"""From LLVM IR to machine code: checked, compiled to an object, loaded."""

from __future__ import annotations

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


def load(machine_code: bytes, names: tuple[str, ...], target: Target) -> tuple[int, ...]:
    """Where the functions ``names`` of an object file stand, once it is loaded.

    Raises
    ------
    RuntimeError
        If the object cannot be loaded, or lacks one of the functions.
    """
    llvm = binding()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(target))
    engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    addresses = tuple(engine.get_function_address(name) for name in names)
    if not all(addresses):
        raise RuntimeError(f"the object lacks one of {', '.join(names)}")
    _engines.append(engine)
    return addresses
