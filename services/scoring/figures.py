"""All figures of pairs of curves: statistics of the residuals, likeness, and what is doubtful.

The definitions are in docs/method.md: Criterion, Likeness, Doubts.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np

from services.choices import Criterion, MatchWarning
from services.grids import BoolArray, IndexArray
from services.powers import count_excess_bits, put_back
from services.scoring.matches import FIGURES, Figures, bit_of
from services.scoring.options import FitOptions, fits_offset, fits_scale
from services.scoring.scores import fit_family
from services.scoring.sums import (
    find_shift,
    sum_products,
    sum_rows,
)
from services.tables import FloatArray

_DECISIVE_SHARE = 0.9
"""Share of a sum of squares above which its largest term decides it."""

_LEAST_RESIDUAL_BITS = 40
"""Bits by which residuals are smaller than the curve that are mere rounding."""

_DEGENERATE_SHARE = 1e-6
"""Share of a library curve that is too little to fit a scale to."""


def _name_ranking_figure(criterion: Criterion) -> str:
    """Name the figure that is the score."""
    match criterion:
        case "sse" | "mae":
            return criterion
        case "max":
            return "max_deviation"
        case _:
            assert_never(criterion)


def compute_figures(
    y: FloatArray, f: FloatArray, whole: FloatArray, options: FitOptions
) -> Figures:
    """Compute all figures of pairs of curves.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Training curves, one for each row of f. [unit of y]
    f : ndarray of shape (m, n)
        Library curves, complete and C-contiguous. [unit of y]
    whole : ndarray of shape (m, p)
        The same library curves with all their numbers. [unit of y]
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
        sse = sum_rows(r * r)
        np.abs(r, out=r)
        found["sse"], found["mae"] = sse, sum_rows(r) / n
        found["max_deviation"] = np.maximum.reduce(r, axis=-1)
        # The same sums of the same residuals as in `score_rows`, so the same bits.
        name = _name_ranking_figure(options.criterion)
        mean = options.criterion == "sse" and options.min_overlap < 1
        found["score"] = found[name] / n if mean else found[name]
        _add_likeness(found, _read_shape(y), _read_shape(f), r)
        if fits_scale(options.transform):
            _doubt_scale(found, f, whole, options)
    return found


class _Shape(NamedTuple):
    """Curves without their powers of two, and about their mean."""

    rows: FloatArray
    """The curves, shape (m, n)."""
    shift: IndexArray
    """Power of two taken out of each."""
    is_constant: BoolArray
    """Whether all numbers of a curve are equal."""
    centred: FloatArray
    """The curves less their mean, twice: the second one is the rounding of the first."""
    squares: FloatArray
    """Sum of the squares of `centred`."""


def _read_shape(curves: FloatArray) -> _Shape:
    shift, is_constant = find_shift(curves)
    rows = put_back(curves, -shift)
    centred = rows - _mean_column(rows)
    centred -= _mean_column(centred)
    return _Shape(rows, shift, is_constant, centred, sum_rows(centred * centred))


def _mean_column(rows: FloatArray) -> FloatArray:
    return np.asarray(sum_rows(rows) / rows.shape[-1])[:, np.newaxis]


def _add_likeness(found: Figures, y: _Shape, f: _Shape, size: FloatArray) -> None:
    """Add all that does not depend on the options; `size` is the magnitude of r."""
    is_constant = y.is_constant | f.is_constant
    found["correlation"] = _divide(y.centred, f.centred, y.squares, f.squares)
    found["correlation"][is_constant] = np.nan
    found["cosine"] = _divide(y.rows, f.rows, sum_rows(y.rows * y.rows), sum_rows(f.rows * f.rows))
    n, mae = size.shape[-1], found["mae"]
    squares, shift = found["sse"], count_excess_bits(found["max_deviation"])
    if shift.any():
        size = put_back(size, -shift)
        squares = sum_rows(size * size)
        found["mae"] = np.where(np.isfinite(mae), mae, np.ldexp(sum_rows(size) / n, shift))
    found["rmse"] = np.ldexp(np.sqrt(squares / n), shift)
    found["r2"] = _compute_r2(y, squares, shift)
    decides = _is_decisive(np.abs(y.centred), y.squares) & ~y.is_constant
    decides |= _is_decisive(size, squares) & _is_residual(found["max_deviation"], y)
    _doubt(found, "one_point_decides", decides)
    _doubt(found, "constant_curve", is_constant)
    _doubt(found, "inverted", found["scale"] < 0)
    _doubt(found, "worse_than_mean", found["r2"] < 0)


def _divide(
    y: FloatArray, f: FloatArray, y_squares: FloatArray, f_squares: FloatArray
) -> FloatArray:
    """Divide Σyf by the lengths of both, NaN where one of them is 0."""
    products, exponent = sum_products(y, f)
    share = np.ldexp(products / (np.sqrt(y_squares) * np.sqrt(f_squares)), exponent)
    # Adding 0.0 makes -0.0 positive.
    return np.asarray(np.clip(share, -1, 1) + 0.0)


def _compute_r2(y: _Shape, squares: FloatArray, shift: IndexArray) -> FloatArray:
    """Compute 1 - Σr² / Σ(y - ȳ)², NaN where y is constant.

    `squares` is Σr² with 2^shift factored out of r; powers of two are factored out of y alike.
    """
    spread = y.rows - _mean_column(y.rows)
    share = squares / sum_rows(np.multiply(spread, spread, out=spread))
    r2 = 1 - np.ldexp(share, 2 * (shift - y.shift))
    r2[y.is_constant] = np.nan
    return np.asarray(r2)


def _is_decisive(size: FloatArray, squares: FloatArray) -> BoolArray:
    """Tell whether one number holds most of a sum of squares."""
    largest = np.maximum.reduce(size, axis=-1)
    return np.asarray(largest * largest > _DECISIVE_SHARE * squares)


def _is_residual(largest: FloatArray, y: _Shape) -> BoolArray:
    """Tell whether the largest residual is more than rounding of y."""
    size = np.maximum.reduce(np.abs(y.rows), axis=-1)
    least = np.ldexp(size, -_LEAST_RESIDUAL_BITS)
    return np.asarray(np.ldexp(largest, -y.shift) > least)


def _doubt_scale(found: Figures, f: FloatArray, whole: FloatArray, options: FitOptions) -> None:
    """Doubt a scale that is 0, or was fitted to too little of the library curve."""
    ends = [
        (np.maximum.reduce(f, axis=-1), np.minimum.reduce(f, axis=-1)),
        (np.fmax.reduce(whole, axis=-1), np.fmin.reduce(whole, axis=-1)),
    ]
    shift = count_excess_bits(np.maximum(ends[1][0], -ends[1][1]))
    part, all_of_it = (
        _measure(np.ldexp(high, -shift), np.ldexp(low, -shift), options) for high, low in ends
    )
    is_degenerate = (found["scale"] == 0) | (part <= _DEGENERATE_SHARE * all_of_it)
    _doubt(found, "degenerate_scale", is_degenerate)


def _measure(high: FloatArray, low: FloatArray, options: FitOptions) -> FloatArray:
    """Measure what a scale is fitted to: the span of a curve, or its size if there is no offset."""
    return high - low if fits_offset(options.transform) else np.maximum(high, -low)


def _doubt(found: Figures, word: MatchWarning, where: BoolArray) -> None:
    found["doubts"] |= where * bit_of(word)
