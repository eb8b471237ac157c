"""Largest and mean deviations: cheap bounds rule most pairs out.

docs/bounds.md, 8. A distance tells little about these scores. But the largest deviation at some
x is never more than the largest of all, and the sum over a segment of the curve is never more
than the sum of the deviations there. Where these few numbers tell too little apart, as on
noise, the score itself is computed in single precision, which takes half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import assert_never

import numpy as np

from services.bounds.rounding import (
    DOUBLE_ROUNDOFF,
    LARGEST_IN_SINGLE,
    LARGEST_SUM,
    SINGLE_ROUNDOFF,
    UNDERFLOW_OF_SINGLE,
)
from services.choices import Criterion
from services.grids import BoolArray
from services.scoring.options import FitOptions
from services.scoring.ranking import make_sort_key
from services.scoring.scores import cut_into_tiles, score_rows
from services.scoring.training import Group, ScoredPairs, join_pairs, score_plainly
from services.tables import FloatArray

_NUMBERS_OF_LARGEST, _NUMBERS_OF_SUMS = 48, 32
"""Numbers of each curve that are compared first, by criterion."""

_GIVE_UP_SHARE = 1 / 4
"""Share of the curves left from which on another way is faster."""

ScoreBound = Callable[[FloatArray, FloatArray, FitOptions], Iterator[FloatArray]]
"""Yields, for each training curve, the least score that each library curve can have."""


def sieve_pairs(
    group: Group, curves: FloatArray, limits: FloatArray, options: FitOptions
) -> ScoredPairs:
    """Find and score the pairs that could be among the best by their largest or mean deviation.

    Parameters
    ----------
    group : Group
        k training curves.
    curves : ndarray of shape (m, n)
        Library curves. [unit of y]
    limits : ndarray of shape (k,)
        Scores that must not be exceeded.
    options : FitOptions
        Criterion ``max`` or ``mae``, without a transform.

    Returns
    -------
    ScoredPairs
        Pairs within the limits, by training curve.
    """
    values = group.read(curves)
    with np.errstate(all="ignore"):
        for bound in (bound_by_few_numbers, bound_by_single_precision):
            scored = _apply_bound(group, values, bound, limits, options)
            if scored is not None:
                return scored
    return score_plainly(group, curves, limits, options)


def _apply_bound(
    group: Group, values: FloatArray, bound: ScoreBound, limits: FloatArray, options: FitOptions
) -> ScoredPairs | None:
    """Score the pairs that a bound leaves, None if it leaves too many."""
    found = []
    for row, least in enumerate(bound(group.y, values, options)):
        limit = _lower_limit(limits[row], group.y[row], values, least, options)
        near: BoolArray = ~(least > limit)
        # The comparison keeps NaN; it usually marks a curve with gaps.
        if np.count_nonzero(near) > _GIVE_UP_SHARE * len(values) or np.isnan(least[near]).any():
            return None
        columns = np.flatnonzero(near)
        score = score_rows(group.y[row], values[columns], options)
        scored = ScoredPairs(np.full(len(columns), row), columns, score)
        found.append(scored.select(make_sort_key(score) <= limit))
    return join_pairs(found)


def _lower_limit(
    limit: float, y: FloatArray, values: FloatArray, least: FloatArray, options: FitOptions
) -> float:
    """Lower a limit to the scores of the likeliest curves."""
    if len(least) <= options.places:
        return limit
    likely = np.argpartition(least, options.places - 1)[: options.places]
    return min(limit, float(make_sort_key(score_rows(y, values[likely], options)).max()))


def bound_by_few_numbers(y: FloatArray, f: FloatArray, options: FitOptions) -> Iterator[FloatArray]:
    """Bound scores by the values at some x, or by sums over segments.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        Training curves. [unit of y]
    f : ndarray of shape (m, n)
        Library curves. [unit of y]
    options : FitOptions

    Yields
    ------
    ndarray of shape (m,)
        For each training curve, the least possible scores; NaN where nothing is proven.
    """
    n = y.shape[1]
    of_training = _take_few_numbers(y, options)
    of_library = np.ascontiguousarray(_take_few_numbers(f, options).T)
    lost = _bound_rounding_of_sums(y, f, options)
    for row in of_training:
        least = _bound_deviation(row, of_library, options)
        if not _takes_largest(options.criterion):
            least = (least * (1 - (8 * n + 16) * DOUBLE_ROUNDOFF) - lost) / n
        yield least


def _takes_largest(criterion: Criterion) -> bool:
    """Tell whether a score is the largest deviation, and not a mean of deviations."""
    match criterion:
        case "max":
            return True
        case "mae":
            return False
        case "sse":
            raise ValueError(criterion)
        case _:
            assert_never(criterion)


def _take_few_numbers(curves: FloatArray, options: FitOptions) -> FloatArray:
    """Take the values at some x, or sum over segments."""
    n = curves.shape[1]
    if _takes_largest(options.criterion):
        return curves[:, :: -(-n // _NUMBERS_OF_LARGEST)]
    step = -(-n // _NUMBERS_OF_SUMS)
    return np.add.reduceat(curves, np.arange(0, n, step), axis=1)


def _bound_rounding_of_sums(y: FloatArray, values: FloatArray, options: FitOptions) -> float:
    """Bound the amount that rounding can add to the sums over segments."""
    if _takes_largest(options.criterion):
        return 0.0
    n = y.shape[1]
    largest = _find_largest(y) + _find_largest(values)
    # Sums that overflow say nothing.
    return float(4 * n * n * DOUBLE_ROUNDOFF * largest) if n * largest < LARGEST_SUM else np.inf


def _find_largest(curves: FloatArray) -> float:
    return float(max(np.max(curves), -np.min(curves)))


def _bound_deviation(y: FloatArray, of_library: FloatArray, options: FitOptions) -> FloatArray:
    """Bound the deviation of each library curve from below by these numbers."""
    combine = np.maximum if _takes_largest(options.criterion) else np.add
    least: FloatArray = np.abs(of_library[0] - y[0])
    space = np.empty_like(least)
    for value, row in zip(y[1:].tolist(), of_library[1:], strict=True):
        np.subtract(row, value, out=space)
        np.abs(space, out=space)
        combine(least, space, out=least)
    return least


def bound_by_single_precision(
    y: FloatArray, f: FloatArray, options: FitOptions
) -> Iterator[FloatArray]:
    """Bound scores by those in single precision, about a common middle.

    Takes and yields the same arrays as `bound_by_few_numbers`.
    """
    n, middle = y.shape[1], _choose_middle(f)
    y, f = y - middle, f - middle
    largest = _find_largest(y) + _find_largest(f)
    if not largest < LARGEST_IN_SINGLE:
        yield from np.full((len(y), len(f)), np.nan)
        return
    rounding, lost = 3 * SINGLE_ROUNDOFF, 2.1 * SINGLE_ROUNDOFF * largest + UNDERFLOW_OF_SINGLE
    if not _takes_largest(options.criterion):
        rounding += n * SINGLE_ROUNDOFF
    deviation = _compute_deviations(y.astype(np.float32), f.astype(np.float32), options)
    for row in deviation:
        yield row * (1 - 1.1 * rounding) - lost


def _choose_middle(f: FloatArray) -> float:
    """Choose a number within the range of the curves; no difference depends on it."""
    middle = float(f[0, 0])
    return middle if abs(middle) < LARGEST_IN_SINGLE else 0.0


def _compute_deviations(y: FloatArray, f: FloatArray, options: FitOptions) -> FloatArray:
    """Compute largest or mean deviations in the precision of the curves, shape (k, m)."""
    found = np.empty((len(y), len(f)), y.dtype)
    ones = np.ones(f.shape[1], y.dtype)
    for part in cut_into_tiles(f.shape):
        space = np.empty_like(f[part])
        for row, curve in enumerate(y):
            np.abs(np.subtract(f[part], curve, out=space), out=space)
            if _takes_largest(options.criterion):
                np.maximum.reduce(space, axis=-1, out=found[row, part])
            else:
                # The bound holds for a sum in any order, so use the fastest.
                np.matmul(space, ones, out=found[row, part])
    least = found.astype(np.float64)
    return least / f.shape[1] if not _takes_largest(options.criterion) else least
