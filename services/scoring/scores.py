"""The decision: plain float64 differences of pairs of curves.

The definitions are in docs/method.md: Transform, Criterion, Ranking. However pairs are proposed
(services/bounds/), the numbers computed here are the answer, to the bit.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from services.choices import Transform
from services.grids import BoolArray, IndexArray
from services.powers import put_back
from services.scoring.options import FitOptions, fits_offset, fits_scale
from services.scoring.sums import average, find_shift, sum_products, sum_rows
from services.tables import FloatArray

_LEAST_REST_SHARE = 2.0**-40
"""Share of the squares above which the rest of a rounded mean would show in the scale."""

_TILE_BYTES = 1 << 19
"""Bytes of differences held at once; they stay in the processor's cache."""


def score_rows(y: FloatArray, f: FloatArray, options: FitOptions) -> FloatArray:
    """Score each row of f.

    Parameters
    ----------
    y : ndarray of shape (n,) or (m, n)
        One training curve for all rows, or one for each. [unit of y]
    f : ndarray of shape (m, n)
        Library curves, complete and C-contiguous. [unit of y]
    options : FitOptions
        Scores are means if ``min_overlap`` is below 1.

    Returns
    -------
    ndarray of shape (m,)
        Scores, infinite or NaN where float64 cannot hold them.
    """
    with np.errstate(all="ignore"):
        return _score_rows(y, f, options)


def _score_rows(y: FloatArray, f: FloatArray, options: FitOptions) -> FloatArray:
    n = f.shape[-1]
    if options.transform == "none":
        r = y - f
    else:
        scale, offset = fit_family(y, f, options)
        r = y - (scale[:, np.newaxis] * f + offset[:, np.newaxis])
    # np.max and np.sum call `reduce` after checks of their arguments, which cost more than it.
    match options.criterion:
        case "sse":
            sse = np.add.reduce(np.multiply(r, r, out=r), axis=-1)
            return np.asarray(sse / n if options.min_overlap < 1 else sse)
        case "mae":
            return np.asarray(np.add.reduce(np.abs(r, out=r), axis=-1) / n)
        case "max":
            return np.asarray(np.maximum.reduce(np.abs(r, out=r), axis=-1))
        case _:
            assert_never(options.criterion)


def score_pairs(y: FloatArray, f: FloatArray, options: FitOptions) -> FloatArray:
    """Score every pair of a training curve and a library curve.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        Training curves. [unit of y]
    f : ndarray of shape (m, n)
        Library curves, complete and C-contiguous. [unit of y]
    options : FitOptions

    Returns
    -------
    ndarray of shape (k, m)
        As from `score_rows`.
    """
    result = np.empty((len(y), len(f)))
    with np.errstate(all="ignore"):
        for part in cut_into_tiles(f.shape):
            for row, curve in enumerate(y):
                result[row, part] = _score_rows(curve, f[part], options)
    return result


def cut_into_tiles(shape: tuple[int, ...]) -> list[slice]:
    """Cut rows into slices that fit the cache.

    Parameters
    ----------
    shape : tuple of int
        Rows and numbers in a row.

    Returns
    -------
    list of slice
        All rows, in order.
    """
    step = max(1, _TILE_BYTES // (8 * shape[1]))
    return [slice(start, start + step) for start in range(0, shape[0], step)]


def fit_family(y: FloatArray, f: FloatArray, options: FitOptions) -> tuple[FloatArray, FloatArray]:
    """Fit scale and offset of each row of f by least squares (docs/method.md, Transform).

    Parameters
    ----------
    y : ndarray of shape (n,) or (m, n)
        One training curve for all rows, or one for each. [unit of y]
    f : ndarray of shape (m, n)
        Library curves, complete and C-contiguous. [unit of y]
    options : FitOptions
        The family is its ``transform`` and ``sign``.

    Returns
    -------
    scale, offset : ndarray of shape (m,)
        The member that stands for f.
    """
    transform = options.transform
    if not (fits_scale(transform) or fits_offset(transform)):
        return np.ones(len(f)), np.zeros(len(f))
    scale, offset = _fit_member(np.atleast_2d(y), f, transform)
    if options.sign == "positive" and not (scale > 0).all():
        return _fit_positive(np.atleast_2d(y), scale, offset, transform)
    return scale, offset


def _fit_positive(
    y: FloatArray, scale: FloatArray, offset: FloatArray, transform: Transform
) -> tuple[FloatArray, FloatArray]:
    """Replace scales that are not positive by 0; the offset is then the mean of y."""
    level = np.zeros(len(y))
    if fits_offset(transform):
        shift, constant = find_shift(y)
        level = np.ldexp(average(put_back(y, -shift), constant), shift)
    is_positive = scale > 0
    return np.where(is_positive, scale, 0.0), np.where(is_positive, offset, level)


def _fit_member(
    y: FloatArray, f: FloatArray, transform: Transform
) -> tuple[FloatArray, FloatArray]:
    """Fit scale and offset of any sign; `transform` is not ``none``."""
    (y_shift, constant_y), (f_shift, constant_f) = find_shift(y), find_shift(f)
    if not fits_scale(transform):
        y_shift = f_shift = np.maximum(y_shift, f_shift)
    # Powers of two change no digit, so ordinary curves, whose shifts are 0, are as they were.
    y, f = put_back(y, -y_shift), put_back(f, -f_shift)
    if not fits_scale(transform):
        return np.ones(len(f)), np.ldexp(sum_rows(y - f) / f.shape[-1], y_shift)
    if not fits_offset(transform):
        products, exponent = sum_products(y, f)
        squares = sum_rows(f * f)
        scale = np.ldexp(products / squares, exponent + y_shift - f_shift)
        return np.where(squares == 0, 0.0, scale), np.zeros(len(f))
    scale, offset, exponent = _fit_line(y, f, constant_y, constant_f)
    return np.ldexp(scale, exponent + y_shift - f_shift), np.ldexp(offset, y_shift)


def _fit_line(
    y: FloatArray, f: FloatArray, constant_y: BoolArray, constant_f: BoolArray
) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Fit a line through (f, y) by least squares; y and f come without their powers of two.

    Returns scale, offset and an exponent: the slope is scale times 2**exponent.
    """
    n = y.shape[-1]
    y_mean = average(y, constant_y)
    f_mean = sum_rows(f) / n
    f_centred, y_centred = f - f_mean[:, np.newaxis], y - y_mean[:, np.newaxis]
    # The rounded mean leaves a rest. On ordinary curves it is 0, and the plain formula holds to
    # the bit. Between neighbouring floats the rest is all that is left of the curve, so it is
    # taken out (the corrected two-pass formula).
    f_rest, y_rest = sum_rows(f_centred) / n, sum_rows(y_centred) / n
    products, exponent = sum_products(y_centred, f_centred)
    squares = sum_rows(np.multiply(f_centred, f_centred, out=f_centred))
    f_rest = np.where(n * f_rest * f_rest > _LEAST_REST_SHARE * squares, f_rest, 0.0)
    products = products - np.ldexp(n * f_rest * y_rest, -exponent)
    scale = np.where(constant_f, 0.0, products / (squares - n * f_rest * f_rest))
    slope = np.ldexp(scale, exponent)
    offset = np.where(constant_f, y_mean, y_mean - slope * f_mean - slope * f_rest)
    return scale, offset, exponent
