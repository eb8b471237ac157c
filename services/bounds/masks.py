"""Likeness of pairs of training curves at some x of the grid and described library curves.

docs/bounds.md, 6. A description tells where a library curve is at every x, also at the few x of
a training curve; the rest that it leaves out is nowhere longer than on the whole grid. Where
training curves have different gaps this spares a product of all points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from services.bounds.product import LibrarySide
from services.bounds.rounding import (
    DOUBLE_ROUNDOFF,
    LARGEST_WITH_GAPS,
    UNDERFLOW_OF_COORDINATE,
    UNDERFLOW_OF_MASK,
    RealArray,
    SingleArray,
    gamma,
    radius,
    round_down,
)
from services.bounds.sketch import Basis
from services.grids import IndexArray
from services.scoring.options import FitOptions
from services.tables import FloatArray

_LAMBDA = 2.0**-10
"""λ of docs/bounds.md, 6: share of the least stretch given up for the rest of the slope."""

_MU = 2.0**-6
"""μ of docs/bounds.md, 6: share of the radius given up for the rests of descriptions."""

_EIGENVALUE_ROUNDING = 2.0**-30
"""More than the rounding of an eigenvalue of a matrix of norm 2."""

_LEAST_EIGENVALUE = 2.0**-12
"""Least eigenvalue that proves enough."""


@dataclass(frozen=True, slots=True)
class MaskSide:
    """Training curves at some x of the grid as the product with a `LibrarySide` takes them.

    Parameters
    ----------
    basis : Basis
        Shared with the library; it has vectors.
    options : FitOptions
        Without a transform.
    matrix : ndarray of shape (k, r + 3)
        Coordinates of the nearest described curve; the rest is filled in for each library.
    pairs : ndarray of shape (k,)
        Numbers of each curve.
    size : ndarray of shape (k,)
        Length of the coordinates.
    missed : ndarray of shape (k,)
        Least distance of the curve from its nearest described one.
    slope : ndarray of shape (k,)
        Bound of the slope that the distance still has at the nearest described curve.
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

    def select(self, rows: IndexArray) -> MaskSide:
        """Select some of the curves."""
        return replace(
            self,
            matrix=self.matrix[rows],
            pairs=self.pairs[rows],
            size=self.size[rows],
            missed=self.missed[rows],
            slope=self.slope[rows],
            stretch=self.stretch[rows],
        )

    def compare(self, library: LibrarySide, part: slice, out: RealArray) -> None:
        """Compute the likeness of every pair; see `TrainingSide`."""
        matrix = self.matrix.copy()
        with np.errstate(all="ignore"):
            outside = self._weigh_rest(library)
        matrix[:, -2] = np.where(outside < LARGEST_WITH_GAPS, outside, 0)
        library.multiply(matrix, part, out)

    def find_floor(self, limits: FloatArray, library: LibrarySide) -> RealArray:
        """Find the least likeness within limits; see `TrainingSide` (docs/bounds.md, 6)."""
        with np.errstate(all="ignore"):
            within = self.basis.scale(radius(limits, self.pairs, self.options))
            known = self._weigh_rest(library) < LARGEST_WITH_GAPS
            far = (1 + _MU) * within * within - self.missed * self.missed
            far += self.slope * self.slope / (_LAMBDA * self.stretch)
            far += 2 * (1 + 1 / _MU) * _find_longest_rest(library) * library.largest_error
            # The rounding of the sums above, none of which is larger than these.
            far += 2.0**-40 * (within * within + self.missed * self.missed) + UNDERFLOW_OF_MASK
            floor = (
                0.5
                * (1 - gamma(library.n_terms, self.matrix.dtype))
                * self.size
                * self.size
                * (1 - 2.0**-40)
            )
            floor -= 0.5 * far / self.stretch * (1 + np.copysign(2.0**-40, far))
            return round_down(np.where(known, floor, np.nan), self.matrix.dtype)

    def _weigh_rest(self, library: LibrarySide) -> FloatArray:
        """Compute the weight of the library's rests in the product."""
        share = 0.5 + 0.5 * (1 + 1 / _MU) / self.stretch
        return np.asarray(1.01 * _find_longest_rest(library) * share)


