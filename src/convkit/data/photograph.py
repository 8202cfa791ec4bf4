"""Two real photographs, small enough to travel."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from convkit.errors import choose


def photograph(colours: str = "grey") -> NDArray[np.uint8]:
    """Load an embedded photograph.

    Parameters
    ----------
    colours : {"grey", "colour"}
        ``"grey"``: a temple roof, shape (256, 256). ``"colour"``: a flower, shape (96, 128, 3).

    Returns
    -------
    ndarray of uint8
        Brightness from 0 to 255. Credits stand in the room's README.

    Raises
    ------
    OptionError
        ``option.unknown-value``.

    Examples
    --------
    >>> from convkit import data
    >>> data.photograph().shape, data.photograph("colour").shape
    ((256, 256), (96, 128, 3))
    """
    choose("colours", colours, ("grey", "colour"))
    with np.load(str(files("convkit.data").joinpath("photographs.npz"))) as stored:
        return stored[colours]
