"""Which pairs of curves could be among the best: bounds propose, nothing here decides.

docs/bounds.md derives the bounds. Both sides are described by few numbers (services/sketch.py)
and one matrix product compares all descriptions. A pair is left out only if its plain
float64 score is proven to be above a limit, whatever the rounding of either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from services.blocks import sort_key
from services.grids import IndexArray
from services.scores import FitOptions, Transform
from services.sketch import Basis, Description, RealArray, Sketch, describe, roundoff
from services.tables import FloatArray

Pairs = tuple[IndexArray, IndexArray]
"""Rows of training curves and rows of library curves, each of shape (p,)."""

_DOUBLE = 2.0**-53
_MORE = 1 + 2.0**-40
"""Covers the rounding of a few float64 operations on a bound."""

_SPLIT = 2.0**-20
"""λ of (a + b)² ≤ (1 + λ)a² + (1 + 1/λ)b². Any positive number is right; this one keeps both
terms below the rounding of the product."""

_UNDERFLOW = 2.0**-90
"""More than underflow can take from a product, in the unit of a basis."""

_SMALLEST, _LARGEST = 2.0**-30, 2.0**61
"""Sizes between which a description can be used, in the unit of a basis."""

_STEEPEST = 2.0**28
"""Lift over size up to which the rounding of scale·f is bounded (affine)."""

_MANY = 4
"""Pairs for each place from which on it pays to look at the most likely ones first."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The library's side of the product.

    Parameters
    ----------
    matrix : ndarray of shape (m, r + 3)
        Coordinates, rest, lifted mean, and half the square of all that, rounded upwards.
    unknown : ndarray
        Rows without a description that could be used: they must be looked at.
    rest, inverse : ndarray of shape (m,) or None
        For scale and affine, which compare directions: what the coordinates leave out, and
        one over the length.
    """

    matrix: RealArray
    unknown: IndexArray
    rest: RealArray | None = None
    inverse: RealArray | None = None

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.matrix.nbytes + self.unknown.nbytes


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
    matrix = np.empty((len(curves), basis.rank + 3), dtype)
    described = describe(curves, basis, matrix[:, : basis.rank])
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
    matrix = np.empty((len(sketch.mean), basis.rank + 3), np.float32)
    matrix[:, : basis.rank] = sketch.coordinates
    described = tuple(
        np.asarray(part, np.float64)
        for part in (sketch.rest, sketch.mean, sketch.size, sketch.error)
    )
    return _columns(matrix, described, basis, transform)  # type: ignore[arg-type] # four parts


def _columns(
    matrix: RealArray, described: Description, basis: Basis, transform: Transform
) -> Columns:
    """Fill the last columns (docs/bounds.md, 3 and 4)."""
    rest = described[0]
    unit, r = roundoff(matrix.dtype), basis.rank
    outside: RealArray | None = None
    inverse: RealArray | None = None
    with np.errstate(all="ignore"):
        lift, size, error = _lifted(described, basis, transform, unit)
        matrix[:, r], matrix[:, r + 1], matrix[:, r + 2] = rest, lift, 0
        if transform in ("scale", "affine"):
            matrix[:, r] = 0
            known = (size > _SMALLEST) & (size < _LARGEST) & (error < _share(basis, unit) * size)
            if transform == "affine":
                known &= basis.n**0.5 * np.abs(described[1]) < _STEEPEST * size
            inverse = np.where(known, (1 + 8 * unit) / size, 0).astype(matrix.dtype)
            if basis.vectors is not None:
                outside = rest.astype(matrix.dtype)
        else:
            known = (size < _LARGEST) & (error < _LARGEST)
            matrix[:, r + 2] = _half_square(size, error, _gamma(matrix), unit)
    unknown = np.flatnonzero(~known)
    matrix[unknown] = 0
    return Columns(matrix, unknown, outside, inverse)


def _lifted(
    described: Description, basis: Basis, transform: Transform, unit: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coordinate along the constants, least length, and error of descriptions with it."""
    _, mean, size, error = described
    size = np.maximum(size - 4 * error, 0)
    if transform in ("offset", "affine"):
        return np.zeros_like(size), size, error
    lift = basis.n**0.5 * (mean - (basis.centre if transform == "none" else 0.0))
    length = np.sqrt(size * size + (lift * (1 - 8 * unit)) ** 2) / _MORE
    return lift, length, error + 8 * unit * np.abs(lift)


