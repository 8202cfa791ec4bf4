"""What comes in and goes out: NumPy arrays, torch tensors, anything that speaks DLPack or the array protocol."""

from convkit.arrays.namespace import NUMPY, Namespace, namespace_of

__all__ = ["NUMPY", "Namespace", "namespace_of"]
