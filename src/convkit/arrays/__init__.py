"""What comes in and goes out: NumPy arrays, torch tensors, anything that speaks DLPack or the array protocol."""

from convkit.arrays.dispatch import namespace_of, tensors_of
from convkit.arrays.namespace import NUMPY, Namespace, stored_name

__all__ = ["NUMPY", "Namespace", "namespace_of", "stored_name", "tensors_of"]
