"""Likeness of pairs of complete curves: one matrix product of their descriptions.

docs/bounds.md derives the bounds. Both sides are described by few numbers
(services/bounds/sketch.py), and one matrix product compares all descriptions. A pair is left out
only if its plain float64 score is proven to be above a limit, however either is rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from services.bounds.rounding import (
    A_LITTLE_MORE,
    DOUBLE_ROUNDOFF,
    UNDERFLOW_OF_PRODUCT,
    RealArray,
    gamma,
    radius,
    round_down,
    roundoff,
)
from services.bounds.sketch import Basis, Description, Sketch, describe
from services.choices import Transform
from services.grids import IndexArray
from services.scoring.options import FitOptions, fits_offset, fits_scale
from services.tables import FloatArray

_LAMBDA = 2.0**-20
"""λ of (a + b)² ≤ (1 + λ)a² + (1 + 1/λ)b². The bound holds for any positive number; this one
keeps both terms below the rounding of the product."""

_SMALLEST, _LARGEST = 2.0**-30, 2.0**61
"""Sizes between which a description can be used, in the unit of its basis."""

_LARGEST_SLOPE = 2.0**28
"""Offset over size up to which the rounding of scale·f is bounded (affine)."""


@dataclass(frozen=True, slots=True)
class LibrarySide:
    """Library curves as the product takes them, a curve a column.

    Parameters
    ----------
    matrices : tuple of ndarray of shape (r + 3, m)
        One for each block: coordinates, lifted mean, rest, and half the square of all that,
        rounded up. For scale and affine, which compare directions, of shape (r + 2, m):
        the first three, divided by the length.
    unknown : ndarray
        Rows of the library without a usable description: they must be looked at.
    gaps : ndarray
        Those of them that have a gap.
    largest_rest : float
        The largest rest.
    largest_error : float
        The largest error of a description.
    """

    matrices: tuple[RealArray, ...]
    unknown: IndexArray
    gaps: IndexArray
    largest_rest: float = 0.0
    largest_error: float = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(part.nbytes for part in self.matrices) + self.unknown.nbytes + self.gaps.nbytes

    @property
    def n_curves(self) -> int:
        """Number of library curves."""
        return sum(part.shape[1] for part in self.matrices)

    @property
    def n_terms(self) -> int:
        """Length of the sums that the product adds up."""
        return max(len(part) for part in self.matrices)

    def without_curves(self) -> LibrarySide:
        """Return the side without its curves, which is enough for `TrainingSide.find_floor`."""
        return replace(self, matrices=tuple(part[:, :0] for part in self.matrices))

    def multiply(self, training: RealArray, part: slice, out: RealArray) -> None:
        """Multiply training curves by some of these curves.

        Parameters
        ----------
        training : ndarray of shape (k, r + 3)
            Matrix of a training side; a block with fewer rows uses only that many columns.
        part : slice
            Library curves, p of them.
        out : ndarray of shape (k, p)
            Receives the product.
        """
        for theirs, here in self._select(part):
            # OpenBLAS computes on lanes that it then drops. On many processors they hold
            # 0 × -inf, for a curve that is unknown, on others what an earlier product left.
            # A NaN of the product itself would be proposed, not left out.
            with np.errstate(invalid="ignore"):
                np.matmul(training[:, : len(theirs)], theirs, out=out[:, here])

    def add_rests(self, rest: RealArray, part: slice, out: RealArray) -> None:
        """Add the products of rests, which `multiply` has left out.

        Parameters
        ----------
        rest : ndarray of shape (k,)
            Rests of training curves.
        part : slice
            Library curves, p of them; the rest is the last row of their matrix.
        out : ndarray of shape (k, p)
            Is added to.
        """
        if self.largest_rest:
            for theirs, here in self._select(part):
                out[:, here] += rest[:, np.newaxis] * theirs[-1]

    def _select(self, part: slice) -> Iterator[tuple[RealArray, slice]]:
        """Yield the matrices of some curves, and where in that part they are."""
        start = 0
        for matrix in self.matrices:
            stop = start + matrix.shape[1]
            low, high = max(part.start, start), min(part.stop, stop)
            if low < high:
                here = slice(low - part.start, high - part.start)
                yield matrix[:, low - start : high - start], here
            start = stop


def join_sides(sides: Sequence[LibrarySide]) -> LibrarySide:
    """Join the sides of several blocks, in order, without copying their matrices."""
    if len(sides) == 1:
        return sides[0]
    starts = np.cumsum([0, *(one.n_curves for one in sides)]).tolist()
    return LibrarySide(
        tuple(part for one in sides for part in one.matrices),
        np.concatenate([one.unknown + start for one, start in zip(sides, starts, strict=False)]),
        np.concatenate([one.gaps + start for one, start in zip(sides, starts, strict=False)]),
        max(one.largest_rest for one in sides),
        max(one.largest_error for one in sides),
    )


def make_library_side(
    curves: FloatArray, basis: Basis, transform: Transform, dtype: type[Any] = np.float32
) -> LibrarySide:
    """Describe library curves for the product.

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
    """
    matrix = np.empty((basis.n_coordinates + _count_extra_terms(transform), len(curves)), dtype)
    described = describe(curves, basis, matrix[: basis.n_coordinates].T)
    return _fill_side(matrix, described, basis, transform)


def read_sketch(sketch: Sketch, basis: Basis, transform: Transform) -> LibrarySide:
    """Make the library side of curves that have been described before.

    Parameters
    ----------
    sketch : Sketch
        Descriptions of library curves.
    basis : Basis
        The basis of the sketch.
    transform : str
        How the curves will be compared.
    """
    n_terms = basis.n_coordinates + _count_extra_terms(transform)
    matrix = np.empty((n_terms, len(sketch.mean)), np.float32)
    matrix[: basis.n_coordinates] = sketch.coordinates.T
    described = Description(
        np.asarray(sketch.rest, np.float64),
        sketch.mean,
        np.asarray(sketch.size, np.float64),
        np.asarray(sketch.error, np.float64),
    )
    return _fill_side(matrix, described, basis, transform)


def _count_extra_terms(transform: Transform) -> int:
    """Count the terms of the product beside the coordinates."""
    return 2 if fits_scale(transform) else 3


def _fill_side(
    matrix: RealArray, described: Description, basis: Basis, transform: Transform
) -> LibrarySide:
    """Fill the last rows of a matrix of coordinates (docs/bounds.md, 3 and 4)."""
    rest, mean = described.rest, described.mean
    unit, r = roundoff(matrix.dtype), basis.n_coordinates
    with np.errstate(all="ignore"):
        lift, size, error = _add_lift(described, basis, transform, unit)
        if fits_scale(transform):
            largest_error = _share_of_error(basis, unit) * size
            known = (size > _SMALLEST) & (size < _LARGEST) & (error < largest_error)
            if fits_offset(transform):
                known &= basis.n**0.5 * np.abs(mean) < _LARGEST_SLOPE * size
            matrix[r], matrix[r + 1] = lift, rest * (1 + 8 * unit)
            # Rounded up, so that no direction is longer than its description.
            matrix *= np.where(known, (1 + 8 * unit) / size, 0).astype(matrix.dtype)
            missing = 0.0
        else:
            known = (size < _LARGEST) & (error < _LARGEST)
            matrix[r], matrix[r + 1] = lift, rest
            matrix[r + 2] = _halve_square(size, error, gamma(len(matrix), matrix.dtype), unit)
            missing = -np.inf
    unknown = np.flatnonzero(~known)
    if unknown.size:
        matrix[:, unknown] = 0
        matrix[-1, unknown] = missing
    gaps = unknown[np.isnan(mean[unknown])]
    largest_rest = float(np.max(matrix[r + 1], initial=0))
    return LibrarySide(
        (matrix,), unknown, gaps, largest_rest, float(np.max(error[known], initial=0))
    )


def _add_lift(
    described: Description, basis: Basis, transform: Transform, unit: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute the coordinate along the constants, and the least length and error with it."""
    size = np.maximum(described.size - 4 * described.error, 0)
    if fits_offset(transform):
        return np.zeros_like(size), size, described.error
    lift = basis.n**0.5 * (described.mean - (basis.centre if transform == "none" else 0.0))
    length = np.sqrt(size * size + (lift * (1 - 8 * unit)) ** 2) / A_LITTLE_MORE
    return lift, length, described.error + 8 * unit * np.abs(lift)


