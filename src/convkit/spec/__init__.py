"""WHAT is computed: the spec, its sizes, its boundaries, other libraries' dialects. No arrays."""

from convkit.spec.boundary import OUTSIDE, index_map, source_index
from convkit.spec.conv import ConvSpec
from convkit.spec.window import Window

__all__ = ["OUTSIDE", "ConvSpec", "Window", "index_map", "source_index"]
