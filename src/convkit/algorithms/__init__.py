"""WAYS: one file for each algorithm; importing this room registers them with the planner, in the order of reports."""

from convkit.algorithms import (
    box,
    byte_box,
    byte_separable,
    channelwise_gradient,
    col2im,
    compiled,
    compiled_integer,
    depthwise,
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
    recursive,
    rows,
    separable,
    sliding_box,
    swapped,
    winograd,
    winograd_gradient,
)
from convkit.algorithms.support import bands as bands  # registers how layers are done together
from convkit.algorithms.support import finishing as finishing  # registers how epilogues are done
from convkit.algorithms.support import normalising as normalising  # registers how batches are normalised
from convkit.algorithms.support import pooling as pooling  # registers how windows are pooled
from convkit.algorithms.support import pooling_places as pooling_places  # registers how places are kept

__all__ = [
    "box",
    "byte_box",
    "byte_separable",
    "channelwise_gradient",
    "col2im",
    "compiled",
    "compiled_integer",
    "depthwise",
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
    "recursive",
    "rows",
    "separable",
    "sliding_box",
    "swapped",
    "winograd",
    "winograd_gradient",
]
