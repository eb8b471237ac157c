"""Curves in few single-precision numbers, with a proven bound of what that loses.

docs/bounds.md derives all of this. A curve y is split into its mean ȳ and its shape y - ȳ. The
shape is described by its coordinates along r orthonormal vectors V and by the length of the rest
that these leave out, |shape - V Vᵀ shape|. Two descriptions are never farther apart than the two
curves, so their distance is a lower bound; `error` says how far the stored numbers may be from
the exact description. Without vectors the coordinates are all n numbers of the shape, and the
rest is 0.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from services.bounds.rounding import (
    DOUBLE_ROUNDOFF,
    LARGEST_IN_SINGLE,
    UNDERFLOW_OF_COORDINATE,
    RealArray,
    SingleArray,
    roundoff,
)
from services.grids import IndexArray
from services.tables import FloatArray

MOST_POINTS = 1 << 20
"""Points of the longest curve that is described; the bounds are derived for fewer."""

N_VECTORS = 32
"""Vectors of a basis."""

SAMPLE = 256
"""Largest number of curves that a basis is made from."""

_LARGEST_MEAN_SHARE = 2.0**-34
"""Share of a shape above which the rest of its mean is subtracted, too."""

_BYTES_AT_ONCE = 1 << 18
"""Bytes of curves described at once; they stay in the processor's cache."""

_LARGEST_DEFECT = 2.0**-10
"""Largest defect of orthonormality with which vectors bound anything."""

_LEAST_SHARE = 2.0**-46
"""Least share of the largest square with which a vector is of any use."""

LARGEST_REST_SHARE = 2.0**-5
"""Largest share of the sample's squares that a basis may leave out to describe blocks of curves
instead of all their points; a survey of the whole library can do with any."""


@dataclass(frozen=True)
class Basis:
    """Vectors, unit and centre by which curves are described.

    Parameters
    ----------
    n : int
        Points of a curve.
    exponent : int
        The unit of all descriptions is 2**exponent; a multiple of 32, 0 for ordinary curves.
    centre : float
        Subtracted from the means, so that an offset shared by all curves costs no digits.
        [2**exponent]
    vectors : ndarray of shape (n, r) or None
        Orthonormal up to rounding; None stands for all n axes.
    """

    n: int
    exponent: int
    centre: float
    vectors: FloatArray | None = None

    @property
    def n_coordinates(self) -> int:
        """Number of coordinates of a curve."""
        return self.n if self.vectors is None else self.vectors.shape[1]

    @cached_property
    def digest(self) -> str:
        """Fingerprint; descriptions with the same one can be compared."""
        digest = hashlib.sha256(repr((self.n, self.exponent, self.centre)).encode())
        if self.vectors is not None:
            digest.update(np.ascontiguousarray(self.vectors, "<f8").data)
        return digest.hexdigest()

    @cached_property
    def slack(self) -> float:
        """Bound of the float64 rounding of a description, relative to the size of the shape."""
        slack = (2 * self.n + 16) * DOUBLE_ROUNDOFF
        if self.vectors is None:
            return slack
        # η bounds |VᵀV - I|: the Frobenius norm of what was computed, and its rounding.
        square = self.vectors.T @ self.vectors - np.eye(self.n_coordinates)
        eta = (
            1.01 * float(np.linalg.norm(square))
            + 2 * self.n_coordinates * (self.n + 2) * DOUBLE_ROUNDOFF
        )
        if eta > _LARGEST_DEFECT:
            return np.inf
        return float(
            slack
            + 4 * eta
            + 6 * self.n_coordinates**0.5 * (self.n + self.n_coordinates + 8) * DOUBLE_ROUNDOFF
        )

    def scale(self, values: FloatArray) -> FloatArray:
        """Express numbers in the unit of the basis; the same array if that is 1."""
        return np.ldexp(values, -self.exponent) if self.exponent else values


class Description(NamedTuple):
    """Figures of described curves beside their coordinates, each of shape (m,).

    Parameters
    ----------
    rest, mean, size, error : ndarray of float64 of shape (m,)
        As in `Sketch`.
    """

    rest: FloatArray
    mean: FloatArray
    size: FloatArray
    error: FloatArray


