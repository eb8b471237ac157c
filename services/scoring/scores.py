"""The decision: plain float64 differences of a few pairs of curves, and all their figures.

The definitions are in docs/method.md: Transform, Criterion, Ranking. Whatever proposes pairs
(services/bounds/product.py), what is computed here is the answer, to the bit.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from services.grids import BoolArray, IndexArray
from services.scoring.options import Criterion, FitOptions, Transform, fits_offset, fits_scale
from services.tables import FloatArray

_SAFE_EXPONENT = 400
"""Numbers below 2**400 can be squared, and millions of squares added, within float64."""

_LOST = 2.0**-900
"""Below it a sum of products may have lost terms, or digits of them, to underflow."""

_LEAST_EXPONENT = -2147
"""Exponent of the product of the two smallest floats."""

_REST = 2.0**-40
"""Share of the squares from which on the rest of a rounded mean would show in the scale."""

_TILE = 1 << 19
"""Bytes of differences held at once, so that they stay in the processor's cache."""

FIGURES = np.dtype(
    [
        ("score", "<f8"),
        ("index", "<i8"),
        ("sse", "<f8"),
        ("rmse", "<f8"),
        ("mae", "<f8"),
        ("max_deviation", "<f8"),
        ("r2", "<f8"),
        ("n", "<i8"),
        ("scale", "<f8"),
        ("offset", "<f8"),
    ]
)
"""One library curve in a ranking; r2 is NaN where y is constant, and no zero has a sign."""

Figures = NDArray[np.void]


def _figure_ranked_by(criterion: Criterion) -> str:
    match criterion:
        case "sse" | "mae":
            return criterion
        case "max":
            return "max_deviation"
        case _:
            assert_never(criterion)


def scores(y: FloatArray, f: FloatArray, options: FitOptions) -> FloatArray:
    """Score each row of f.

    Parameters
    ----------
    y : ndarray of shape (n,) or (m, n)
        One training curve for all rows, or one for each. [unit of y]
    f : ndarray of shape (m, n)
        Library curves, complete and C-contiguous. [unit of y]
    options : FitOptions
        Criterion, transform, and whether scores are means (``min_overlap`` below 1).

    Returns
    -------
    ndarray of shape (m,)
        Scores, infinite or NaN where float64 cannot hold them.
    """
    with np.errstate(all="ignore"):
        return _scores(y, f, options)


def _scores(y: FloatArray, f: FloatArray, options: FitOptions) -> FloatArray:
    n = f.shape[-1]
    if options.transform == "none":
        r = y - f
    else:
        scale, offset = family(y, f, options.transform)
        r = y - (scale[:, np.newaxis] * f + offset[:, np.newaxis])
    # `reduce` is what np.max and np.sum come to, without their checks of the arguments.
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


def all_scores(y: FloatArray, f: FloatArray, options: FitOptions) -> FloatArray:
    """Score every pair.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        Training curves. [unit of y]
    f : ndarray of shape (m, n)
        Library curves, complete and C-contiguous. [unit of y]
    options : FitOptions
        As for `scores`.

    Returns
    -------
    ndarray of shape (k, m)
        Scores.
    """
    result = np.empty((len(y), len(f)))
    with np.errstate(all="ignore"):
        for part in tiles(f.shape):
            for row, curve in enumerate(y):
                result[row, part] = _scores(curve, f[part], options)
    return result


