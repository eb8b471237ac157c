"""Bounds of rounding errors that the bounds of scores allow for (docs/bounds.md)."""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np

from services.bounds.sketch import Basis, RealArray, roundoff
from services.scoring.options import FitOptions
from services.tables import FloatArray

DOUBLE_ROUNDOFF = 2.0**-53


A_LITTLE_MORE = 1 + 2.0**-40
"""Covers the rounding of a few float64 operations on a bound."""


def gamma(rows: int, dtype: np.dtype[Any]) -> float:
    """Relative rounding of a sum of so many products, in any order, fused or not.

    Parameters
    ----------
    rows : int
        r.
    dtype : dtype
        Of the products.

    Returns
    -------
    float
        More than r·v / (1 - r·v), v the unit roundoff.
    """
    return float(2 * (rows + 2) * roundoff(dtype))


def scaled(lengths: FloatArray, basis: Basis) -> FloatArray:
    """Lengths in the unit of a basis.

    Parameters
    ----------
    lengths : ndarray
        [unit of y]
    basis : Basis
        Whose unit is mostly 1.

    Returns
    -------
    ndarray
        [2**exponent]
    """
    return np.ldexp(lengths, -basis.exponent) if basis.exponent else lengths


def lowered(floor: FloatArray, dtype: np.dtype[Any]) -> RealArray:
    """A floor in the precision of the product, rounded downwards.

    Parameters
    ----------
    floor : ndarray of shape (k,)
        In float64, NaN where nothing is proven.
    dtype : dtype
        Of the product.

    Returns
    -------
    ndarray of shape (k,)
        The least number where nothing is proven.
    """
    least = float(np.finfo(dtype).min)
    floor = floor - 8 * roundoff(dtype) * np.abs(floor)
    # Unknown curves are below the least number: they are not proposed.
    return np.asarray(np.where(np.abs(floor) < -least, floor, least).astype(dtype))


def radius(limits: FloatArray, n: int | FloatArray, options: FitOptions) -> FloatArray:
    """Length that no residual with a score within the limit exceeds (docs/bounds.md, 1).

    Parameters
    ----------
    limits : ndarray of shape (k,)
        Scores as computed.
    n : int or ndarray of shape (k,)
        Pairs, or more.
    options : FitOptions
        Criterion, and whether scores are means.

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
