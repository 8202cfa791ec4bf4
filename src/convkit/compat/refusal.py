"""What a drop-in module says when it refuses: the imitated library's own exception type, words from the catalogue."""

from __future__ import annotations

from typing import TypeVar

from convkit.catalogue import say

Kind = TypeVar("Kind", bound=Exception)


def refusal(kind: type[Kind], key: str, /, **facts: object) -> Kind:
    """The exception ``kind`` carrying the sentence ``compat.<key>``.

    Parameters
    ----------
    kind : type of Exception
        The type that the imitated library raises here, so that a caller's ``except`` goes on working.
    key : str
        The sentence in the catalogue, without its leading ``compat.``.
    **facts
        What the sentence names.

    Examples
    --------
    >>> refusal(RuntimeError, "scipy_ndimage.mode").args
    ('boundary mode not supported',)
    """
    return kind(say(f"compat.{key}", **facts))
