"""The verbs: check the arguments, lower them to a problem, find its plan, run it."""

from convkit.verbs.convolution import convolve, correlate
from convkit.verbs.convolver import Convolver
from convkit.verbs.network import conv, conv_input_gradient, conv_transpose, conv_weight_gradient
from convkit.verbs.planning import plan
from convkit.verbs.pooling import pool
from convkit.verbs.stream import Stream

__all__ = [
    "Convolver",
    "Stream",
    "conv",
    "conv_input_gradient",
    "conv_transpose",
    "conv_weight_gradient",
    "convolve",
    "correlate",
    "plan",
    "pool",
]
