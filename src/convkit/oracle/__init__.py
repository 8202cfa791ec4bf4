"""The truth: every operator as plain loops over exact numbers, and the same loops keeping every term."""

from convkit.oracle.direct import array_operator, network_operator
from convkit.oracle.gradients import adjoint, bias_gradient, inner, input_gradient, kernel_gradient
from convkit.oracle.grid import Grid, Index, Number, indices
from convkit.oracle.missing import omit
from convkit.oracle.operator import Link, Operator, Outside
from convkit.oracle.pooling import pool
from convkit.oracle.trace import Step, Term, Trace, TraceError, trace
from convkit.oracle.transposed import transposed_operator

__all__ = [
    "Grid",
    "Index",
    "Link",
    "Number",
    "Operator",
    "Outside",
    "Step",
    "Term",
    "Trace",
    "TraceError",
    "adjoint",
    "array_operator",
    "bias_gradient",
    "indices",
    "inner",
    "input_gradient",
    "kernel_gradient",
    "network_operator",
    "omit",
    "pool",
    "trace",
    "transposed_operator",
]
