"""The best library curves found so far, for each training curve.

Merging two rankings is associative and commutative, so the library may be cut into pieces and
ordered in any way, and the answer has the same bits.
"""

from __future__ import annotations

import numpy as np

from services.grids import BoolArray, IndexArray
from services.scoring.scores import FIGURES, Figures
from services.tables import FloatArray

NOBODY = np.iinfo(np.int64).max
"""Index of a place in a ranking that no curve has is_taken yet."""


Ranking = Figures
"""For each training curve its best library curves, shape (k, places), best first."""


def empty_ranking(curves: int, places: int) -> Ranking:
    """Ranking in which nobody has a place.

    Parameters
    ----------
    curves : int
        Training curves.
    places : int
        Matches to keep of each.

    Returns
    -------
    ndarray of shape (curves, places) of FIGURES
        All places free.
    """
    ranking = np.zeros((curves, places), FIGURES)
    ranking["score"], ranking["index"] = np.inf, NOBODY
    return ranking


def is_taken(ranking: Ranking) -> BoolArray:
    """Which places of a ranking have a curve.

    Parameters
    ----------
    ranking : Ranking
        Of any shape.

    Returns
    -------
    ndarray of bool
        Of the same shape.
    """
    return np.asarray(ranking["index"] != NOBODY)


def score_limits(ranking: Ranking, top_k: int) -> FloatArray:
    """Score that a curve must not exceed to enter; a free place admits everything.

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
    return sort_key(ranking["score"][:, -1])


def sort_key(score: FloatArray) -> FloatArray:
    """Scores as they are ranked: those that are not finite come last, all equal.

    Parameters
    ----------
    score : ndarray
        Scores.

    Returns
    -------
    ndarray
        Finite or infinite, never NaN.
    """
    return np.where(np.isfinite(score), score, np.inf)


def merge(left: Ranking, right: Ranking, top_k: int) -> Ranking:
    """Put the rankings of two pieces of the library together.

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
        return _best(np.concatenate([left, right], axis=1), top_k)
    # Most pieces have news for few curves.
    news = np.flatnonzero(is_taken(right).any(axis=1))
    if not news.size:
        return left
    merged = left.copy()
    merged[news] = _best(np.concatenate([left[news], right[news]], axis=1), top_k)
    return merged


def _best(ranking: Ranking, top_k: int) -> Ranking:
    order = np.lexsort((ranking["index"], sort_key(ranking["score"])), axis=-1)[:, :top_k]
    return np.take_along_axis(ranking, order, axis=1)


def rank(
    rows: IndexArray, score: FloatArray, index: IndexArray, places: int
) -> tuple[IndexArray, IndexArray]:
    """Best pairs of each training curve.

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
        # One pair for each, mostly.
        return np.arange(len(rows)), np.zeros(len(rows), np.intp)
    order = np.lexsort((index, sort_key(score), rows))
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered)
    place = np.arange(len(order)) - first
    best = place < places
    return order[best], place[best]
