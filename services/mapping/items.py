"""The rows that a mapping keeps of its points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAPPED, DEVIATION, NOT_COVERED, MISSING = 0, 1, 2, 3


REASONS = (None, "deviation", "x_not_covered", "missing_value")
"""The reason of a point, by its code."""


ITEM = np.dtype(
    [
        ("point", "<i8"),
        ("column", "<i4"),
        ("function", "<i4"),
        ("reason", "<i4"),
        ("x", "<f8"),
        ("y", "<f8"),
        ("deviation", "<f8"),
    ]
)
"""One assignment, or one unmapped point (function -1, deviation NaN).

point is the row in the test dataset, column the position of the y column, function the
position among the chosen functions.
"""


Items = NDArray[np.void]


Row = tuple[int, int, int, int, float, float, float]
"""An item as Python numbers, as `tolist` of items gives it."""
