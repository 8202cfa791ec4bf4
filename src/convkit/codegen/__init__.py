"""MUSCLE: loop nests as data, written as LLVM IR with explicit vectors, compiled for the machine at hand."""

from convkit.codegen.direct import Schedule, schedule_for
from convkit.codegen.library import why_not
from convkit.codegen.target import Target, missing

__all__ = ["Schedule", "Target", "missing", "schedule_for", "why_not"]
