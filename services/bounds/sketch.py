"""Curves in few single-precision numbers, with a proven bound on what that loses.

docs/bounds.md derives everything here. A curve y is split into its mean ȳ and its shape
y - ȳ. The shape is described by coordinates along r orthonormal vectors V and by the length
of what they leave out, |shape - V Vᵀ shape|. Seen that way two curves are never farther apart
than they are, so a distance of descriptions is a lower bound of their distance; `error` says
how far the stored numbers may be from the exact description. With no vectors the coordinates
are all n numbers of the shape, and nothing is left out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.grids import IndexArray
from services.tables import FloatArray

SingleArray = NDArray[np.float32]
RealArray = NDArray[Any]


Description = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
"""Four figures of curves, each of shape (m,): rest, mean, size and error as in `Sketch`."""

MOST_POINTS = 1 << 20
"""Longer curves are not sketched: the bounds are derived for fewer points."""

RANK = 32
"""Vectors of a basis."""

SAMPLE = 256
"""Most curves that a basis is made from."""

_DOUBLE = 2.0**-53
"""Unit roundoff of float64."""

_UNDERFLOW = 2.0**-100
"""Far more than underflow can lose of a number, in the unit of a basis."""

_LARGEST = 2.0**60
"""Numbers above it, in the unit of a basis, are not described: squares must fit float32."""

_LITTLE = 2.0**-34
"""Share of a shape that the rest of its mean may be before it is taken out."""

_BYTES = 1 << 18
"""Bytes of curves worked on at once, so that they stay in the processor's cache."""

_MOST_DEFECT = 2.0**-10
"""Vectors that are less orthonormal than this bound nothing."""

_NOTHING = 2.0**-46
"""Share of the largest square that a vector has to have to be of any use."""

_MOST_LEFT_OUT = 2.0**-5
"""A basis that leaves more of the sample's squares out than this prunes too little to help."""


@dataclass(frozen=True)
class Basis:
    """What curves are described by.

    Parameters
    ----------
    n : int
        Points of a curve.
    exponent : int
        The unit of all descriptions is 2**exponent, a multiple of 32 and mostly 0.
    centre : float
        Subtracted from the means, so that a lift shared by all curves costs no digits.
        [unit of y over 2**exponent]
    vectors : ndarray of shape (n, r) or None
        Orthonormal but for rounding; None stands for all n axes.
    """

    n: int
    exponent: int
    centre: float
    vectors: FloatArray | None = None

    @property
    def rank(self) -> int:
        """Coordinates of a curve."""
        return self.n if self.vectors is None else self.vectors.shape[1]

    @cached_property
    def digest(self) -> str:
        """Fingerprint: descriptions can be compared if it is the same."""
        digest = hashlib.sha256(repr((self.n, self.exponent, self.centre)).encode())
        if self.vectors is not None:
            digest.update(np.ascontiguousarray(self.vectors, "<f8").data)
        return digest.hexdigest()

    @cached_property
    def slack(self) -> float:
        """Bound of the float64 rounding of a description, relative to the size of the shape."""
        slack = (2 * self.n + 16) * _DOUBLE
        if self.vectors is None:
            return slack
        # η bounds |VᵀV - I|: the Frobenius norm of what was computed, and its rounding.
        square = self.vectors.T @ self.vectors - np.eye(self.rank)
        eta = 1.01 * float(np.linalg.norm(square)) + 2 * self.rank * (self.n + 2) * _DOUBLE
        if eta > _MOST_DEFECT:
            return np.inf
        return float(slack + 4 * eta + 6 * self.rank**0.5 * (self.n + self.rank + 8) * _DOUBLE)