def _half_square(size: FloatArray, error: FloatArray, gamma: float, unit: float) -> FloatArray:
    """Minus half the square, less what rounding and the error can do; rounded upwards."""
    half = 0.5 * (1 - gamma) * size * size / _MORE - 0.5 * (1 + 1 / _SPLIT) * error * error * _MORE
    column = -half / np.where(half >= 0, 1 + gamma, 1 - gamma)
    return np.asarray(column + 4 * unit * np.abs(column) + _UNDERFLOW)


def _gamma(matrix: RealArray) -> float:
    """Relative rounding of a product of that many columns, in any order, fused or not."""
    return float(2 * (matrix.shape[1] + 2) * roundoff(matrix.dtype))


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
    matrix : ndarray of shape (k, r + 3)
        Coordinates, rest, lifted mean, and 1.
    rest : ndarray of shape (k,)
        What the coordinates leave out.
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
    rest: RealArray
    size: FloatArray
    error: FloatArray
    reach: FloatArray

    def product(self, library: Columns) -> RealArray:
        """Likeness of every pair; what is below `floor` is too far away.

        Parameters
        ----------
        library : Columns
            m library curves.

        Returns
        -------
        ndarray of shape (k, m)
            Minus infinity for the curves that are unknown.
        """
        product = self.matrix @ library.matrix.T
        if library.inverse is not None:
            np.abs(product, out=product)
            if library.rest is not None:
                product += np.multiply.outer(self.rest, library.rest)
            product *= library.inverse
        if library.unknown.size:
            product[:, library.unknown] = -np.inf
        return product

    def floor(self, limits: FloatArray) -> RealArray:
        """Least likeness of a pair whose score can be within a limit.

        Parameters
        ----------
        limits : ndarray of shape (k,)
            Scores that must not be exceeded.

        Returns
        -------
        ndarray of shape (k,)
            The least number where nothing is proven. (docs/bounds.md, 3 and 4)
        """
        unit = roundoff(self.matrix.dtype)
        gamma = _gamma(self.matrix)
        with np.errstate(all="ignore"):
            within = np.ldexp(radius(limits, self.basis.n, self.options), -self.basis.exponent)
            within = (within + self.reach) * _MORE
            if self.options.transform in ("scale", "affine"):
                share = _share(self.basis, unit)
                floor = np.sqrt((self.size - within) * (self.size + within)) - self.error
                longest = self.size + 8 * self.error
                floor = floor * (1 - share) - 1.02 * longest * (share + gamma + 2.0**-45)
            else:
                longest = within + self.error
                floor = 0.5 * (1 - gamma) * self.size * self.size / _MORE
                floor -= 0.5 * (1 + _SPLIT) * longest * longest * _MORE + _UNDERFLOW
            floor -= 8 * unit * np.abs(floor)
            # Unknown curves are below the least number: they are not proposed here.
            least = np.finfo(self.matrix.dtype).min
            floor = np.where(np.isfinite(floor), floor, least).astype(self.matrix.dtype)
        return np.asarray(floor)


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
    r = basis.rank
    matrix = np.ones((len(y), r + 3), dtype)
    described = describe(y, basis, matrix[:, :r])
    rest, mean, shape, _ = described
    with np.errstate(all="ignore"):
        lift, size, error = _lifted(described, basis, options.transform, roundoff(matrix.dtype))
        lost = ~((error < _LARGEST) & (size < _LARGEST))
        if options.transform in ("scale", "affine"):
            lost |= size < _SMALLEST
        whole = 1.01 * (shape + basis.n**0.5 * np.abs(mean)) + 2.0**-90
        reach = _reach(options.transform, shape, whole, basis)
    matrix[:, r], matrix[:, r + 1] = rest, np.where(lost, 0, lift)
    size[lost] = np.nan
    # Rounded upwards, because it multiplies another length that is rounded.
    outside = (rest * (1 + 8 * roundoff(matrix.dtype))).astype(matrix.dtype)
    return Screen(basis, options, matrix, outside, size, error, reach)


