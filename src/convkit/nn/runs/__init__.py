"""Training runs: begun, killed, resumed, judged, looked into and exported.

A run is a folder. ``run.json`` says what it is, ``checkpoints`` holds everything needed to go on with the same bits,
``weights.safetensors`` the best weights so far.
"""

from __future__ import annotations

from convkit.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch") from error

from convkit.nn.runs.folder import Run, described, opened
from convkit.nn.runs.judgement import Judgement, judged
from convkit.nn.runs.preprocessing import Preprocessing
from convkit.nn.runs.recipe import Augmentation, Recipe, suited
from convkit.nn.runs.session import Session, Wish, alone, part_to_judge, planned_as, prepared, use_threads
from convkit.nn.runs.training import Training, Watch

__all__ = [
    "Augmentation",
    "Judgement",
    "Preprocessing",
    "Recipe",
    "Run",
    "Session",
    "Training",
    "Watch",
    "Wish",
    "alone",
    "described",
    "judged",
    "opened",
    "part_to_judge",
    "planned_as",
    "prepared",
    "suited",
    "use_threads",
]
