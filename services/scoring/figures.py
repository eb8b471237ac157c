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
    length: FloatArray
    """Square root of the sum of the squares of `rows`."""


class TrainingShape(NamedTuple):
    """All that the figures need of training curves alone, computed once for all their matches.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        The curves. [unit of y]
    """

    y: FloatArray
    shape: _Shape
    spread: FloatArray
    """Sum of squares about the mean, for r2."""
    size: FloatArray
    """Largest magnitude."""
    is_decided: BoolArray
    """Whether one number holds most of the sum of squares about the mean."""

    def take(self, places: IndexArray) -> TrainingShape:
        """Take one of the curves for each place; some may be taken more than once."""
        rows, shift, is_constant, centred, squares, length = self.shape
        shape = _Shape(
            rows[places],
            shift[places],
            is_constant[places],
            centred[places],
            squares[places],
            length[places],
        )
        decided = self.is_decided[places]
        return TrainingShape(self.y[places], shape, self.spread[places], self.size[places], decided)


def measure_training(y: FloatArray) -> TrainingShape:
    """Compute all that the figures need of training curves alone.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Training curves, complete. [unit of y]

    Returns
    -------
    TrainingShape
    """
    with np.errstate(all="ignore"):
        shape = _read_shape(y)
        spread = shape.rows - _mean_column(shape.rows)
        largest = np.maximum.reduce(np.abs(shape.centred), axis=-1)
        return TrainingShape(
            y,
            shape,
            sum_rows(np.multiply(spread, spread, out=spread)),
            np.maximum.reduce(np.abs(shape.rows), axis=-1),
            _holds_most(largest, shape.squares) & ~shape.is_constant,
        )


def compute_figures(
    training: TrainingShape, f: FloatArray, whole: FloatArray, options: FitOptions
) -> Figures:
    """Compute all figures of pairs of curves.

    Parameters
    ----------
    training : TrainingShape
        Of m training curves, one for each row of f.
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
    y = training.y
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
        _add_likeness(found, training, _read_shape(f), r)
        if fits_scale(options.transform):
            _doubt_scale(found, f, whole, options)
    return found


def _read_shape(curves: FloatArray) -> _Shape:
    shift, is_constant = find_shift(curves)
    rows = put_back(curves, -shift)
    centred = rows - _mean_column(rows)
    centred -= _mean_column(centred)
    squares, length = sum_rows(centred * centred), np.sqrt(sum_rows(rows * rows))
    return _Shape(rows, shift, is_constant, centred, squares, length)


def _mean_column(rows: FloatArray) -> FloatArray:
    return np.asarray(sum_rows(rows) / rows.shape[-1])[:, np.newaxis]


def _add_likeness(found: Figures, training: TrainingShape, f: _Shape, size: FloatArray) -> None:
    """Add all that does not depend on the options; `size` is the magnitude of r."""
    y = training.shape
    is_constant = y.is_constant | f.is_constant
    found["correlation"] = _divide(y.centred, f.centred, np.sqrt(y.squares) * np.sqrt(f.squares))
    found["correlation"][is_constant] = np.nan
    found["cosine"] = _divide(y.rows, f.rows, y.length * f.length)
    n, mae = size.shape[-1], found["mae"]
    squares, shift = found["sse"], count_excess_bits(found["max_deviation"])
    if shift.any():
        size = put_back(size, -shift)
        squares = sum_rows(size * size)
        found["mae"] = np.where(np.isfinite(mae), mae, np.ldexp(sum_rows(size) / n, shift))
    found["rmse"] = np.ldexp(np.sqrt(squares / n), shift)
    found["r2"] = _compute_r2(training, squares, shift)
    is_residual = _is_residual(found["max_deviation"], training)
    # The largest residual is known, but for its power of two.
    largest = np.ldexp(found["max_deviation"], -shift)
    decides = training.is_decided | (_holds_most(largest, squares) & is_residual)
    _doubt(found, "one_point_decides", decides)
    _doubt(found, "constant_curve", is_constant)
    _doubt(found, "inverted", found["scale"] < 0)
    _doubt(found, "worse_than_mean", found["r2"] < 0)


def _divide(y: FloatArray, f: FloatArray, lengths: FloatArray) -> FloatArray:
    """Divide Σyf by the product of the lengths of both, NaN where it is 0."""
    products, exponent = sum_products(y, f)
    # Adding 0.0 makes -0.0 positive.
    return np.asarray(np.clip(np.ldexp(products / lengths, exponent), -1, 1) + 0.0)


def _compute_r2(training: TrainingShape, squares: FloatArray, shift: IndexArray) -> FloatArray:
    """Compute 1 - Σr² / Σ(y - ȳ)², NaN where y is constant.

    `squares` is Σr² with 2^shift factored out of r; powers of two are factored out of y alike.
    """
    y = training.shape
    r2 = 1 - np.ldexp(squares / training.spread, 2 * (shift - y.shift))
    r2[y.is_constant] = np.nan
    return np.asarray(r2)


def _holds_most(largest: FloatArray, squares: FloatArray) -> BoolArray:
    """Tell whether the square of the largest number is most of a sum of squares."""
    return np.asarray(largest * largest > _DECISIVE_SHARE * squares)


def _is_residual(largest: FloatArray, training: TrainingShape) -> BoolArray:
    """Tell whether the largest residual is more than rounding of y."""
    least = np.ldexp(training.size, -_LEAST_RESIDUAL_BITS)
    return np.asarray(np.ldexp(largest, -training.shape.shift) > least)


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
