"""Largest and mean deviations: a few numbers of each curve rule most pairs out.

docs/bounds.md, 8. A distance says little about these scores. But the largest deviation at some
x is never more than the largest of all, and the sum over a segment of the curve never more
than the sum of the deviations there.
"""

from __future__ import annotations

import numpy as np

from services.blocks import sort_key
from services.groups import Group, Scored, plain
from services.scores import FitOptions, scores
from services.tables import FloatArray

_DOUBLE = 2.0**-53

_LARGEST = 2.0**1000
"""Sums of larger numbers might overflow."""

_NUMBERS = {"max": 48, "mae": 32}
"""Numbers of each curve, by criterion."""

_LEAVES = 1 / 4
"""Share of the curves left from which on scoring them all is better."""


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
    values, n = group.read(curves), group.y.shape[1]
    with np.errstate(all="ignore"):
        few, of_library = _few(group.y, options), np.ascontiguousarray(_few(values, options).T)
        lost = _lost(group.y, values, options)
        found = []
        for row in range(len(few)):
            least = _least(few[row], of_library, options)
            if options.criterion == "mae":
                least = (least * (1 - (8 * n + 16) * _DOUBLE) - lost) / n
            most = _within(group, row, (values, least), limit[row], options)
            near = np.flatnonzero(~(least > most))
            # NaN is kept above: that are curves with gaps, mostly.
            if len(near) > _LEAVES * len(curves) or np.isnan(least[near]).any():
                return plain(group, curves, limit, options)
            rows = np.full(len(near), row)
            score = scores(group.y[row], values[near], options)
            inside = sort_key(score) <= most
            found.append((rows[inside], near[inside], score[inside]))
    rows, columns, score = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, columns, score


def _few(curves: FloatArray, options: FitOptions) -> FloatArray:
    """Values at some x, or sums over segments."""
    step = -(-curves.shape[1] // _NUMBERS[options.criterion])
    if options.criterion == "max":
        return curves[:, ::step]
    return np.add.reduceat(curves, np.arange(0, curves.shape[1], step), axis=1)


def _lost(y: FloatArray, values: FloatArray, options: FitOptions) -> float:
    """More than rounding can add to the sums over segments."""
    if options.criterion == "max":
        return 0.0
    n = y.shape[1]
    largest = np.max(np.abs(y)) + max(np.max(values), -np.min(values))
    # Sums that overflow say nothing.
    return float(4 * n * n * _DOUBLE * largest) if n * largest < _LARGEST else np.inf


def _least(y: FloatArray, of_library: FloatArray, options: FitOptions) -> FloatArray:
    """Least deviation of each library curve that these numbers leave possible."""
    combine = np.maximum if options.criterion == "max" else np.add
    least: FloatArray = np.abs(of_library[0] - y[0])
    space = np.empty_like(least)
    for value, row in zip(y[1:].tolist(), of_library[1:], strict=True):
        np.subtract(row, value, out=space)
        np.abs(space, out=space)
        combine(least, space, out=least)
    return least


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