def _find_longest_rest(library: LibrarySide) -> float:
    """Bound the distance of any library curve from its description."""
    return 1.01 * library.largest_rest + 2 * library.largest_error


def make_mask_side(y: FloatArray, basis: Basis, options: FitOptions) -> MaskSide | None:
    """Prepare training curves with gaps for the product.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        On the library's grid; NaN is a gap. [unit of y]
    basis : Basis
        Shared with the library.
    options : FitOptions
        Without a transform.

    Returns
    -------
    MaskSide or None
        None if the basis has no vectors, or the numbers are too large.
    """
    if basis.vectors is None:
        return None
    k, n = y.shape
    has_number = ~np.isnan(y)
    axes = np.column_stack([basis.vectors, np.full(n, n**-0.5)])
    with np.errstate(all="ignore"):
        values = np.where(has_number, basis.scale(y) - basis.centre, 0.0)
        if not np.max(np.abs(values)) < LARGEST_WITH_GAPS:
            return None
        squares = _multiply_axes(axes, has_number)
        # A little is added to each eigenvalue, so that undetermined curves have a solution, too.
        nearest = np.linalg.solve(
            squares + 2.0**-20 * np.eye(axes.shape[1]), (values @ axes)[..., np.newaxis]
        )[..., 0]
    matrix = np.zeros((k, axes.shape[1] + 2), np.float32)
    matrix[:, :-2], matrix[:, -1] = nearest, 1
    # The numbers as stored are the ones that will be compared.
    nearest = matrix[:, :-2].astype(np.float64)
    left = np.where(has_number, values - nearest @ axes.T, 0.0)
    size, missed, slope = _measure(values, nearest, left, axes)
    stretch = (1 - 2 * _LAMBDA) * _find_stretch(squares, n)
    return MaskSide(
        basis, options, matrix, np.sum(has_number, axis=1) * 1.0, size, missed, slope, stretch
    )


def _measure(
    values: FloatArray, nearest: FloatArray, left: FloatArray, axes: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Measure size, missed and slope, each with its rounding (docs/bounds.md, 6)."""
    n, s = axes.shape
    size, missed = np.linalg.norm(nearest, axis=1), np.linalg.norm(left, axis=1)
    slope = np.linalg.norm(left @ axes, axis=1)
    error = (s + 8) * DOUBLE_ROUNDOFF * (np.linalg.norm(values, axis=1) + 1.01 * s**0.5 * size)
    error = 1.01 * error + n**0.5 * UNDERFLOW_OF_COORDINATE
    slope = slope + 1.5 * error + 1.01 * s**0.5 * (n + 8) * DOUBLE_ROUNDOFF * missed
    least = np.maximum(missed * (1 - (n + 8) * DOUBLE_ROUNDOFF) - error, 0)
    return size, least, slope * 1.01


def _multiply_axes(axes: FloatArray, has_number: FloatArray) -> FloatArray:
    """Multiply the axes with each other at the x of each curve, shape (k, s, s)."""
    s = axes.shape[1]
    found = np.zeros((len(has_number), s * s))
    for start in range(0, len(axes), 512):
        part = axes[start : start + 512]
        outer = (part[:, :, np.newaxis] * part[:, np.newaxis, :]).reshape(len(part), s * s)
        found += has_number[:, start : start + 512] @ outer
    return found.reshape(len(has_number), s, s)


def _find_stretch(squares: FloatArray, n: int) -> FloatArray:
    """Bound the least eigenvalue of each from below, NaN where it proves too little."""
    doubt = _EIGENVALUE_ROUNDING + 2 * n * squares.shape[1] * DOUBLE_ROUNDOFF
    least = np.linalg.eigvalsh(squares)[:, 0] - doubt
    return np.asarray(np.where(least > _LEAST_EIGENVALUE, least, np.nan))
