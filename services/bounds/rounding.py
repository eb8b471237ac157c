"""Rounding errors that the bounds allow for, and the numbers they share (docs/bounds.md).

Numbers outside a range are left to the plain scores, so that no bound has to deal with overflow.
Underflow takes at most a tiny amount from a result, which the bounds add or subtract.
"""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from services.scoring.options import FitOptions
from services.tables import FloatArray

SingleArray = NDArray[np.float32]
RealArray = NDArray[Any]
"""Array of float32 or float64."""

SINGLE_ROUNDOFF = 2.0**-24
"""Unit roundoff of float32."""

DOUBLE_ROUNDOFF = 2.0**-53
"""Unit roundoff of float64."""

A_LITTLE_MORE = 1 + 2.0**-40
"""Factor that covers the rounding of a few float64 operations on a bound."""

LARGEST_IN_SINGLE = 2.0**60
"""Largest numbers put into float32; their squares, and sums of those, stay within it."""

LARGEST_WITH_GAPS = 2.0**40
"""Largest numbers of curves with gaps; sums of their squares with weights stay within float32."""

LARGEST_SQUARE = 2.0**500
"""Largest squares compared in float64."""

LARGEST_SUM = 2.0**1000
"""Largest sums in float64."""

UNDERFLOW_OF_SINGLE = 2.0**-120
"""More than underflow can take from one float32."""

UNDERFLOW_OF_COORDINATE = 2.0**-100
"""More than underflow can take from one number of a description, in the unit of its basis."""

UNDERFLOW_OF_PRODUCT = 2.0**-90
"""More than underflow can take from a float32 product, in the unit of its basis."""

UNDERFLOW_OF_MASK = 2.0**-80
"""More than underflow can take from the floor of a mask, in the unit of its basis."""

UNDERFLOW_OF_DOUBLE = 2.0**-900
"""More than underflow can take from a float64 product."""


def roundoff(dtype: np.dtype[Any]) -> float:
    """Look up the unit roundoff of float32 or float64."""
    return float(np.finfo(dtype).eps) / 2


def gamma(terms: int, dtype: np.dtype[Any]) -> float:
    """Bound the relative rounding of a sum of products, in any order, fused or not.

    Parameters
    ----------
    terms : int
        Products that are added, r.
    dtype : dtype
        Precision of the products.

    Returns
    -------
    float
        More than r·v / (1 - r·v), v the unit roundoff.
    """
    return float(2 * (terms + 2) * roundoff(dtype))


def round_down(floor: FloatArray, dtype: np.dtype[Any]) -> RealArray:
    """Round a floor down to the precision of the product.

    Parameters
    ----------
    floor : ndarray of shape (k,)
        In float64, NaN where nothing is proven.
    dtype : dtype
        Precision of the product.

    Returns
    -------
    ndarray of shape (k,)
        The least finite number where nothing is proven.
    """
    least = float(np.finfo(dtype).min)
    floor = floor - 8 * roundoff(dtype) * np.abs(floor)
    # Unknown curves are below the least number: they are not proposed.
    return np.asarray(np.where(np.abs(floor) < -least, floor, least).astype(dtype))


def radius(limits: FloatArray, n: int | FloatArray, options: FitOptions) -> FloatArray:
    """Bound the length of a residual whose score is within a limit (docs/bounds.md, 1).

    Parameters
    ----------
    limits : ndarray of shape (k,)
        Scores as computed.
    n : int or ndarray of shape (k,)
        Pairs, or more.
    options : FitOptions

    Returns
    -------
    ndarray of shape (k,)
        [unit of y]
    """
    more = 1 + (2 * n + 20) * DOUBLE_ROUNDOFF
    lost = n * n * 5e-324
    with np.errstate(over="ignore"):
        match options.criterion:
            case "sse":
                total = (limits * n if options.min_overlap < 1 else limits) * more + lost
                return np.asarray(np.sqrt(total) * A_LITTLE_MORE)
            case "mae":
                return np.asarray(limits * n * more + lost)
            case "max":
                return np.asarray(limits * n**0.5 * more + lost)
            case _:
                assert_never(options.criterion)