def _reach(transform: Transform, shape: FloatArray, whole: FloatArray, basis: Basis) -> FloatArray:
    """How much nearer than its family the rounded member may seem (docs/bounds.md, 4)."""
    if transform == "none":
        return np.zeros_like(whole)
    reach = 2 * _DOUBLE * whole + basis.n**0.5 * np.ldexp(1e-323, -basis.exponent)
    if transform == "affine":
        reach += 2.0**-22 * (shape + (basis.n + 8) * _DOUBLE * whole)
    return np.asarray(reach)


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
    more = 1 + (2 * n + 20) * _DOUBLE
    lost = n * n * 5e-324
    with np.errstate(over="ignore"):
        if options.criterion == "max":
            return np.asarray(limits * n**0.5 * more + lost)
        total = limits * n if options.criterion == "mae" or options.min_overlap < 1 else limits
        total = total * more + lost
    return np.asarray(total if options.criterion == "mae" else np.sqrt(total) * _MORE)


class Bound(Protocol):
    """Training curves that can be compared with library curves by a product."""

    def product(self, library: Columns, /) -> RealArray:
        """Likeness of every pair, shape (k, m)."""

    def floor(self, limits: FloatArray, /) -> RealArray:
        """Least likeness of a pair whose score can be within a limit, shape (k,)."""


def find(
    training: Bound,
    library: Columns,
    limits: FloatArray,
    top_k: int,
    score: Callable[[Pairs], FloatArray],
) -> tuple[Pairs, FloatArray]:
    """Pairs that could be among the best.

    Parameters
    ----------
    training : Bound
        k training curves.
    library : Columns
        m library curves.
    limits : ndarray of shape (k,)
        Scores that must not be exceeded, infinite where there is none yet.
    top_k : int
        Places of a ranking.
    score : callable
        Plain scores of pairs.

    Returns
    -------
    pairs : tuple of two ndarray
        Every pair that could have a score within the limits and among the top_k of these
        curves, but for those of the unknown curves.
    limits : ndarray of shape (k,)
        The limits, lowered to the top_k-th best score seen on the way.
    """
    product = training.product(library)
    k, m = product.shape
    near = _above(product, training.floor(limits))
    if len(near[0]) > _MANY * k * top_k and m - library.unknown.size > top_k:
        likely = _likeliest(product, top_k)
        pairs = np.repeat(np.arange(k), top_k), likely.ravel()
        seen = sort_key(score(pairs)).reshape(k, top_k).max(axis=1)
        limits = np.minimum(limits, seen)
        near = _above(product, training.floor(limits))
    return near, limits


def _above(product: RealArray, floor: RealArray) -> Pairs:
    rows = np.flatnonzero(~(product.max(axis=1) < floor))
    if not rows.size:
        return rows, rows
    # Most rows have nothing; the first block has something for each.
    some = product if rows.size == len(product) else product[rows]
    inside = ~(some < floor[rows, np.newaxis])
    row, column = np.divmod(np.flatnonzero(inside), product.shape[1])
    return rows[row], column


def _likeliest(product: RealArray, top_k: int) -> IndexArray:
    if top_k == 1:
        return np.asarray(product.argmax(axis=1)[:, np.newaxis])
    return np.asarray(np.argpartition(product, -top_k, axis=1)[:, -top_k:])
