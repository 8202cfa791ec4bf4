"""ONNX's own backend tests, with convkit's backend: which of them are run, and why a few are not."""

from __future__ import annotations

import io
import os
import unittest
import warnings
from collections.abc import Callable
from functools import cache

import onnx.backend.test

from convkit.compat.onnx import ConvkitBackend

OPERATORS = {
    "convolutions": r"[Cc]onv",
    "pooling": r"[Pp]ool",
    "rectifiers": r"relu|ReLU|clip|elu_|ELU|prelu",
    "curves": r"sigmoid|Sigmoid|swish|tanh|Tanh|[Ss]oftmax|softplus|softsign|erf",
    "arithmetic": r"test_(operator_)?(add|sub|mul|div|sum|mean|max|min|pow|sqrt|exp|neg|abs)",
    "normalization": r"[Bb]atch_?[Nn]orm|instancenorm|group_normalization|layer_normalization|lrn",
    "products": r"gemm|matmul|Linear|_mm_|addmm",
    "shapes": r"flatten|reshape|transpose|squeeze|expand|tile|operator_view|permute|identity|dropout|PixelShuffle",
    "parts": r"concat|slice|gather|split|chunk|index|pad|Pad|shape|constant",
    "reductions": r"reduce|reduced|argmax|argmin",
    "types": r"cast|quantize|qlinear",
    "sizes": r"resize|upsample|depthtospace|spacetodepth",
    "control": r"test_(if|loop|scan|sequence|optional)",
    "networks": r"alexnet|densenet|inception|resnet|shufflenet|squeezenet|vgg|zfnet",
    "anything": r"",
}
"""Names of groups, and what the tests' names hold; the last group is whatever is left."""

EXCLUDED = {
    r"test_bernoulli": "draws random numbers; its expected outputs are those of one generator",
    r"test_if_opt|test_loop16_seq_none": "optional sequences, which onnx's reference implementation cannot take either",
    r"test_range_.*_expanded": "a loop that onnx's reference implementation runs once too often",
    r"test_scan_sum_cpu": "an omitted first input, which onnx's reference implementation takes for a value",
    r"test_scatter_with": "Scatter, deprecated since operator set 11 and gone from the reference implementation",
    r"test_gradient_of": "the training preview's Gradient: a backend for inference differentiates nothing",
}
"""The tests that are not run, by pattern, and why."""

Tests = dict[str, Callable[[], unittest.TestCase]]


@cache
def tests() -> Tests:
    """Every test for the processor, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the expected values overflow and divide by zero on purpose
        cases = onnx.backend.test.BackendTest(ConvkitBackend, __name__).test_cases.values()
    return {
        name: lambda case=case, name=name: case(name)
        for case in cases
        for name in vars(case)
        if name.startswith("test_") and name.endswith("_cpu")
    }


def run(names: list[str], home: str) -> unittest.TestResult:
    """Run the tests named; the networks' data is written below ``home``."""
    before = os.environ.get("ONNX_HOME")
    os.environ["ONNX_HOME"] = home
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return unittest.TextTestRunner(io.StringIO()).run(unittest.TestSuite(tests()[name]() for name in names))
    finally:
        if before is None:
            del os.environ["ONNX_HOME"]
        else:
            os.environ["ONNX_HOME"] = before