def _halve_square(size: FloatArray, error: FloatArray, gamma: float, unit: float) -> FloatArray:
    """Compute minus half the square, less than rounding and the error can make it; rounded up."""
    half = (
        0.5 * (1 - gamma) * size * size / A_LITTLE_MORE
        - 0.5 * (1 + 1 / _LAMBDA) * error * error * A_LITTLE_MORE
    )
    column = -half / np.where(half >= 0, 1 + gamma, 1 - gamma)
    return np.asarray(column + 4 * unit * np.abs(column) + UNDERFLOW_OF_PRODUCT)


def _share_of_error(basis: Basis, unit: float) -> float:
    """Compute the error over size up to which a direction is compared."""
    return 32 * unit + 4 * basis.slack


@dataclass(frozen=True, slots=True)
class CompleteSide:
    """Training curves at all x of the grid as the product takes them, a curve a row.

    Parameters
    ----------
    basis : Basis
        Shared with the library.
    options : FitOptions
    matrix : ndarray of shape (k, r + 3) or (k, r + 2)
        Coordinates, lifted mean, rest, and 1; without the 1 for scale and affine.
    size : ndarray of shape (k,)
        Least length of the description; NaN where it cannot be used.
    error : ndarray of shape (k,)
        Its error.
    reach : ndarray of shape (k,)
        Largest amount that the rounding of a transform takes from a distance.
    rest : ndarray of shape (k,)
        Length of the part that the coordinates leave out. For scale and affine the matrix has 0
        in its place, because the sign of the scale is not that of the rest.
    """

    basis: Basis
    options: FitOptions
    matrix: RealArray
    size: FloatArray
    error: FloatArray
    reach: FloatArray
    rest: RealArray

    def select(self, rows: IndexArray) -> CompleteSide:
        """Select some of the curves."""
        return replace(
            self,
            matrix=self.matrix[rows],
            size=self.size[rows],
            error=self.error[rows],
            reach=self.reach[rows],
            rest=self.rest[rows],
        )

    def compare(self, library: LibrarySide, part: slice, out: RealArray) -> None:
        """Compute the likeness of every pair; see `TrainingSide`."""
        library.multiply(self.matrix, part, out)
        if fits_scale(self.options.transform):
            if self.options.sign == "any":
                # A scale may be negative, so take the sign that makes the pair likelier.
                np.abs(out, out=out)
            library.add_rests(self.rest, part, out)

    def find_floor(self, limits: FloatArray, library: LibrarySide) -> RealArray:
        """Find the least likeness within limits; see `TrainingSide` (docs/bounds.md, 3 and 4)."""
        unit = roundoff(self.matrix.dtype)
        rounding = gamma(library.n_terms, self.matrix.dtype)
        with np.errstate(all="ignore"):
            within = self.basis.scale(radius(limits, self.basis.n, self.options))
            within = (within + self.reach) * A_LITTLE_MORE
            if fits_scale(self.options.transform):
                share = _share_of_error(self.basis, unit)
                floor = np.sqrt((self.size - within) * (self.size + within)) - self.error
                lost = 1.02 * (share + rounding + 8 * unit + 2.0**-45)
                floor = floor * (1 - share) - lost * (self.size + 8 * self.error)
            else:
                longest = within + self.error
                floor = 0.5 * (1 - rounding) / A_LITTLE_MORE * self.size * self.size
                floor -= (
                    0.5 * (1 + _LAMBDA) * A_LITTLE_MORE * longest * longest + UNDERFLOW_OF_PRODUCT
                )
            return round_down(floor, self.matrix.dtype)


