"""The decision: plain float64 differences of pairs of curves, and all their figures.

The definitions are in docs/method.md: Transform, Criterion, Ranking. However pairs are proposed
(services/bounds/), the numbers computed here are the answer, to the bit.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from services.choices import Criterion, Transform
from services.grids import BoolArray, IndexArray
from services.powers import count_excess_bits
from services.scoring.matches import FIGURES, Figures
from services.scoring.options import FitOptions, fits_offset, fits_scale
from services.tables import FloatArray

_LEAST_SURE_SUM = 2.0**-900
"""Size below which a sum of products may have lost terms, or their digits, to underflow."""

_LEAST_EXPONENT = -2147
"""Exponent of the product of the two smallest floats."""

_LEAST_REST_SHARE = 2.0**-40
"""Share of the squares above which the rest of a rounded mean would show in the scale."""

_TILE_BYTES = 1 << 19
"""Bytes of differences held at once; they stay in the processor's cache."""


def _name_ranking_figure(criterion: Criterion) -> str:
    """Name the figure that is the score."""
    match criterion:
        case "sse" | "mae":
            return criterion
        case "max":
            return "max_deviation"
        case _:
            assert_never(criterion)


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


def compute_figures(y: FloatArray, f: FloatArray, options: FitOptions) -> Figures:
    """Compute all figures of pairs of curves.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Training curves, one for each row of f. [unit of y]
    f : ndarray of shape (m, n)
        Library curves, complete and C-contiguous. [unit of y]
    options : FitOptions

    Returns
    -------
    ndarray of shape (m,) of FIGURES
        The index is left 0.
    """
    found = np.zeros(len(f), FIGURES)
    found["n"] = n = f.shape[-1]
    with np.errstate(all="ignore"):
        if options.transform == "none":
            found["scale"] = 1
            r = y - f
        else:
            scale, offset = fit_family(y, f, options)
            # Adding 0.0 makes -0.0 positive; r is the same with either.
            found["scale"], found["offset"] = scale + 0.0, offset + 0.0
            r = y - (scale[:, np.newaxis] * f + offset[:, np.newaxis])
        sse = _sum_rows(r * r)
        np.abs(r, out=r)
        found["sse"], found["mae"] = sse, _sum_rows(r) / n
        found["max_deviation"] = np.maximum.reduce(r, axis=-1)
        # The same sums of the same residuals as in `score_rows`, so the same bits.
        name = _name_ranking_figure(options.criterion)
        mean = options.criterion == "sse" and options.min_overlap < 1
        found["score"] = found[name] / n if mean else found[name]
        _add_figures(found, y, r)
    return found


def _add_figures(found: Figures, y: FloatArray, size: FloatArray) -> None:
    """Add rmse and r2, and mae where only its sum overflows; `size` is the magnitude of r."""
    n = size.shape[-1]
    squares, shift = found["sse"], count_excess_bits(found["max_deviation"])
    if shift.any():
        size = _remove_shift(size, shift)
        squares = _sum_rows(size * size)
        mae = found["mae"]
        found["mae"] = np.where(np.isfinite(mae), mae, np.ldexp(_sum_rows(size) / n, shift))
    found["rmse"] = np.ldexp(np.sqrt(squares / n), shift)
    found["r2"] = _compute_r2(y, squares, shift)


def _compute_r2(y: FloatArray, squares: FloatArray, shift: IndexArray) -> FloatArray:
    """Compute 1 - Σr² / Σ(y - ȳ)², NaN where y is constant.

    `squares` is Σr² with 2^shift factored out of r; powers of two are factored out of y alike.
    """
    y_shift, constant = _find_shift(y)
    y = _remove_shift(y, y_shift)
    spread = y - (_sum_rows(y) / y.shape[-1])[:, np.newaxis]
    share = squares / _sum_rows(np.multiply(spread, spread, out=spread))
    r2 = 1 - np.ldexp(share, 2 * (shift - y_shift))
    r2[constant] = np.nan
    return np.asarray(r2)


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
        shift, constant = _find_shift(y)
        level = np.ldexp(_average(_remove_shift(y, shift), constant), shift)
    is_positive = scale > 0
    return np.where(is_positive, scale, 0.0), np.where(is_positive, offset, level)


