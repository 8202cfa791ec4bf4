"""The stories: passport, translation, step by step, identification, difference, the plan in words.

The room is called by the name of its first function, so ``convkit.explain`` is both: ``ck.explain(x, k)`` explains,
``convkit.explain.diff`` is one of its functions.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from convkit.explain.card import Passport, passport
from convkit.explain.difference import Difference, diff
from convkit.explain.explanation import Explanation, explain
from convkit.explain.identification import Identification, Match, identify
from convkit.explain.plan_text import plan_markdown, plan_text
from convkit.explain.translation import Translation, translate

__all__ = [
    "Difference",
    "Explanation",
    "Identification",
    "Match",
    "Passport",
    "Translation",
    "diff",
    "explain",
    "identify",
    "passport",
    "plan_markdown",
    "plan_text",
    "translate",
]


class _Room(ModuleType):
    """A module that may be called: importing it sets ``convkit.explain``, which is also the verb's name."""

    def __call__(self, *arguments: Any, **options: Any) -> Explanation:
        return explain(*arguments, **options)


sys.modules[__name__].__class__ = _Room
