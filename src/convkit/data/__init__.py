"""Real data that travels with the package, and readers and writers of the user's own files."""

from convkit.data.digits import Digits, digits
from convkit.data.files import Content, read, write
from convkit.data.photograph import photograph

__all__ = ["Content", "Digits", "digits", "photograph", "read", "write"]
