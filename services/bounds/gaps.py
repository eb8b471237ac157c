"""Likeness of pairs of curves with gaps, on either side (docs/bounds.md, 5).

Every pair of curves has numbers at different x, so descriptions of whole curves do not help. But
the sum of squares over the common x is one product of longer rows, in which a gap is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.bounds.product import LibrarySide
from services.bounds.rounding import (
    LARGEST_WITH_GAPS,
    SINGLE_ROUNDOFF,
    UNDERFLOW_OF_PRODUCT,
    SingleArray,
    radius,
    round_down,
)
from services.bounds.sketch import Basis
from services.grids import BoolArray
from services.scoring.options import FitOptions
from services.tables import FloatArray

_INELIGIBLE_WEIGHT, _ELIGIBLE_LIKENESS = -(2.0**110), -(2.0**105)
"""Weight of a gap that makes a curve ineligible, and a number that eligible pairs are above."""


@dataclass(frozen=True, slots=True)
class GapSide:
    """Training curves with gaps as the product with `make_gap_library_side` takes them.

    Parameters
    ----------
    basis : Basis
        Unit and centre, shared with the library.
    options : FitOptions
        Without a transform.
    matrix : ndarray of shape (k, 3n)
        Values, weights of the library's squares, weights of its numbers or of its gaps.
    pairs : ndarray of shape (k,)
        Numbers of each curve.
    least : ndarray of shape (k,)
        Least product of a pair at distance 0.
    """

    basis: Basis
    options: FitOptions
    matrix: SingleArray
    pairs: FloatArray
    least: FloatArray

    def compare(self, library: LibrarySide, part: slice, out: SingleArray) -> None:
        """Compute the likeness, minus infinity if ineligible; see `TrainingSide`."""
        library.multiply(self.matrix, part, out)
        if self.options.min_overlap == 1:
            out[out < _ELIGIBLE_LIKENESS] = -np.inf

    def find_floor(self, limits: FloatArray, library: LibrarySide) -> SingleArray:
        """Find the least likeness within limits, whatever the library; see `TrainingSide`."""
        del library
        with np.errstate(all="ignore"):
            within = self.basis.scale(radius(limits, self.pairs, self.options))
            floor = self.least - 0.5 * within * within * (1 + 2.0**-40) - UNDERFLOW_OF_PRODUCT
            return round_down(floor, self.matrix.dtype)


def make_gap_side(y: FloatArray, basis: Basis, options: FitOptions) -> GapSide:
    """Prepare training curves with gaps for the product.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        On the library's grid; NaN is a gap. [unit of y]
    basis : Basis
        Unit and centre.
    options : FitOptions
        Without a transform.
    """
    k, n = y.shape
    values, has_number = _centre(y, basis)
    lost = ~(np.max(np.abs(values), axis=1) < LARGEST_WITH_GAPS)
    values[lost] = 0
    squares = values * values
    rounding = _bound_rounding(n)
    matrix = np.empty((k, 3 * n), np.float32)
    matrix[:, :n] = values
    matrix[:, n : 2 * n] = -0.5 * (1 - 2 * rounding) * has_number
    if options.min_overlap < 1:
        matrix[:, 2 * n :] = -0.5 * (1 - 2 * rounding) * squares
        least = np.zeros(k)
    else:
        matrix[:, 2 * n :] = _INELIGIBLE_WEIGHT * has_number
        least = 0.5 * (1 - rounding) * np.sum(squares, axis=1) * (1 - 2.0**-30)
    least[lost] = np.nan
    return GapSide(basis, options, matrix, np.sum(has_number, axis=1) * 1.0, least)


def make_gap_library_side(curves: FloatArray, basis: Basis, options: FitOptions) -> LibrarySide:
    """Prepare library curves with gaps for the product.

    Parameters
    ----------
    curves : ndarray of shape (m, n)
        NaN is a gap. [unit of y]
    basis : Basis
        Unit and centre.
    options : FitOptions
        ``min_overlap`` says whether curves with gaps are eligible.

    Returns
    -------
    LibrarySide
        Its matrix has 2n rows if gaps do not matter, else 3n.
    """
    m, n = curves.shape
    with np.errstate(all="ignore"):
        values, has_number = _centre(curves, basis)
        unknown = np.flatnonzero(~(np.max(np.abs(values), axis=1) < LARGEST_WITH_GAPS))
        values[unknown] = 0
        gaps_matter = options.min_overlap < 1 or not has_number.all()
        matrix = np.empty(((3 if gaps_matter else 2) * n, m), np.float32)
        matrix[:n] = values.T
        matrix[n : 2 * n] = np.multiply(values, values, out=values).T
    if gaps_matter:
        matrix[2 * n :] = (has_number if options.min_overlap < 1 else ~has_number).T
    return LibrarySide((matrix,), unknown, unknown[:0])


def _centre(curves: FloatArray, basis: Basis) -> tuple[FloatArray, BoolArray]:
    """Express values in the unit of the basis, 0 in gaps; tell where there are numbers."""
    with np.errstate(all="ignore"):
        values = basis.scale(curves) - basis.centre
    gaps = np.isnan(curves)
    values[gaps] = 0
    return values, ~gaps


def _bound_rounding(n: int) -> float:
    """Bound the relative rounding of the product and of the numbers that it multiplies."""
    return (2 * (3 * n + 2) + 8) * SINGLE_ROUNDOFF
