"""WAYS: one file for each algorithm; importing this room registers them with the planner, in the order of reports."""

from convkit.algorithms import (
    box,
    compiled,
    compiled_integer,
    depthwise_gradient,
    direct,
    dot,
    exact_integer,
    fft,
    gemm,
    implicit_gemm,
    kernel_gradient,
    overlap_save,
    partitioned,
    polyphase,
    rows,
    separable,
    sliding_box,
    swapped,
)
from convkit.algorithms.support import finishing as finishing  # registers how epilogues are done

__all__ = [
    "box",
    "compiled",
    "compiled_integer",
    "depthwise_gradient",
    "direct",
    "dot",
    "exact_integer",
    "fft",
    "gemm",
    "implicit_gemm",
    "kernel_gradient",
    "overlap_save",
    "partitioned",
    "polyphase",
    "rows",
    "separable",
    "sliding_box",
    "swapped",
]
