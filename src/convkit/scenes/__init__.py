"""The scenes, in the order of the tour."""

from importlib import import_module

from convkit.scenes.figures import Figure, Label, Lines, Picture, Plot, Series, Table
from convkit.scenes.scene import SCENES, Check, Example, Outcome, Report, Scene, find, run, shown

# The order of the tour; each file registers its scenes when it is imported.
for _file in (
    "signals_meaning", "signals_sums", "signals_growth", "signals_circular", "signals_laws", "signals_search",
    "images_window", "images_edges", "images_noise", "images_compare",
    "networks_units", "networks_layers", "networks_sizes", "networks_dense", "networks_shifts", "networks_features",
    "networks_gradients", "networks_preprocess", "networks_digits", "networks_trained",
):  # fmt: skip
    import_module(f"convkit.scenes.{_file}")

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
