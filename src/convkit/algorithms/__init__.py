"""WAYS: one file for each algorithm; importing this room registers them with the planner, in the order of reports."""

from convkit.algorithms import (
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
    separable,
    swapped,
)

__all__ = [
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
    "separable",
    "swapped",
]