@dataclass(frozen=True, slots=True)
class Sketch:
    """Descriptions of some curves of a library, kept beside its blocks.

    All numbers are in the unit of the basis.

    Parameters
    ----------
    indices : ndarray of shape (m,)
        Position of each curve in its dataset, ascending.
    coordinates : ndarray of float32 of shape (m, r)
        Coordinates of the shapes.
    rest : ndarray of float32 of shape (m,)
        Length of the part of the shape that the coordinates leave out.
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
        """Write all arrays but the indices as little-endian bytes, curve by curve."""
        rows = np.empty(len(self.mean), row_type(self.coordinates.shape[1]))
        for name in rows.dtype.names or ():
            rows[name] = getattr(self, name)
        return rows.tobytes()

    @staticmethod
    def from_bytes(indices: IndexArray, data: bytes, n_coordinates: int) -> Sketch:
        """Read a sketch that `to_bytes` wrote; its arrays are views of the bytes.

        Parameters
        ----------
        indices : ndarray of shape (m,)
            Position of each curve in its dataset.
        data : bytes
            Output of `to_bytes`.
        n_coordinates : int
            Coordinates of a curve.
        """
        rows = np.frombuffer(data, row_type(n_coordinates))
        return Sketch(indices, *(rows[name] for name in rows.dtype.names or ()))


def row_type(n_coordinates: int) -> np.dtype[np.void]:
    """Lay out one curve of a stored sketch, in 20 + 4·n_coordinates bytes."""
    return np.dtype(
        [
            ("coordinates", "<f4", (n_coordinates,)),
            ("rest", "<f4"),
            ("mean", "<f8"),
            ("size", "<f4"),
            ("error", "<f4"),
        ]
    )


def make_plain_basis(sample: FloatArray) -> Basis | None:
    """Make a basis of all axes, with the unit and the centre of a sample.

    Parameters
    ----------
    sample : ndarray of shape (s, n)
        Some curves; those with gaps are ignored. [unit of y]

    Returns
    -------
    Basis or None
        None without a complete curve, or with too many points.
    """
    n = sample.shape[1]
    with np.errstate(all="ignore"):
        sample = sample[np.isfinite(np.sum(sample * 0.5, axis=1) / n)]
        if not len(sample) or n > MOST_POINTS:
            return None
        mean = np.sum(sample * (1 / n), axis=1)
        shapes = np.max(np.abs(sample * 0.5 - mean[:, np.newaxis] * 0.5), axis=1)
        _, half = np.frexp(np.median(shapes))
        # A multiple of 32, which is 0 for ordinary curves: they need not be scaled.
        exponent = 32 * round((int(half) + 1) / 32)
        centre = float(np.ldexp(np.median(mean), -exponent))
    return Basis(n, exponent, centre if abs(centre) < LARGEST_IN_SINGLE else 0.0)


def make_basis(
    sample: FloatArray,
    n_vectors: int = N_VECTORS,
    largest_rest_share: float = LARGEST_REST_SHARE,
) -> Basis | None:
    """Make a basis in which curves like those of a sample leave as little out as possible.

    Parameters
    ----------
    sample : ndarray of shape (s, n)
        Some curves of the library, spread over it; those with gaps are ignored. [unit of y]
    n_vectors : int
        Vectors to use.
    largest_rest_share : float
        Largest share of the squares of the sample that may be left out.

    Returns
    -------
    Basis or None
        None where it would not help: the curves are too few, have too few points, or are not
        described by so few vectors.
    """
    sample = sample[:: -(-len(sample) // SAMPLE) or 1]
    plain = make_plain_basis(sample)
    if plain is None or plain.n <= 2 * n_vectors:
        return None
    with np.errstate(all="ignore"):
        small = plain.scale(sample)
        shapes = small - np.sum(small * (1 / plain.n), axis=1)[:, np.newaxis]
        sizes = np.max(np.abs(shapes), axis=1)
    shapes = shapes[(sizes < LARGEST_IN_SINGLE) & (sizes > 0)]
    if len(shapes) < 2 * n_vectors:
        return None
    # Half of the sample makes the vectors, the other half tests them.
    learned, held_out = shapes[::2], shapes[1::2]
    vectors = _find_vectors(learned, n_vectors)
    if vectors is None:
        return None
    left_out = held_out - (held_out @ vectors) @ vectors.T
    if np.sum(left_out * left_out) > largest_rest_share * np.sum(held_out * held_out):
        return None
    return Basis(plain.n, plain.exponent, plain.centre, vectors)


def _find_vectors(shapes: FloatArray, n_vectors: int) -> FloatArray | None:
    """Find orthonormal vectors along which these shapes are longest, shape (n, n_vectors) or less.

    They come from the eigenvectors of the products of the shapes with each other. That loses
    digits of the small ones, which do not matter, and unlike a singular value decomposition it
    has not been seen to fail.
    """
    shapes = shapes / np.max(np.abs(shapes))
    try:
        squares, combined = np.linalg.eigh(shapes @ shapes.T)
    except np.linalg.LinAlgError:
        return None
    # Along other vectors the shapes are shorter than the rounding of single precision.
    n_vectors = min(n_vectors, int(np.count_nonzero(squares > _LEAST_SHARE * squares[-1])))
    vectors, _ = np.linalg.qr(shapes.T @ combined[:, -n_vectors:])
    return np.ascontiguousarray(vectors) if np.isfinite(vectors).all() else None


def make_sketch(indices: IndexArray, curves: FloatArray, basis: Basis) -> Sketch:
    """Describe curves in single precision, to be stored.

    Parameters
    ----------
    indices : ndarray of shape (m,)
        Position of each curve in its dataset.
    curves : ndarray of shape (m, n)
        One curve a row. [unit of y]
    basis : Basis
        Basis of the library.
    """
    coordinates = np.empty((len(curves), basis.n_coordinates), np.float32)
    described = describe(curves, basis, coordinates)
    with np.errstate(over="ignore"):
        # Rounded up, since an error must not shrink. It covers the rounding of the others.
        error = np.nextafter(described.error.astype(np.float32), np.float32(np.inf))
    rest, size = described.rest.astype(np.float32), described.size.astype(np.float32)
    return Sketch(indices, coordinates, rest, described.mean, size, error)


def describe(curves: FloatArray, basis: Basis, coordinates: RealArray) -> Description:
    """Describe curves; write the coordinates into a given array.

    Parameters
    ----------
    curves : ndarray of shape (m, n)
        One curve a row. [unit of y]
    basis : Basis
        Basis of the library.
    coordinates : ndarray of shape (m, r)
        Receives the coordinates, in its precision.
    """
    m, n = curves.shape
    rest, mean, size, error = np.zeros((4, m))
    unit = roundoff(coordinates.dtype)
    step = max(1, _BYTES_AT_ONCE // (8 * n))
    space = np.empty((min(step, m), n))
    with np.errstate(all="ignore"):
        for start in range(0, m, step):
            part = slice(start, start + step)
            split = _split_means(basis.scale(curves[part]), space)
            mean[part], size[part] = split.mean, split.size
            error[part] = _bound_error(split, basis, unit)
            if basis.vectors is None:
                coordinates[part] = split.shape
            else:
                along = split.shape @ basis.vectors
                coordinates[part] = along
                rest[part] = _measure(split.shape - along @ basis.vectors.T)
        lost = ~((size < LARGEST_IN_SINGLE) & (np.abs(mean) * n**0.5 < LARGEST_IN_SINGLE))
        if lost.any():
            coordinates[lost], rest[lost], size[lost], error[lost] = 0, 0, 0, np.inf
            mean[lost] = np.where(np.isnan(curves[lost]).any(axis=1), np.nan, np.inf)
    return Description(rest, mean, size, error)


class _Split(NamedTuple):
    """Curves split into shapes and means.

    Rounding keeps the mean of a shape from being 0; `not_subtracted` is the part of it that the
    shape still has.
    """

    shape: FloatArray
    mean: FloatArray
    size: FloatArray
    mean_of_shape: FloatArray
    not_subtracted: FloatArray


def _split_means(f: FloatArray, space: FloatArray) -> _Split:
    """Subtract the mean of each curve; the shapes are written into `space`."""
    shape = space[: len(f)]
    n = f.shape[1]
    # Bounds hold for sums in any order, so use the fastest.
    ones = np.ones(n)
    mean = f @ ones / n
    np.subtract(f, mean[:, np.newaxis], out=shape)
    left = shape @ ones / n
    size = _measure(shape)
    # On lifted curves the mean is rounded to few digits of the shape: centre once more.
    lifted = ~(n**0.5 * np.abs(left) <= _LARGEST_MEAN_SHARE * size)
    if lifted.any():
        shape[lifted] -= left[lifted, np.newaxis]
        size[lifted] = _measure(shape[lifted])
    return _Split(shape, mean + left, size, left, np.where(lifted, 0.0, left))


def _measure(rows: FloatArray) -> FloatArray:
    """Measure the length of each row."""
    return np.asarray(np.sqrt(np.vecdot(rows, rows)))


def _bound_error(split: _Split, basis: Basis, unit: float) -> FloatArray:
    """Bound the error of each description; `unit` is the roundoff of coordinates (bounds.md, 2)."""
    root = basis.n**0.5
    return np.asarray(
        (1.01 * unit + basis.slack) * split.size
        + 2 * basis.slack * root * np.abs(split.mean_of_shape)
        + 1.01 * root * np.abs(split.not_subtracted)
        + 3 * DOUBLE_ROUNDOFF * root * np.abs(split.mean)
        + root * UNDERFLOW_OF_COORDINATE
    )
