"""Which pairs of curves could be among the best: bounds propose, nothing here decides.

docs/bounds.md derives the bounds. Both sides are described by few numbers
(services/bounds/sketch.py), and one matrix product compares all descriptions. A pair is left out
only if its plain float64 score is proven to be above a limit, whatever the rounding of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.bounds.rounding import (
    A_LITTLE_MORE,
    DOUBLE_ROUNDOFF,
    gamma,
    lowered,
    radius,
    scaled,
)
from services.bounds.sketch import Basis, Description, RealArray, Sketch, describe, roundoff
from services.grids import IndexArray
from services.scoring.options import FitOptions, Transform, fits_offset, fits_scale
from services.tables import FloatArray

_SPLIT = 2.0**-20
"""λ of (a + b)² ≤ (1 + λ)a² + (1 + 1/λ)b². Any positive number is right; this one keeps both
terms below the rounding of the product."""

_UNDERFLOW = 2.0**-90
"""More than underflow can take from a product, in the unit of a basis."""

_SMALLEST, _LARGEST = 2.0**-30, 2.0**61
"""Sizes between which a description can be used, in the unit of a basis."""

_STEEPEST = 2.0**28
"""Lift over size up to which the rounding of scale·f is bounded (affine)."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The library's side of the product, a curve a column.

    Parameters
    ----------
    parts : tuple of ndarray of shape (r + 3, m)
        One for each block: coordinates, lifted mean, rest, and half the square of all that,
        rounded upwards. For scale and affine, which compare directions, of shape (r + 2, m):
        the first three, divided by the length.
    unknown : ndarray
        Rows of the library without a description that could be used: they must be looked at.
    gaps : ndarray
        Those of them that have a gap.
    widest : float
        The largest rest.
    error : float
        The largest error of a description.
    """

    parts: tuple[RealArray, ...]
    unknown: IndexArray
    gaps: IndexArray
    widest: float = 0.0
    error: float = 0.0

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return sum(part.nbytes for part in self.parts) + self.unknown.nbytes + self.gaps.nbytes

    @property
    def curves(self) -> int:
        """How many there are."""
        return sum(part.shape[1] for part in self.parts)

    @property
    def rows(self) -> int:
        """Length of the sums that the product adds up."""
        return max(len(part) for part in self.parts)

    def multiply(self, training: RealArray, part: slice, out: RealArray) -> None:
        """Product of training curves with some of these.

        Parameters
        ----------
        training : ndarray of shape (k, r + 3)
            Their side of the product; a block of fewer rows needs no more of it.
        part : slice
            Which curves, p of them.
        out : ndarray of shape (k, p)
            Receives the product.
        """
        start = 0
        for matrix in self.parts:
            stop = start + matrix.shape[1]
            low, high = max(part.start, start), min(part.stop, stop)
            if low < high:
                here = out[:, low - part.start : high - part.start]
                own, theirs = training[:, : len(matrix)], matrix[:, low - start : high - start]
                # OpenBLAS computes on lanes that it then drops. On many processors they hold
                # 0 × -inf, for a curve that is unknown, on others what an earlier product left.
                # A NaN of the product itself would be proposed, not left out.
                with np.errstate(invalid="ignore"):
                    np.matmul(own, theirs, out=here)
            start = stop


def together(columns: Sequence[Columns]) -> Columns:
    """Columns of several blocks.

    Parameters
    ----------
    columns : sequence of Columns
        Of the blocks, in order.

    Returns
    -------
    Columns
        The same matrices.
    """
    if len(columns) == 1:
        return columns[0]
    starts = np.cumsum([0, *(one.curves for one in columns)]).tolist()
    return Columns(
        tuple(part for one in columns for part in one.parts),
        np.concatenate([one.unknown + start for one, start in zip(columns, starts, strict=False)]),
        np.concatenate([one.gaps + start for one, start in zip(columns, starts, strict=False)]),
        max(one.widest for one in columns),
        max(one.error for one in columns),
    )


def columns(
    curves: FloatArray, basis: Basis, transform: Transform, dtype: type[Any] = np.float32
) -> Columns:
    """Describe curves for the product.

    Parameters
    ----------
    curves : ndarray of shape (m, n)
        Library curves. [unit of y]
    basis : Basis
        Shared with the training curves.
    transform : str
        How the curves will be compared.
    dtype : type
        Precision of the product, float32 or float64.

    Returns
    -------
    Columns
        Theirs.
    """
    matrix = np.empty((basis.rank + _more(transform), len(curves)), dtype)
    described = describe(curves, basis, matrix[: basis.rank].T)
    return _columns(matrix, described, basis, transform)


def sketch_columns(sketch: Sketch, basis: Basis, transform: Transform) -> Columns:
    """Columns of curves that were described before.

    Parameters
    ----------
    sketch : Sketch
        Of library curves.
    basis : Basis
        It was made with.
    transform : str
        How the curves will be compared.

    Returns
    -------
    Columns
        Theirs.
    """
    matrix = np.empty((basis.rank + _more(transform), len(sketch.mean)), np.float32)
    matrix[: basis.rank] = sketch.coordinates.T
    described = (
        np.asarray(sketch.rest, np.float64),
        sketch.mean,
        np.asarray(sketch.size, np.float64),
        np.asarray(sketch.error, np.float64),
    )
    return _columns(matrix, described, basis, transform)


def _more(transform: Transform) -> int:
    """Rows of the product beside the coordinates."""
    return 2 if fits_scale(transform) else 3


def _columns(
    matrix: RealArray, described: Description, basis: Basis, transform: Transform
) -> Columns:
    """Fill the last rows (docs/bounds.md, 3 and 4)."""
    rest, mean = described[:2]
    unit, r = roundoff(matrix.dtype), basis.rank
    with np.errstate(all="ignore"):
        lift, size, error = _lifted(described, basis, transform, unit)
        if fits_scale(transform):
            known = (size > _SMALLEST) & (size < _LARGEST) & (error < _share(basis, unit) * size)
            if fits_offset(transform):
                known &= basis.n**0.5 * np.abs(mean) < _STEEPEST * size
            matrix[r], matrix[r + 1] = lift, rest * (1 + 8 * unit)
            # Rounded upwards, so that no direction is longer than what stands for it.
            matrix *= np.where(known, (1 + 8 * unit) / size, 0).astype(matrix.dtype)
            missing = 0.0
        else:
            known = (size < _LARGEST) & (error < _LARGEST)
            matrix[r], matrix[r + 1] = lift, rest
            matrix[r + 2] = _half_square(size, error, gamma(len(matrix), matrix.dtype), unit)
            missing = -np.inf
    unknown = np.flatnonzero(~known)
    if unknown.size:
        matrix[:, unknown] = 0
        matrix[-1, unknown] = missing
    gaps = unknown[np.isnan(mean[unknown])]
    widest = float(np.max(matrix[r + 1], initial=0))
    return Columns((matrix,), unknown, gaps, widest, float(np.max(error[known], initial=0)))


def _lifted(
    described: Description, basis: Basis, transform: Transform, unit: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coordinate along the constants, least length, and error of descriptions with it."""
    _, mean, size, error = described
    size = np.maximum(size - 4 * error, 0)
    if fits_offset(transform):
        return np.zeros_like(size), size, error
    lift = basis.n**0.5 * (mean - (basis.centre if transform == "none" else 0.0))
    length = np.sqrt(size * size + (lift * (1 - 8 * unit)) ** 2) / A_LITTLE_MORE
    return lift, length, error + 8 * unit * np.abs(lift)


