"""Largest and mean deviations: cheap bounds rule most pairs out.

docs/bounds.md, 8. A distance says little about these scores. But the largest deviation at some
x is never more than the largest of all, and the sum over a segment of the curve never more
than the sum of the deviations there. Where these few numbers tell too little apart, as on
noise, the score itself is computed in single precision, which takes half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import assert_never

import numpy as np

from services.grids import BoolArray
from services.scoring.options import Criterion, FitOptions
from services.scoring.ranking import sort_key
from services.scoring.scores import scores, tiles
from services.scoring.training import Group, Scored, plain
from services.tables import FloatArray

_DOUBLE = 2.0**-53
_SINGLE = 2.0**-24

_LARGEST = 2.0**1000
"""Sums of larger numbers might overflow."""

_LARGEST_SINGLE = 2.0**60
"""Larger numbers are left to the plain scores; sums of smaller ones stay within float32."""

_UNDERFLOW = 2.0**-120
"""More than underflow can take from a number in single precision."""

_NUMBERS_OF_LARGEST, _NUMBERS_OF_SUMS = 48, 32
"""Numbers of each curve, by criterion."""

_LEAVES = 1 / 4
"""Share of the curves left from which on another way is better."""

Bound = Callable[[FloatArray, FloatArray, FitOptions], Iterator[FloatArray]]
"""For each training curve the least score that each library curve can have."""


def sieved(group: Group, curves: FloatArray, limit: FloatArray, options: FitOptions) -> Scored:
    """Pairs within a limit that could be among the best, by the largest or mean deviation.

    Parameters
    ----------
    group : Group
        k training curves.
    curves : ndarray of shape (m, n)
        Library curves. [unit of y]
    limit : ndarray of shape (k,)
        Scores that must not be exceeded.
    options : FitOptions
        How curves are compared: by ``max`` or ``mae``, no transform.

    Returns
    -------
    tuple of three ndarray
        Rows of the training curves, ascending; rows of the library curves; scores.
    """
    values = group.read(curves)
    with np.errstate(all="ignore"):
        for bound in (by_few_numbers, by_single_precision):
            scored = _left(group, values, bound, limit, options)
            if scored is not None:
                return scored
    return plain(group, curves, limit, options)


def _left(
    group: Group, values: FloatArray, bound: Bound, limit: FloatArray, options: FitOptions
) -> Scored | None:
    """Pairs that a bound leaves, with their scores; None where it leaves too many."""
    found = []
    for row, least in enumerate(bound(group.y, values, options)):
        most = _within(group, row, (values, least), limit[row], options)
        near: BoolArray = ~(least > most)
        # NaN is kept above: that are curves with gaps, mostly.
        if np.count_nonzero(near) > _LEAVES * len(values) or np.isnan(least[near]).any():
            return None
        columns = np.flatnonzero(near)
        score = scores(group.y[row], values[columns], options)
        inside = sort_key(score) <= most
        found.append((np.full(len(columns), row)[inside], columns[inside], score[inside]))
    rows, columns, score = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, columns, score


def by_few_numbers(y: FloatArray, f: FloatArray, options: FitOptions) -> Iterator[FloatArray]:
    """Bound scores by values at some x, or by sums over segments.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        Training curves. [unit of y]
    f : ndarray of shape (m, n)
        Library curves. [unit of y]
    options : FitOptions
        How curves are compared.

    Yields
    ------
    ndarray of shape (m,)
        For each training curve, what no plain score is below; NaN where nothing is proven.
    """
    n = y.shape[1]
    of_training, of_library = _few(y, options), np.ascontiguousarray(_few(f, options).T)
    lost = _lost(y, f, options)
    for row in of_training:
        least = _least(row, of_library, options)
        if not _takes_largest(options.criterion):
            least = (least * (1 - (8 * n + 16) * _DOUBLE) - lost) / n
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


def _few(curves: FloatArray, options: FitOptions) -> FloatArray:
    """Values at some x, or sums over segments."""
    n = curves.shape[1]
    if _takes_largest(options.criterion):
        return curves[:, :: -(-n // _NUMBERS_OF_LARGEST)]
    step = -(-n // _NUMBERS_OF_SUMS)
    return np.add.reduceat(curves, np.arange(0, n, step), axis=1)


def _lost(y: FloatArray, values: FloatArray, options: FitOptions) -> float:
    """More than rounding can add to the sums over segments."""
    if _takes_largest(options.criterion):
        return 0.0
    n = y.shape[1]
    largest = _largest(y) + _largest(values)
    # Sums that overflow say nothing.
    return float(4 * n * n * _DOUBLE * largest) if n * largest < _LARGEST else np.inf


def _largest(curves: FloatArray) -> float:
    return float(max(np.max(curves), -np.min(curves)))


def _least(y: FloatArray, of_library: FloatArray, options: FitOptions) -> FloatArray:
    """Least deviation of each library curve that these numbers leave possible."""
    combine = np.maximum if _takes_largest(options.criterion) else np.add
    least: FloatArray = np.abs(of_library[0] - y[0])
    space = np.empty_like(least)
    for value, row in zip(y[1:].tolist(), of_library[1:], strict=True):
        np.subtract(row, value, out=space)
        np.abs(space, out=space)
        combine(least, space, out=least)
    return least


def by_single_precision(y: FloatArray, f: FloatArray, options: FitOptions) -> Iterator[FloatArray]:
    """Bound scores by those in single precision, about a common middle.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        Training curves. [unit of y]
    f : ndarray of shape (m, n)
        Library curves. [unit of y]
    options : FitOptions
        How curves are compared.

    Yields
    ------
    ndarray of shape (m,)
        For each training curve, what no plain score is below; NaN where nothing is proven.
    """
    n, middle = y.shape[1], _middle(f)
    y, f = y - middle, f - middle
    largest = _largest(y) + _largest(f)
    if not largest < _LARGEST_SINGLE:
        yield from np.full((len(y), len(f)), np.nan)
        return
    rounding, lost = 3 * _SINGLE, 2.1 * _SINGLE * largest + _UNDERFLOW
    if not _takes_largest(options.criterion):
        rounding += n * _SINGLE
    deviation = _deviations(y.astype(np.float32), f.astype(np.float32), options)
    for row in deviation:
        yield row * (1 - 1.1 * rounding) - lost


def _middle(f: FloatArray) -> float:
    """Somewhere within the curves; whatever it is, it changes no difference."""
    middle = float(f[0, 0])
    return middle if abs(middle) < _LARGEST_SINGLE else 0.0


def _deviations(y: FloatArray, f: FloatArray, options: FitOptions) -> FloatArray:
    """Largest or mean deviations in the precision of the curves, shape (k, m), as float64."""
    found = np.empty((len(y), len(f)), y.dtype)
    ones = np.ones(f.shape[1], y.dtype)
    for part in tiles(f.shape):
        space = np.empty_like(f[part])
        for row, curve in enumerate(y):
            np.abs(np.subtract(f[part], curve, out=space), out=space)
            if _takes_largest(options.criterion):
                np.maximum.reduce(space, axis=-1, out=found[row, part])
            else:
                # The bound holds for a sum in any order, so the fastest will do.
                np.matmul(space, ones, out=found[row, part])
    least = found.astype(np.float64)
    return least / f.shape[1] if not _takes_largest(options.criterion) else least


def _within(
    group: Group,
    row: int,
    library: tuple[FloatArray, FloatArray],
    limit: float,
    options: FitOptions,
) -> float:
    """The limit, lowered by the scores of the likeliest curves."""
    values, least = library
    if len(least) <= options.top_k:
        return limit
    likely = np.argpartition(least, options.top_k - 1)[: options.top_k]
    return min(limit, float(sort_key(scores(group.y[row], values[likely], options)).max()))
