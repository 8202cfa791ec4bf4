"""The scenes, in the order of the tour."""

from convkit.scenes import (  # noqa: F401  (each registers its scenes)
    images_compare,
    images_edges,
    images_noise,
    images_window,
    networks_dense,
    networks_digits,
    networks_sizes,
    networks_units,
    signals_circular,
    signals_growth,
    signals_laws,
    signals_meaning,
    signals_search,
    signals_sums,
)
from convkit.scenes.figures import Figure, Label, Lines, Picture, Plot, Series, Table
from convkit.scenes.scene import SCENES, Check, Example, Outcome, Report, Scene, find, run, shown

__all__ = [
    "SCENES",
    "Check",
    "Example",
    "Figure",
    "Label",
    "Lines",
    "Outcome",
    "Picture",
    "Plot",
    "Report",
    "Scene",
    "Series",
    "Table",
    "find",
    "run",
    "shown",
]
