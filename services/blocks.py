"""The pieces that work is cut into, and how the results of two pieces become one.

A piece is some curves of a library, all of their points. Merging is associative and
commutative, so any engine may cut and order the pieces as it likes and gets the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from services.grids import BoolArray, IndexArray
from services.scores import FIGURES, Figures
from services.sketch import Basis, Sketch
from services.tables import FloatArray

NOBODY = np.iinfo(np.int64).max
"""Index of a place in a ranking that no curve has taken yet."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some curves of one dataset.

    Parameters
    ----------
    indices : ndarray of shape (m,)
        Position of each curve in its dataset, ascending.
    y : ndarray of shape (m, n)
        One curve a row, C-contiguous; NaN is a gap. [unit of y]
    """

    indices: IndexArray
    y: FloatArray


P = TypeVar("P", Block, Sketch)


def split(piece: P, most: int) -> Iterator[P]:
    """Cut a piece of a library into smaller ones.

    Parameters
    ----------
    piece : Block or Sketch
        Curves of the library.
    most : int
        Curves in a piece.

    Yields
    ------
    Block or Sketch
        The same curves in the same order; the piece itself if it is small enough.
    """
    count = len(piece.indices)
    if count <= most:
        yield piece
        return
    for start in range(0, count, most):
        part = slice(start, start + most)
        yield replace(piece, **{name: getattr(piece, name)[part] for name in piece.__slots__})


@dataclass(frozen=True, slots=True)
class Library:
    """What a fit needs of a library.

    Parameters
    ----------
    grid : ndarray of shape (n,)
        The library's x column. [unit of x]
    blocks : iterable of Block
        All its curves, cut in any way and in any order; read once at most.
    key : str
        Fingerprint of the content, for a cache; empty where there is none.
    basis : Basis or None
        Of the sketches, if they are kept.
    sketches : iterable of Sketch
        All its curves as well; read once at most, and then no block is.
    rows : callable or None
        Reads curves by their positions, ascending, shape (len(positions), n).
    """

    grid: FloatArray
    blocks: Iterable[Block]
    key: str = ""
    basis: Basis | None = None
    sketches: Iterable[Sketch] = ()
    rows: Callable[[IndexArray], FloatArray] | None = None


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


def taken(ranking: Ranking) -> BoolArray:
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


def limits(ranking: Ranking, top_k: int) -> FloatArray:
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
    news = np.flatnonzero(taken(right).any(axis=1))
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
