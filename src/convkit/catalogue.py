"""Every sentence a user reads, by key, in English and 中文.

The texts live in ``locales/<language>/*.json``. Nested objects are joined with dots, so
``{"shape": {"rule": "..."}}`` in one file is the key ``shape.rule``. A text is a ``str.format`` template.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from unicodedata import east_asian_width

LANGUAGES = ("en", "zh")
_chosen: ContextVar[str | None] = ContextVar("convkit_language", default=None)


def language() -> str:
    """The language in force: the one set in this context, else ``CONVKIT_LANG``, else English."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    wished = os.environ.get("CONVKIT_LANG", "en")[:2]
    return wished if wished in LANGUAGES else "en"


def set_language(name: str) -> None:
    """Choose the language of every later text in this context."""
    if name not in LANGUAGES:
        raise ValueError(f"language {name!r} is not one of {', '.join(LANGUAGES)}")
    _chosen.set(name)


@contextmanager
def using(name: str) -> Iterator[None]:
    """Speak ``name`` inside a ``with`` block."""
    before = _chosen.get()
    set_language(name)
    try:
        yield
    finally:
        _chosen.set(before)


def _flatten(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


@cache
def texts(name: str) -> Mapping[str, str]:
    """The whole catalogue of one language, as flat keys."""
    merged: dict[str, str] = {}
    for entry in sorted(files("convkit").joinpath("locales", name).iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".json"):
            for key, text in _flatten(json.loads(entry.read_text(encoding="utf-8"))):
                if key in merged:
                    raise ValueError(f"{key!r} stands twice in the {name} catalogue, again in {entry.name}")
                merged[key] = text
    return merged


def has(key: str) -> bool:
    """Whether the catalogue knows ``key``."""
    return key in texts(language())


def say(key: str, /, **facts: object) -> str:
    """The text of ``key`` in the language in force, with the facts put in."""
    return texts(language())[key].format(**facts)


def width(text: str) -> int:
    """Columns that a text takes in a terminal; a Chinese character takes two.

    Examples
    --------
    >>> width("sum"), width("卷积")
    (3, 4)
    """
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
