"""Real data that travels with the package, and readers and writers of the user's own files."""

from convkit.data.collections import open_collection
from convkit.data.digits import Digits, digits
from convkit.data.division import divided
from convkit.data.files import Content, read, write
from convkit.data.photograph import photograph
from convkit.data.pictures import Collection, Pictures

__all__ = [
    "Collection",
    "Content",
    "Digits",
    "Pictures",
    "digits",
    "divided",
    "open_collection",
    "photograph",
    "read",
    "write",
]