def tiles(shape: tuple[int, ...]) -> list[slice]:
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
    step = max(1, _TILE // (8 * shape[1]))
    return [slice(start, start + step) for start in range(0, shape[0], step)]


def figures(y: FloatArray, f: FloatArray, options: FitOptions) -> Figures:
    """All figures of pairs of curves.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Training curves, one for each row of f. [unit of y]
    f : ndarray of shape (m, n)
        Library curves, complete and C-contiguous. [unit of y]
    options : FitOptions
        As for `scores`.

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
            scale, offset = family(y, f, options.transform)
            # Adding 0.0 makes -0.0 positive; r is the same with either.
            found["scale"], found["offset"] = scale + 0.0, offset + 0.0
            r = y - (scale[:, np.newaxis] * f + offset[:, np.newaxis])
        sse = _sum(r * r)
        np.abs(r, out=r)
        found["sse"], found["mae"] = sse, _sum(r) / n
        found["max_deviation"] = np.maximum.reduce(r, axis=-1)
        # The same sums of the same residuals as in `scores`, so the same bits.
        name = _figure_ranked_by(options.criterion)
        mean = options.criterion == "sse" and options.min_overlap < 1
        found["score"] = found[name] / n if mean else found[name]
        _add_figures(found, y, r)
    return found


def _add_figures(found: Figures, y: FloatArray, size: FloatArray) -> None:
    """Add rmse and r2, and mae where only its sum overflows; `size` is the magnitude of r."""
    n = size.shape[-1]
    squares, shift = found["sse"], _excess(found["max_deviation"])
    if shift.any():
        size = _unscaled(size, shift)
        squares = _sum(size * size)
        mae = found["mae"]
        found["mae"] = np.where(np.isfinite(mae), mae, np.ldexp(_sum(size) / n, shift))
    found["rmse"] = np.ldexp(np.sqrt(squares / n), shift)
    found["r2"] = _r2(y, squares, shift)


def _r2(y: FloatArray, squares: FloatArray, shift: IndexArray) -> FloatArray:
    """Compute 1 - Σr² / Σ(y - ȳ)², NaN where y is constant.

    `squares` is Σr² with 2^shift factored out of r; powers of two are factored out of y alike.
    """
    y_shift, constant = _shift(y)
    y = _unscaled(y, y_shift)
    spread = y - (_sum(y) / y.shape[-1])[:, np.newaxis]
    share = squares / _sum(np.multiply(spread, spread, out=spread))
    r2 = 1 - np.ldexp(share, 2 * (shift - y_shift))
    r2[constant] = np.nan
    return np.asarray(r2)


def family(y: FloatArray, f: FloatArray, transform: Transform) -> tuple[FloatArray, FloatArray]:
    """Scale and offset, by least squares, of each row of f (docs/method.md, Transform).

    Parameters
    ----------
    y : ndarray of shape (n,) or (m, n)
        One training curve for all rows, or one for each. [unit of y]
    f : ndarray of shape (m, n)
        Library curves, complete and C-contiguous. [unit of y]
    transform : str
        The family.

    Returns
    -------
    scale, offset : ndarray of shape (m,)
        The member that stands for f.
    """
    if not (fits_scale(transform) or fits_offset(transform)):
        return np.ones(len(f)), np.zeros(len(f))
    y = np.atleast_2d(y)
    (y_shift, constant_y), (f_shift, constant_f) = _shift(y), _shift(f)
    if not fits_scale(transform):
        y_shift = f_shift = np.maximum(y_shift, f_shift)
    # Powers of two change no digit, so ordinary curves, whose shifts are 0, are as they were.
    y, f = _unscaled(y, y_shift), _unscaled(f, f_shift)
    if not fits_scale(transform):
        return np.ones(len(f)), np.ldexp(_sum(y - f) / f.shape[-1], y_shift)
    if not fits_offset(transform):
        products, exponent = _sum_of_products(y, f)
        squares = _sum(f * f)
        scale = np.ldexp(products / squares, exponent + y_shift - f_shift)
        return np.where(squares == 0, 0.0, scale), np.zeros(len(f))
    scale, offset, exponent = _affine(y, f, constant_y, constant_f)
    return np.ldexp(scale, exponent + y_shift - f_shift), np.ldexp(offset, y_shift)


def _unscaled(rows: FloatArray, shift: IndexArray) -> FloatArray:
    return np.ldexp(rows, -shift[:, np.newaxis]) if shift.any() else rows


def _sum(rows: FloatArray) -> FloatArray:
    """What np.sum gives, without its checks of the arguments."""
    return np.asarray(np.add.reduce(rows, axis=-1))


def _sum_of_products(y: FloatArray, f: FloatArray) -> tuple[FloatArray, IndexArray]:
    """Sum y·f over each row, as a number and a power of two.

    The power is 0 but for a sum so small that its terms may have underflowed. That is computed
    again from the digits of y and f, with the exponent of the largest product factored out.
    """
    products = y * f
    total = _sum(products)
    exponent = np.zeros(total.shape, dtype=np.intp)
    doubtful = np.flatnonzero(np.abs(total) < _LOST)
    if doubtful.size:
        y_part = np.broadcast_to(y, f.shape)[doubtful]
        (y_digits, y_exponents), (f_digits, f_exponents) = np.frexp(y_part), np.frexp(f[doubtful])
        digits, exponents = y_digits * f_digits, y_exponents + f_exponents
        top = np.max(exponents, axis=-1, where=digits != 0, initial=_LEAST_EXPONENT)
        total[doubtful] = _sum(np.ldexp(digits, exponents - top[:, np.newaxis]))
        exponent[doubtful] = top
    return total, exponent


def _affine(
    y: FloatArray, f: FloatArray, constant_y: BoolArray, constant_f: BoolArray
) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Line through (f, y) by least squares; y and f are given without their powers of two.

    The scale comes without a power of two of its own, mostly 0, which is the third part.
    """
    n = y.shape[-1]
    y_mean = np.where(constant_y, y[:, 0], _sum(y) / n)
    f_mean = _sum(f) / n
    f_centred, y_centred = f - f_mean[:, np.newaxis], y - y_mean[:, np.newaxis]
    # The rounded mean leaves a rest. On ordinary curves it is nothing, and the plain formula
    # stands to the bit; between neighbouring floats it is all there is, and is taken out
    # (the corrected two-pass formula).
    f_rest, y_rest = _sum(f_centred) / n, _sum(y_centred) / n
    products, exponent = _sum_of_products(y_centred, f_centred)
    squares = _sum(np.multiply(f_centred, f_centred, out=f_centred))
    f_rest = np.where(n * f_rest * f_rest > _REST * squares, f_rest, 0.0)
    products = products - np.ldexp(n * f_rest * y_rest, -exponent)
    scale = np.where(constant_f, 0.0, products / (squares - n * f_rest * f_rest))
    slope = np.ldexp(scale, exponent)
    offset = np.where(constant_f, y_mean, y_mean - slope * f_mean - slope * f_rest)
    return scale, offset, exponent


def _shift(rows: FloatArray) -> tuple[IndexArray, BoolArray]:
    """Power of two that takes each row into the safe range; whether all its numbers are one."""
    highest, lowest = np.maximum.reduce(rows, axis=-1), np.minimum.reduce(rows, axis=-1)
    return _excess(np.maximum(highest, -lowest)), highest == lowest


def _excess(largest: FloatArray) -> IndexArray:
    _, exponent = np.frexp(largest)
    safe = np.minimum(np.maximum(exponent, -_SAFE_EXPONENT), _SAFE_EXPONENT)
    return np.asarray(exponent - safe)
