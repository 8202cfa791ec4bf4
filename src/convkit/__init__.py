"""convkit: convolution, from a signal to a network."""

__version__ = "0.1.0"