@dataclass(frozen=True, slots=True)
class Sketch:
    """Some curves of a library, described; plain arrays to keep beside the blocks.

    All numbers are in the unit of the basis.

    Parameters
    ----------
    indices : ndarray of shape (m,)
        Position of each curve in its dataset, ascending.
    coordinates : ndarray of float32 of shape (m, r)
        Of the shapes.
    rest : ndarray of float32 of shape (m,)
        Length of what the coordinates leave out.
    mean : ndarray of float64 of shape (m,)
        Means; NaN for a curve with a gap.
    size : ndarray of float32 of shape (m,)
        Lengths of the shapes.
    error : ndarray of float32 of shape (m,)
        Bound of the distance of the stored numbers from the exact description; infinite for
        a curve that is not described and must always be looked at.
    """

    indices: IndexArray
    coordinates: SingleArray
    rest: SingleArray
    mean: FloatArray
    size: SingleArray
    error: SingleArray

    def to_bytes(self) -> bytes:
        """Little-endian bytes of all arrays but the indices, curve by curve."""
        rows = np.empty(len(self.mean), row_type(self.coordinates.shape[1]))
        for name in rows.dtype.names or ():
            rows[name] = getattr(self, name)
        return rows.tobytes()

    @staticmethod
    def from_bytes(indices: IndexArray, data: bytes, rank: int) -> Sketch:
        """Sketch of what `to_bytes` gave.

        Parameters
        ----------
        indices : ndarray of shape (m,)
            Position of each curve in its dataset.
        data : bytes
            As stored.
        rank : int
            Coordinates of a curve.

        Returns
        -------
        Sketch
            Its arrays are views of the bytes.
        """
        rows = np.frombuffer(data, row_type(rank))
        return Sketch(indices, *(rows[name] for name in rows.dtype.names or ()))


def row_type(rank: int) -> np.dtype[np.void]:
    """Bytes of one curve in a stored sketch.

    Parameters
    ----------
    rank : int
        Coordinates of a curve.

    Returns
    -------
    dtype
        20 + 4·rank bytes.
    """
    return np.dtype(
        [
            ("coordinates", "<f4", (rank,)),
            ("rest", "<f4"),
            ("mean", "<f8"),
            ("size", "<f4"),
            ("error", "<f4"),
        ]
    )


def plain_basis(sample: FloatArray) -> Basis | None:
    """Basis of all axes, with the unit and the centre of a sample.

    Parameters
    ----------
    sample : ndarray of shape (s, n)
        Some curves; those with gaps are not regarded. [unit of y]

    Returns
    -------
    Basis or None
        None where there is nothing to go by: no complete curve, or too many points.
    """
    n = sample.shape[1]
    with np.errstate(all="ignore"):
        sample = sample[np.isfinite(np.sum(sample * 0.5, axis=1) / n)]
        if not len(sample) or n > MOST_POINTS:
            return None
        mean = np.sum(sample * (1 / n), axis=1)
        shapes = np.max(np.abs(sample * 0.5 - mean[:, np.newaxis] * 0.5), axis=1)
        _, half = np.frexp(np.median(shapes))
        # A multiple of 32 is 0 for ordinary curves, so that nothing has to be scaled.
        exponent = 32 * round((int(half) + 1) / 32)
        centre = float(np.ldexp(np.median(mean), -exponent))
    return Basis(n, exponent, centre if abs(centre) < _LARGEST else 0.0)


