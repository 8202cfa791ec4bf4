"""WAYS: one file for each algorithm; importing this room registers them with the planner, in the order of reports."""

from convkit.algorithms import (
    box,
    compiled,
    compiled_integer,
    direct,
    dot,
    exact_integer,
    fft,
    gemm,
    overlap_save,
    partitioned,
    polyphase,
    rows,
    separable,
    swapped,
)

__all__ = [
    "box",
    "compiled",
    "compiled_integer",
    "direct",
    "dot",
    "exact_integer",
    "fft",
    "gemm",
    "overlap_save",
    "partitioned",
    "polyphase",
    "rows",
    "separable",
    "swapped",
]
