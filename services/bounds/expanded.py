"""Pairs of few curves: expanded squares propose, without descriptions of the curves.

docs/bounds.md, 7. For four training curves and fifty of a library, call overhead dominates, so
this path makes few NumPy calls.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.bounds.propose import ScoresOnce
from services.bounds.rounding import (
    DOUBLE_ROUNDOFF,
    LARGEST_SQUARE,
    UNDERFLOW_OF_DOUBLE,
    radius,
)
from services.scoring.options import FitOptions
from services.scoring.training import Group, Pairs, ScoredPairs, score_plainly
from services.tables import FloatArray


class ExpandedSquares(NamedTuple):
    """Products of k training curves and m library curves.

    Parameters
    ----------
    likeness : ndarray of shape (k, m)
        y·f - f²/2, largest for the pair with the least distance.
    squares : ndarray of shape (k,)
        Squares of the training curves.
    largest : float
        Largest square of the library curves.
    n : int
        Points of a curve.
    """

    likeness: FloatArray
    squares: FloatArray
    largest: float
    n: int


def propose_expanded(
    group: Group, curves: FloatArray, limits: FloatArray, options: FitOptions
) -> ScoredPairs:
    """Propose pairs by their expanded squares, and score them.

    Parameters
    ----------
    group : Group
        k training curves.
    curves : ndarray of shape (m, n)
        Library curves. [unit of y]
    limits : ndarray of shape (k,)
        Scores that must not be exceeded.
    options : FitOptions

    Returns
    -------
    ScoredPairs
        Pairs within the limits that could be among the best, by training curve.
    """
    m, places = len(curves), options.places
    if (options.criterion, options.transform) == ("sse", "none") and places < m:
        with np.errstate(all="ignore"):
            expanded = expand_squares(group.y, group.read(curves))
            if expanded is not None:
                scores = ScoresOnce(
                    lambda pairs: group.score(pairs.rows, curves[pairs.columns], options), m
                )
                likely = np.argpartition(expanded.likeness, -places, axis=1)[:, -places:]
                limits = np.minimum(limits, scores.find_reached(likely))
                near = find_within(expanded, limits, options)
                return ScoredPairs(*near, scores.look_up(near))
    return score_plainly(group, curves, limits, options)


def expand_squares(y: FloatArray, f: FloatArray) -> ExpandedSquares | None:
    """Expand the squares of the differences of all pairs.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        Training curves. [unit of y]
    f : ndarray of shape (m, n)
        Library curves. [unit of y]

    Returns
    -------
    ExpandedSquares or None
        None if numbers are too large, or missing.
    """
    own, squares = np.vecdot(y, y), np.vecdot(f, f)
    largest = np.maximum.reduce(squares)
    if not largest + np.maximum.reduce(own) < LARGEST_SQUARE:
        return None
    likeness = y @ f.T
    likeness -= 0.5 * squares
    return ExpandedSquares(likeness, own, largest, y.shape[1])


def find_within(expanded: ExpandedSquares, limits: FloatArray, options: FitOptions) -> Pairs:
    """Find the pairs whose score can be within a limit.

    Parameters
    ----------
    expanded : ExpandedSquares
        k training curves and m of a library.
    limits : ndarray of shape (k,)
        Scores that must not be exceeded.
    options : FitOptions
        Criterion ``sse``, without a transform.

    Returns
    -------
    Pairs
        By training curve.
    """
    likeness, own, largest, n = expanded
    square = radius(limits, n, options)
    square *= square
    rounding = (2 * n + 20) * DOUBLE_ROUNDOFF
    floor = 0.5 * (own - square) - rounding * (own + largest + square) - UNDERFLOW_OF_DOUBLE
    return Pairs(*(~(likeness < floor[:, np.newaxis])).nonzero())
