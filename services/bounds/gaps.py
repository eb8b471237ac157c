"""Candidates among curves with gaps, on either side (docs/bounds.md, 5).

Every pair of curves has numbers at x of its own, so no description of whole curves will do.
But the sum of squares over the common x is one product of longer rows, in which a gap is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.bounds.product import Columns
from services.bounds.rounding import lowered, radius, scaled
from services.bounds.sketch import Basis, SingleArray, roundoff
from services.grids import BoolArray
from services.scoring.options import FitOptions
from services.tables import FloatArray

_LARGEST = 2.0**40
"""Numbers above it, in the unit of the basis, are not compared: sums must fit float32."""

_UNDERFLOW = 2.0**-90
"""More than underflow can take from a product, in the unit of the basis."""

_NEVER, _ELIGIBLE = -(2.0**110), -(2.0**105)
"""Weight of a gap that makes a curve ineligible, and what eligible pairs are above."""

_UNIT = roundoff(np.dtype(np.float32))


@dataclass(frozen=True, slots=True)
class GapScreen:
    """Training curves with gaps, for the product with `gap_columns`.

    Parameters
    ----------
    basis : Basis
        Unit and centre, shared with the library.
    options : FitOptions
        How curves are compared; no transform.
    matrix : ndarray of shape (k, 3n)
        Values, weights of the library's squares, weights of its numbers or of its gaps.
    pairs : ndarray of shape (k,)
        Numbers of each curve.
    least : ndarray of shape (k,)
        What the product has at least for a distance of 0.
    """

    basis: Basis
    options: FitOptions
    matrix: SingleArray
    pairs: FloatArray
    least: FloatArray

    def product(self, library: Columns, part: slice, out: SingleArray) -> None:
        """Likeness of every pair.

        Parameters
        ----------
        library : Columns
            Library curves, from `gap_columns`.
        part : slice
            Some of them, m curves.
        out : ndarray of shape (k, m)
            Receives the likeness, minus infinity for curves that are not eligible.
        """
        library.multiply(self.matrix, part, out)
        if self.options.min_overlap == 1:
            out[out < _ELIGIBLE] = -np.inf

    def floor(self, limits: FloatArray, library: Columns) -> SingleArray:
        """Least likeness of a pair whose score can be within a limit.

        Parameters
        ----------
        limits : ndarray of shape (k,)
            Scores that must not be exceeded.
        library : Columns
            The curves that will be compared; they do not matter here.

        Returns
        -------
        ndarray of shape (k,)
            The least number where nothing is proven.
        """
        del library
        with np.errstate(all="ignore"):
            within = scaled(radius(limits, self.pairs, self.options), self.basis)
            floor = self.least - 0.5 * within * within * (1 + 2.0**-40) - _UNDERFLOW
            return lowered(floor, self.matrix.dtype)


def gap_screen(y: FloatArray, basis: Basis, options: FitOptions) -> GapScreen:
    """Make training curves with gaps ready for the product.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        On the library's grid; NaN is a gap. [unit of y]
    basis : Basis
        Unit and centre.
    options : FitOptions
        How curves are compared; no transform.

    Returns
    -------
    GapScreen
        Theirs.
    """
    k, n = y.shape
    values, there = _centred(y, basis)
    lost = ~(np.max(np.abs(values), axis=1) < _LARGEST)
    values[lost] = 0
    squares = values * values
    gamma = _gamma(n)
    matrix = np.empty((k, 3 * n), np.float32)
    matrix[:, :n] = values
    matrix[:, n : 2 * n] = -0.5 * (1 - 2 * gamma) * there
    if options.min_overlap < 1:
        matrix[:, 2 * n :] = -0.5 * (1 - 2 * gamma) * squares
        least = np.zeros(k)
    else:
        matrix[:, 2 * n :] = _NEVER * there
        least = 0.5 * (1 - gamma) * np.sum(squares, axis=1) * (1 - 2.0**-30)
    least[lost] = np.nan
    return GapScreen(basis, options, matrix, np.sum(there, axis=1) * 1.0, least)


def gap_columns(curves: FloatArray, basis: Basis, options: FitOptions) -> Columns:
    """Make library curves ready for the product.

    Parameters
    ----------
    curves : ndarray of shape (m, n)
        NaN is a gap. [unit of y]
    basis : Basis
        Unit and centre.
    options : FitOptions
        Whether curves with gaps are eligible.

    Returns
    -------
    Columns
        With 2n rows if gaps need not be regarded, else 3n.
    """
    m, n = curves.shape
    with np.errstate(all="ignore"):
        values, there = _centred(curves, basis)
        unknown = np.flatnonzero(~(np.max(np.abs(values), axis=1) < _LARGEST))
        values[unknown] = 0
        regarded = options.min_overlap < 1 or not there.all()
        matrix = np.empty(((3 if regarded else 2) * n, m), np.float32)
        matrix[:n] = values.T
        matrix[n : 2 * n] = np.multiply(values, values, out=values).T
    if regarded:
        matrix[2 * n :] = (there if options.min_overlap < 1 else ~there).T
    return Columns((matrix,), unknown, unknown[:0])


def _centred(curves: FloatArray, basis: Basis) -> tuple[FloatArray, BoolArray]:
    """Values in the unit of the basis, 0 in gaps; and where there are numbers."""
    with np.errstate(all="ignore"):
        values = (np.ldexp(curves, -basis.exponent) if basis.exponent else curves) - basis.centre
    gaps = np.isnan(curves)
    values[gaps] = 0
    return values, ~gaps


def _gamma(n: int) -> float:
    """Relative rounding of the product, and of what goes into it."""
    return (2 * (3 * n + 2) + 8) * _UNIT