def make_basis(sample: FloatArray, rank: int = RANK) -> Basis | None:
    """Basis in which curves like those of a sample leave little out.

    Parameters
    ----------
    sample : ndarray of shape (s, n)
        Some curves of the library, spread over it; those with gaps are not regarded.
        [unit of y]
    rank : int
        Vectors to use.

    Returns
    -------
    Basis or None
        None where it would not help: the curves have too few points, are too few, or are
        not described by that many vectors.
    """
    sample = sample[:: -(-len(sample) // SAMPLE) or 1]
    plain = plain_basis(sample)
    if plain is None or plain.n <= 2 * rank:
        return None
    with np.errstate(all="ignore"):
        small = np.ldexp(sample, -plain.exponent)
        shapes = small - np.sum(small * (1 / plain.n), axis=1)[:, np.newaxis]
        sizes = np.max(np.abs(shapes), axis=1)
    shapes = shapes[(sizes < _LARGEST) & (sizes > 0)]
    if len(shapes) < 2 * rank:
        return None
    # Half of the sample makes the vectors, the other half says what they are good for.
    learned, held_out = shapes[::2], shapes[1::2]
    vectors = _leading(learned, rank)
    if vectors is None:
        return None
    left_out = held_out - (held_out @ vectors) @ vectors.T
    if np.sum(left_out * left_out) > _MOST_LEFT_OUT * np.sum(held_out * held_out):
        return None
    return Basis(plain.n, plain.exponent, plain.centre, vectors)


def _leading(shapes: FloatArray, rank: int) -> FloatArray | None:
    """Orthonormal vectors along which these shapes are longest, shape (n, rank) or fewer.

    By the eigenvectors of their products with each other: what that loses of the small ones
    matters to nobody, and unlike a singular value decomposition it has not been seen to fail.
    """
    shapes = shapes / np.max(np.abs(shapes))
    try:
        squares, combined = np.linalg.eigh(shapes @ shapes.T)
    except np.linalg.LinAlgError:
        return None
    # Along the others there is less than single precision loses.
    rank = min(rank, int(np.count_nonzero(squares > _NOTHING * squares[-1])))
    vectors, _ = np.linalg.qr(shapes.T @ combined[:, -rank:])
    return np.ascontiguousarray(vectors) if np.isfinite(vectors).all() else None


def sketch(indices: IndexArray, curves: FloatArray, basis: Basis) -> Sketch:
    """Describe curves.

    Parameters
    ----------
    indices : ndarray of shape (m,)
        Position of each curve in its dataset.
    curves : ndarray of shape (m, n)
        One curve a row. [unit of y]
    basis : Basis
        Of the library.

    Returns
    -------
    Sketch
        In single precision.
    """
    coordinates = np.empty((len(curves), basis.rank), np.float32)
    rest, mean, size, error = describe(curves, basis, coordinates)
    with np.errstate(over="ignore"):
        # Rounded upwards, for an error must not shrink. It covers the rounding of the others.
        upwards = np.nextafter(error.astype(np.float32), np.float32(np.inf))
    return Sketch(
        indices, coordinates, rest.astype(np.float32), mean, size.astype(np.float32), upwards
    )


def describe(curves: FloatArray, basis: Basis, coordinates: RealArray) -> Description:
    """Describe curves, the coordinates into an array at hand.

    Parameters
    ----------
    curves : ndarray of shape (m, n)
        One curve a row. [unit of y]
    basis : Basis
        What they are described by.
    coordinates : ndarray of shape (m, r)
        Filled here; in its precision, float32 or float64.

    Returns
    -------
    rest, mean, size, error : ndarray of float64 of shape (m,)
        As in `Sketch`.
    """
    m, n = curves.shape
    rest, mean, size, left, there = np.zeros((5, m))
    step = max(1, _BYTES // (8 * n))
    space = np.empty((min(step, m), n))
    with np.errstate(all="ignore"):
        for start in range(0, m, step):
            part = slice(start, start + step)
            shape, parts = _shapes(curves[part], basis.exponent, space)
            mean[part], size[part], left[part], there[part] = parts
            if basis.vectors is None:
                coordinates[part] = shape
            else:
                along = shape @ basis.vectors
                coordinates[part] = along
                rest[part] = _lengths(shape - along @ basis.vectors.T)
        error = _error(basis, roundoff(coordinates.dtype), (mean, size, left, there))
        lost = ~((size < _LARGEST) & (np.abs(mean) * n**0.5 < _LARGEST))
        if lost.any():
            coordinates[lost], rest[lost], size[lost], error[lost] = 0, 0, 0, np.inf
            mean[lost] = np.where(np.isnan(curves[lost]).any(axis=1), np.nan, np.inf)
    return rest, mean, size, error


def _shapes(curves: FloatArray, exponent: int, space: FloatArray) -> tuple[FloatArray, Description]:
    """Shapes (in the space given); means, sizes, rests of the means, and those still there."""
    f = np.ldexp(curves, -exponent) if exponent else curves
    shape = space[: len(f)]
    n = f.shape[1]
    # Bounds hold for sums in any order, so the fastest will do.
    ones = np.ones(n)
    mean = f @ ones / n
    np.subtract(f, mean[:, np.newaxis], out=shape)
    left = shape @ ones / n
    size = _lengths(shape)
    # On lifted curves the mean is rounded to few digits of the shape: centre once more.
    lifted = ~(n**0.5 * np.abs(left) <= _LITTLE * size)
    if lifted.any():
        shape[lifted] -= left[lifted, np.newaxis]
        size[lifted] = _lengths(shape[lifted])
    return shape, (mean + left, size, left, np.where(lifted, 0.0, left))


def _lengths(rows: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.vecdot(rows, rows)))


def _error(basis: Basis, unit: float, parts: Description) -> FloatArray:
    """Error of each description, coordinates in the precision of that unit (bounds.md, 2)."""
    mean, size, left, there = parts
    root = basis.n**0.5
    return np.asarray(
        (1.01 * unit + basis.slack) * size
        + 2 * basis.slack * root * np.abs(left)
        + 1.01 * root * np.abs(there)
        + 3 * _DOUBLE * root * np.abs(mean)
        + root * _UNDERFLOW
    )


def roundoff(dtype: np.dtype[Any]) -> float:
    """Unit roundoff of a precision.

    Parameters
    ----------
    dtype : dtype
        float32 or float64.

    Returns
    -------
    float
        2**-24 or 2**-53.
    """
    return float(np.finfo(dtype).eps) / 2
