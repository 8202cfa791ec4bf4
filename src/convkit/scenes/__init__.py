"""The scenes, in the order of the tour."""

from convkit.scenes import (  # noqa: F401  (each registers its scenes)
    signals_meaning,
    signals_sums,
    signals_growth,
    signals_circular,
    signals_laws,
    signals_search,
    images_window,
    images_edges,
    images_noise,
    images_compare,
    networks_units,
    networks_sizes,
    networks_dense,
    networks_digits,
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