def _fit_member(
    y: FloatArray, f: FloatArray, transform: Transform
) -> tuple[FloatArray, FloatArray]:
    """Fit scale and offset of any sign; `transform` is not ``none``."""
    (y_shift, constant_y), (f_shift, constant_f) = _find_shift(y), _find_shift(f)
    if not fits_scale(transform):
        y_shift = f_shift = np.maximum(y_shift, f_shift)
    # Powers of two change no digit, so ordinary curves, whose shifts are 0, are as they were.
    y, f = _remove_shift(y, y_shift), _remove_shift(f, f_shift)
    if not fits_scale(transform):
        return np.ones(len(f)), np.ldexp(_sum_rows(y - f) / f.shape[-1], y_shift)
    if not fits_offset(transform):
        products, exponent = _sum_products(y, f)
        squares = _sum_rows(f * f)
        scale = np.ldexp(products / squares, exponent + y_shift - f_shift)
        return np.where(squares == 0, 0.0, scale), np.zeros(len(f))
    scale, offset, exponent = _fit_line(y, f, constant_y, constant_f)
    return np.ldexp(scale, exponent + y_shift - f_shift), np.ldexp(offset, y_shift)


def _remove_shift(rows: FloatArray, shift: IndexArray) -> FloatArray:
    return np.ldexp(rows, -shift[:, np.newaxis]) if shift.any() else rows


def _sum_rows(rows: FloatArray) -> FloatArray:
    """Sum each row as np.sum does, without its checks of the arguments."""
    return np.asarray(np.add.reduce(rows, axis=-1))


def _sum_products(y: FloatArray, f: FloatArray) -> tuple[FloatArray, IndexArray]:
    """Sum y·f over each row; give each sum as a number and a power of two.

    The power is 0 unless the sum is so small that its terms may have underflowed. Such a sum is
    computed again from the digits of y and f, with the exponent of the largest product factored
    out.
    """
    products = y * f
    total = _sum_rows(products)
    exponent = np.zeros(total.shape, dtype=np.intp)
    doubtful = np.flatnonzero(np.abs(total) < _LEAST_SURE_SUM)
    if doubtful.size:
        y_part = np.broadcast_to(y, f.shape)[doubtful]
        (y_digits, y_exponents), (f_digits, f_exponents) = np.frexp(y_part), np.frexp(f[doubtful])
        digits, exponents = y_digits * f_digits, y_exponents + f_exponents
        top = np.max(exponents, axis=-1, where=digits != 0, initial=_LEAST_EXPONENT)
        total[doubtful] = _sum_rows(np.ldexp(digits, exponents - top[:, np.newaxis]))
        exponent[doubtful] = top
    return total, exponent


def _fit_line(
    y: FloatArray, f: FloatArray, constant_y: BoolArray, constant_f: BoolArray
) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Fit a line through (f, y) by least squares; y and f come without their powers of two.

    Returns scale, offset and an exponent: the slope is scale times 2**exponent.
    """
    n = y.shape[-1]
    y_mean = _average(y, constant_y)
    f_mean = _sum_rows(f) / n
    f_centred, y_centred = f - f_mean[:, np.newaxis], y - y_mean[:, np.newaxis]
    # The rounded mean leaves a rest. On ordinary curves it is 0, and the plain formula holds to
    # the bit. Between neighbouring floats the rest is all that is left of the curve, so it is
    # taken out (the corrected two-pass formula).
    f_rest, y_rest = _sum_rows(f_centred) / n, _sum_rows(y_centred) / n
    products, exponent = _sum_products(y_centred, f_centred)
    squares = _sum_rows(np.multiply(f_centred, f_centred, out=f_centred))
    f_rest = np.where(n * f_rest * f_rest > _LEAST_REST_SHARE * squares, f_rest, 0.0)
    products = products - np.ldexp(n * f_rest * y_rest, -exponent)
    scale = np.where(constant_f, 0.0, products / (squares - n * f_rest * f_rest))
    slope = np.ldexp(scale, exponent)
    offset = np.where(constant_f, y_mean, y_mean - slope * f_mean - slope * f_rest)
    return scale, offset, exponent


def _average(rows: FloatArray, constant: BoolArray) -> FloatArray:
    """Compute the mean of each row, exact for a constant one."""
    return np.where(constant, rows[:, 0], _sum_rows(rows) / rows.shape[-1])


def _find_shift(rows: FloatArray) -> tuple[IndexArray, BoolArray]:
    """Find the power of two to take out of each row, and whether the row is constant."""
    highest, lowest = np.maximum.reduce(rows, axis=-1), np.minimum.reduce(rows, axis=-1)
    return count_excess_bits(np.maximum(highest, -lowest)), highest == lowest
