"""Candidates for training curves at some x of the grid, from descriptions of whole curves.

docs/bounds.md, 6. A description says where a library curve is at every x, also at the few that
a training curve has; what the description leaves out is nowhere longer than on the whole grid.
Where training curves have gaps of their own this spares a product of all points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.bounds.product import Columns
from services.bounds.rounding import gamma, lowered, radius, scaled
from services.bounds.sketch import Basis, RealArray, SingleArray
from services.scoring.options import FitOptions
from services.tables import FloatArray

_DOUBLE = 2.0**-53

_SPLIT = 2.0**-10
"""λ of docs/bounds.md, 6: share of the least stretch given up for what is left of the slope."""

_PARTS = 2.0**-6
"""μ of docs/bounds.md, 6: share of the radius given up for what descriptions leave out."""

_DOUBT = 2.0**-30
"""More than the rounding of an eigenvalue of a matrix of norm 2."""

_LEAST = 2.0**-12
"""Eigenvalues below it prove too little."""

_LARGEST = 2.0**40
"""Curves of larger numbers, in the unit of the basis, are not compared."""

_UNDERFLOW = 2.0**-80
"""More than underflow can take, in the unit of the basis."""


@dataclass(frozen=True, slots=True)
class MaskScreen:
    """Training curves that have some x of the grid, for the product with `columns`.

    Parameters
    ----------
    basis : Basis
        Shared with the library; it has vectors.
    options : FitOptions
        How curves are compared; no transform.
    matrix : ndarray of shape (k, r + 3)
        Coordinates of the nearest described curve; the rest is filled in for each library.
    pairs : ndarray of shape (k,)
        Numbers of each curve.
    size : ndarray of shape (k,)
        Length of the coordinates.
    missed : ndarray of shape (k,)
        Least distance of the curve from its nearest described one.
    slope : ndarray of shape (k,)
        How far from the nearest that one may be.
    stretch : ndarray of shape (k,)
        Square of the least length that a step of length 1 between coordinates has at the x
        of the curve; NaN where nothing is proven.
    """

    basis: Basis
    options: FitOptions
    matrix: SingleArray
    pairs: FloatArray
    size: FloatArray
    missed: FloatArray
    slope: FloatArray
    stretch: FloatArray

    def product(self, library: Columns, part: slice, out: RealArray) -> None:
        """Likeness of every pair; what is below `floor` is too far away.

        Parameters
        ----------
        library : Columns
            Library curves.
        part : slice
            Some of them, m curves.
        out : ndarray of shape (k, m)
            Receives the likeness.
        """
        matrix = self.matrix.copy()
        with np.errstate(all="ignore"):
            share = 0.5 + 0.5 * (1 + 1 / _PARTS) / self.stretch
            outside = 1.01 * _widest(library) * share
        matrix[:, -2] = np.where(outside < _LARGEST, outside, 0)
        library.multiply(matrix, part, out)

    def floor(self, limits: FloatArray, library: Columns) -> RealArray:
        """Least likeness of a pair whose score can be within a limit.

        Parameters
        ----------
        limits : ndarray of shape (k,)
            Scores that must not be exceeded.
        library : Columns
            The curves that will be compared.

        Returns
        -------
        ndarray of shape (k,)
            The least number where nothing is proven. (docs/bounds.md, 6)
        """
        with np.errstate(all="ignore"):
            within = scaled(radius(limits, self.pairs, self.options), self.basis)
            share = 0.5 + 0.5 * (1 + 1 / _PARTS) / self.stretch
            known = 1.01 * _widest(library) * share < _LARGEST
            far = (1 + _PARTS) * within * within - self.missed * self.missed
            far += self.slope * self.slope / (_SPLIT * self.stretch)
            far += 2 * (1 + 1 / _PARTS) * _widest(library) * library.error
            # The rounding of the sums above, none of which is larger than these.
            far += 2.0**-40 * (within * within + self.missed * self.missed) + _UNDERFLOW
            floor = (
                0.5
                * (1 - gamma(library.rows, self.matrix.dtype))
                * self.size
                * self.size
                * (1 - 2.0**-40)
            )
            floor -= 0.5 * far / self.stretch * (1 + np.copysign(2.0**-40, far))
            return lowered(np.where(known, floor, np.nan), self.matrix.dtype)


def _widest(library: Columns) -> float:
    """Longest difference of a curve and what describes it."""
    return 1.01 * library.widest + 2 * library.error


def mask_screen(y: FloatArray, basis: Basis, options: FitOptions) -> MaskScreen | None:
    """Make training curves with gaps ready for the product.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        On the library's grid; NaN is a gap. [unit of y]
    basis : Basis
        Shared with the library.
    options : FitOptions
        How curves are compared; no transform.

    Returns
    -------
    MaskScreen or None
        None where the basis has no vectors, or the numbers are too large.
    """
    if basis.vectors is None:
        return None
    k, n = y.shape
    there = ~np.isnan(y)
    axes = np.column_stack([basis.vectors, np.full(n, n**-0.5)])
    with np.errstate(all="ignore"):
        values = np.where(there, scaled(y, basis) - basis.centre, 0.0)
        if not np.max(np.abs(values)) < _LARGEST:
            return None
        squares = _squares(axes, there)
        # A little more of everything: what is not determined has an answer, too.
        nearest = np.linalg.solve(
            squares + 2.0**-20 * np.eye(axes.shape[1]), (values @ axes)[..., np.newaxis]
        )[..., 0]
    matrix = np.zeros((k, axes.shape[1] + 2), np.float32)
    matrix[:, :-2], matrix[:, -1] = nearest, 1
    # What has been stored is what will be compared.
    nearest = matrix[:, :-2].astype(np.float64)
    left = np.where(there, values - nearest @ axes.T, 0.0)
    return MaskScreen(
        basis,
        options,
        matrix,
        np.sum(there, axis=1) * 1.0,
        *_figures(values, nearest, left, axes, _stretch(squares, n)),
    )


def _figures(
    values: FloatArray,
    nearest: FloatArray,
    left: FloatArray,
    axes: FloatArray,
    stretch: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Size, missed, slope and stretch, with the rounding of all that (docs/bounds.md, 6)."""
    n, s = axes.shape
    size, missed = np.linalg.norm(nearest, axis=1), np.linalg.norm(left, axis=1)
    slope = np.linalg.norm(left @ axes, axis=1)
    error = (s + 8) * _DOUBLE * (np.linalg.norm(values, axis=1) + 1.01 * s**0.5 * size)
    error = 1.01 * error + n**0.5 * 2.0**-100
    slope = slope + 1.5 * error + 1.01 * s**0.5 * (n + 8) * _DOUBLE * missed
    least = np.maximum(missed * (1 - (n + 8) * _DOUBLE) - error, 0)
    return size, least, slope * 1.01, (1 - 2 * _SPLIT) * stretch


def _squares(axes: FloatArray, there: FloatArray) -> FloatArray:
    """Products of the axes with each other at the x of each curve, shape (k, s, s)."""
    s = axes.shape[1]
    found = np.zeros((len(there), s * s))
    for start in range(0, len(axes), 512):
        part = axes[start : start + 512]
        outer = (part[:, :, np.newaxis] * part[:, np.newaxis, :]).reshape(len(part), s * s)
        found += there[:, start : start + 512] @ outer
    return found.reshape(len(there), s, s)


def _stretch(squares: FloatArray, n: int) -> FloatArray:
    """Less than the least eigenvalue of each, NaN where that is too little to prove anything."""
    doubt = _DOUBT + 2 * n * squares.shape[1] * _DOUBLE
    least = np.linalg.eigvalsh(squares)[:, 0] - doubt
    return np.asarray(np.where(least > _LEAST, least, np.nan))
