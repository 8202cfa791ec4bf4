"""From computed numbers to numbers that a file can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def fitted(values: NDArray[Any], dtype: str, scale: str = "none") -> tuple[NDArray[Any], float]:
    """Round and saturate ``values`` into ``dtype``.

    Parameters
    ----------
    values : ndarray
        What was computed.
    dtype : str
        The element type wanted.
    scale : {"none", "signed", "stretch"}
        For whole types: as they are; zero in the middle and the largest magnitude at the end; or the smallest at the
        lower and the largest at the upper end.

    Returns
    -------
    array : ndarray
        Of ``dtype``.
    clipped : float
        Share of the values that lay outside and were cut off, 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> fitted(np.array([-3.0, 0.5, 300.0]), "uint8")
    (array([  0,   0, 255], dtype=uint8), 0.6666666666666666)
    >>> fitted(np.array([-2.0, 0.0, 1.0]), "uint8", "signed")[0]
    array([  0, 128, 191], dtype=uint8)
    """
    kind = np.dtype(dtype)
    if kind.kind not in "iu":
        return values.astype(kind), 0.0
    bounds = np.iinfo(kind)
    least, most = int(bounds.min), int(bounds.max)
    if scale != "none" and values.size:
        low, high = float(values.min()), float(values.max())
        if scale == "signed":
            high = max(abs(low), abs(high))
            low = -high
        span = (high - low) or 1.0
        values = least + (values - low) * ((most - least) / span)
    if values.dtype.kind == "f":
        values = np.rint(values)
    # NaN compares as neither, so it counts as outside.
    outside = float(np.mean(~((values >= least) & (values <= most)))) if values.size else 0.0
    if values.dtype.kind == "f":
        # The next float below the upper bound: the bound itself may not be a float.
        top = float(most) if float(most) <= most else float(np.nextafter(float(most), 0))
        values = np.nan_to_num(values, nan=0.0).clip(float(least), top)
        return values.astype(kind), outside
    return values.clip(least, most).astype(kind), outside
