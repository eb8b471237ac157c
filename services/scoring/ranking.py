"""The best library curves found so far, for each training curve.

Merging rankings is associative and commutative, so the library may be cut and ordered in any
way without changing a bit of the answer.
"""

from __future__ import annotations

import numpy as np

from services.grids import BoolArray, IndexArray
from services.scoring.matches import FIGURES, Figures
from services.tables import FloatArray

NO_CURVE = np.iinfo(np.int64).max
"""Position that stands in a place of a ranking while no curve has it."""

Ranking = Figures
"""Best library curves of each training curve, shape (k, places), best first."""


def make_empty_ranking(curves: int, places: int) -> Ranking:
    """Make a ranking in which every place is free.

    Parameters
    ----------
    curves : int
        Training curves.
    places : int
        Matches to keep of each.

    Returns
    -------
    ndarray of shape (curves, places) of FIGURES
    """
    ranking = np.zeros((curves, places), FIGURES)
    ranking["score"], ranking["ideal_index"] = np.inf, NO_CURVE
    return ranking


def is_taken(ranking: Ranking) -> BoolArray:
    """Tell which places of a ranking, or of a part of one, have a curve."""
    return np.asarray(ranking["ideal_index"] != NO_CURVE)


def score_limits(ranking: Ranking, top_k: int) -> FloatArray:
    """Read the score that a curve must not exceed to enter a ranking.

    Parameters
    ----------
    ranking : Ranking
        Shape (k, places).
    top_k : int
        Matches to keep.

    Returns
    -------
    ndarray of shape (k,)
        The last score of each row, infinite while there is a free place.
    """
    if ranking.shape[1] < top_k:
        return np.full(len(ranking), np.inf)
    return make_sort_key(ranking["score"][:, -1])


def make_sort_key(score: FloatArray) -> FloatArray:
    """Turn scores into keys to sort by: infinity, never NaN, for those that are not finite."""
    return np.where(np.isfinite(score), score, np.inf)


def merge(left: Ranking, right: Ranking, top_k: int) -> Ranking:
    """Merge the rankings of two parts of a library.

    Parameters
    ----------
    left, right : Ranking
        Of the same training curves.
    top_k : int
        Matches to keep.

    Returns
    -------
    Ranking
        The best of both: by score, equal scores by position in the library.
    """
    if not left.shape[1] and right.shape[1] <= top_k:
        return right
    if left.shape[1] < top_k:
        return _keep_best(np.concatenate([left, right], axis=1), top_k)
    # Most parts change the ranking of few training curves.
    news = np.flatnonzero(is_taken(right).any(axis=1))
    if not news.size:
        return left
    merged = left.copy()
    merged[news] = _keep_best(np.concatenate([left[news], right[news]], axis=1), top_k)
    return merged


def _keep_best(ranking: Ranking, top_k: int) -> Ranking:
    order = np.lexsort((ranking["ideal_index"], make_sort_key(ranking["score"])), axis=-1)[
        :, :top_k
    ]
    return np.take_along_axis(ranking, order, axis=1)


def choose_best(
    rows: IndexArray, score: FloatArray, index: IndexArray, places: int
) -> tuple[IndexArray, IndexArray]:
    """Choose the best pairs of each training curve.

    Parameters
    ----------
    rows : ndarray of shape (p,)
        Training curve of each pair.
    score : ndarray of shape (p,)
        Its score.
    index : ndarray of shape (p,)
        Position of its library curve.
    places : int
        Pairs to keep of each training curve.

    Returns
    -------
    pairs : ndarray
        The chosen pairs, by training curve, then rank.
    place : ndarray
        Place of each in the ranking of its curve, from 0.
    """
    if (rows[1:] > rows[:-1]).all():
        # The usual case: at most one pair for each training curve.
        return np.arange(len(rows)), np.zeros(len(rows), np.intp)
    order = np.lexsort((index, make_sort_key(score), rows))
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered)
    place = np.arange(len(order)) - first
    best = place < places
    return order[best], place[best]
