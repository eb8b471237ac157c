"""Items of a mapping: its assignments and its unmapped points."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from services.choices import Reason

MAPPED, DEVIATION, NOT_COVERED, MISSING = 0, 1, 2, 3
"""Codes of the reasons of an item."""

REASONS = (None, *get_args(Reason))
"""Reasons by their code; None for an assignment."""

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
"""An assignment, or an unmapped point (function -1, deviation NaN).

point is the row in the test dataset, column the position of the y column, function the
position among the chosen functions.
"""

Items = NDArray[np.void]
"""Array of ITEM."""

Row = tuple[int, int, int, int, float, float, float]
"""An item as a tuple of Python numbers, as `tolist` of items gives it."""