def _half_square(size: FloatArray, error: FloatArray, gamma: float, unit: float) -> FloatArray:
    """Minus half the square, less what rounding and the error can do; rounded upwards."""
    half = (
        0.5 * (1 - gamma) * size * size / A_LITTLE_MORE
        - 0.5 * (1 + 1 / _SPLIT) * error * error * A_LITTLE_MORE
    )
    column = -half / np.where(half >= 0, 1 + gamma, 1 - gamma)
    return np.asarray(column + 4 * unit * np.abs(column) + _UNDERFLOW)


def _share(basis: Basis, unit: float) -> float:
    """Error over size up to which a direction is compared."""
    return 32 * unit + 4 * basis.slack


@dataclass(frozen=True, slots=True)
class Screen:
    """The training curves' side of the product.

    Parameters
    ----------
    basis : Basis
        Shared with the library.
    options : FitOptions
        How curves are compared.
    matrix : ndarray of shape (k, r + 3) or (k, r + 2)
        Coordinates, lifted mean, rest, and 1 but for scale and affine.
    size : ndarray of shape (k,)
        Least length of the description; NaN where it cannot be used.
    error : ndarray of shape (k,)
        Its error.
    reach : ndarray of shape (k,)
        What the rounding of a transform can take from a distance.
    """

    basis: Basis
    options: FitOptions
    matrix: RealArray
    size: FloatArray
    error: FloatArray
    reach: FloatArray

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
        library.multiply(self.matrix, part, out)
        if fits_scale(self.options.transform):
            # Whichever sign makes it likelier: a scale may be negative.
            twice = 2 * library.widest * (1 + 8 * roundoff(out.dtype)) * self.matrix[:, -1:]
            np.maximum(out, twice - out, out=out)

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
            The least number where nothing is proven. (docs/bounds.md, 3 and 4)
        """
        unit = roundoff(self.matrix.dtype)
        rounding = gamma(library.rows, self.matrix.dtype)
        with np.errstate(all="ignore"):
            within = scaled(radius(limits, self.basis.n, self.options), self.basis)
            within = (within + self.reach) * A_LITTLE_MORE
            if fits_scale(self.options.transform):
                share = _share(self.basis, unit)
                floor = np.sqrt((self.size - within) * (self.size + within)) - self.error
                lost = 1.02 * (share + rounding + 8 * unit + 2.0**-45)
                floor = floor * (1 - share) - lost * (self.size + 8 * self.error)
            else:
                longest = within + self.error
                floor = 0.5 * (1 - rounding) / A_LITTLE_MORE * self.size * self.size
                floor -= 0.5 * (1 + _SPLIT) * A_LITTLE_MORE * longest * longest + _UNDERFLOW
            return lowered(floor, self.matrix.dtype)


def screen(
    y: FloatArray, basis: Basis, options: FitOptions, dtype: type[Any] = np.float32
) -> Screen:
    """Describe training curves for the product.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        Training curves, complete. [unit of y]
    basis : Basis
        Shared with the library.
    options : FitOptions
        How curves are compared.
    dtype : type
        Precision of the product, float32 or float64.

    Returns
    -------
    Screen
        Theirs.
    """
    r, directions = basis.rank, fits_scale(options.transform)
    matrix = np.ones((len(y), r + _more(options.transform)), dtype)
    unit = roundoff(matrix.dtype)
    described = describe(y, basis, matrix[:, :r])
    rest, mean, shape, _ = described
    with np.errstate(all="ignore"):
        lift, size, error = _lifted(described, basis, options.transform, unit)
        lost = ~((error < _LARGEST) & (size < _LARGEST))
        whole = 1.01 * (shape + basis.n**0.5 * np.abs(mean)) + 2.0**-90
        reach = _reach(options.transform, shape, whole, basis)
    if directions:
        lost |= size < _SMALLEST
        # Rounded upwards, because it multiplies another length that is rounded.
        rest = rest * (1 + 8 * unit)
    matrix[:, r], matrix[:, r + 1] = np.where(lost, 0, lift), rest
    size[lost] = np.nan
    return Screen(basis, options, matrix, size, error, reach)


def _reach(transform: Transform, shape: FloatArray, whole: FloatArray, basis: Basis) -> FloatArray:
    """How much nearer than its family the rounded member may seem (docs/bounds.md, 4)."""
    if transform == "none":
        return np.zeros_like(whole)
    reach = 2 * DOUBLE_ROUNDOFF * whole + basis.n**0.5 * np.ldexp(1e-323, -basis.exponent)
    if fits_scale(transform) and fits_offset(transform):
        reach += 2.0**-22 * (shape + (basis.n + 8) * DOUBLE_ROUNDOFF * whole)
    return np.asarray(reach)