def make_complete_side(
    y: FloatArray, basis: Basis, options: FitOptions, dtype: type[Any] = np.float32
) -> CompleteSide:
    """Describe complete training curves for the product.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        On the library's grid. [unit of y]
    basis : Basis
        Shared with the library.
    options : FitOptions
    dtype : type
        Precision of the product, float32 or float64.
    """
    r = basis.n_coordinates
    matrix = np.ones((len(y), r + _count_extra_terms(options.transform)), dtype)
    unit = roundoff(matrix.dtype)
    described = describe(y, basis, matrix[:, :r])
    rest = described.rest
    with np.errstate(all="ignore"):
        lift, size, error = _add_lift(described, basis, options.transform, unit)
        lost = ~((error < _LARGEST) & (size < _LARGEST))
        reach = _bound_reach(options.transform, described, basis)
    if fits_scale(options.transform):
        lost |= size < _SMALLEST
        # Rounded up, because it multiplies another length that is rounded.
        rest = rest * (1 + 8 * unit)
    matrix[:, r] = np.where(lost, 0, lift)
    matrix[:, r + 1] = 0 if fits_scale(options.transform) else rest
    size[lost] = np.nan
    return CompleteSide(basis, options, matrix, size, error, reach, rest.astype(dtype))


def _bound_reach(transform: Transform, described: Description, basis: Basis) -> FloatArray:
    """Bound how much nearer than its family a rounded member may seem (docs/bounds.md, 4)."""
    shape = described.size
    length = 1.01 * (shape + basis.n**0.5 * np.abs(described.mean)) + 2.0**-90
    if transform == "none":
        return np.zeros_like(length)
    reach = 2 * DOUBLE_ROUNDOFF * length + basis.n**0.5 * np.ldexp(1e-323, -basis.exponent)
    if fits_scale(transform) and fits_offset(transform):
        reach += 2.0**-22 * (shape + (basis.n + 8) * DOUBLE_ROUNDOFF * length)
    return np.asarray(reach)
