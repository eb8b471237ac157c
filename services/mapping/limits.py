"""Largest deviation that a function admits."""

from __future__ import annotations

import numpy as np

from services.tables import FloatArray


def admission_limits(max_deviation: FloatArray, tolerance_factor: float) -> FloatArray:
    """Compute the largest deviation that each function admits.

    Parameters
    ----------
    max_deviation : ndarray of shape (k,)
        Largest deviation of each chosen function from its training curve. [unit of y]
    tolerance_factor : float
        √2 by default.

    Returns
    -------
    ndarray of shape (k,)
        The float64 product; infinite if float64 cannot hold it. [unit of y]
    """
    with np.errstate(over="ignore"):
        return max_deviation * tolerance_factor
