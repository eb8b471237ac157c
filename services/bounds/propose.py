"""Propose the pairs that could be among the best, by any bound that a product can compute.

A bound gives each pair a likeness by one product, and each training curve a floor: a pair below
it has a score above a limit. Scores seen on the way lower the limits for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.bounds.product import LibrarySide
from services.bounds.rounding import RealArray
from services.grids import IndexArray
from services.scoring.ranking import make_sort_key
from services.scoring.training import Pairs, ScoredPairs, join_pairs
from services.tables import FloatArray

_PAIRS_PER_PLACE = 4
"""Pairs for each place from which on it pays to score the likeliest ones first."""

PAIRS_AT_ONCE = 1 << 18
"""Pairs whose likeness is computed at once; they stay in the processor's cache."""

_PAIRS_AT_ONCE_FOR_MORE = 1 << 20
"""The same if several matches are kept: the more curves are seen at once, the fewer are scored
that others push out again."""

LEAST_WIDTH = 1536
"""Curves from which on a product is as fast as it gets."""

_MOST_PAIRS_AT_ONCE = 1 << 23
"""Pairs that are not exceeded for that width; they bound the memory of many training curves."""

_LEAST_CLASSES = 64
"""Least number of classes of curves whose best ones are searched for likely pairs."""


class TrainingSide(Protocol):
    """Training curves that a product can compare with library curves."""

    @property
    def matrix(self) -> RealArray:
        """Their matrix, a curve a row."""

    def compare(self, library: LibrarySide, part: slice, out: RealArray, /) -> None:
        """Compute the likeness of every pair; a pair below the floor is too far away.

        Parameters
        ----------
        library : LibrarySide
            Library curves.
        part : slice
            Some of them, m curves.
        out : ndarray of shape (k, m)
            Receives the likeness.
        """

    def find_floor(self, limits: FloatArray, library: LibrarySide, /) -> RealArray:
        """Find the least likeness of a pair whose score can be within a limit.

        Parameters
        ----------
        limits : ndarray of shape (k,)
            Scores that must not be exceeded.
        library : LibrarySide
            The library curves of the comparison.

        Returns
        -------
        ndarray of shape (k,)
            The least finite number where nothing is proven.
        """


@dataclass(frozen=True, slots=True)
class Task:
    """Limits to begin with, and how to score.

    Parameters
    ----------
    limits : ndarray of shape (k,)
        Scores that must not be exceeded, infinite where there is none yet.
    top_k : int
        Places of a ranking.
    give_up_share : float
        Share of the pairs from which on scoring all of them is faster.
    score : callable
        Computes the plain scores of pairs.
    """

    limits: FloatArray
    top_k: int
    give_up_share: float
    score: Callable[[Pairs], FloatArray]


def propose(
    training: TrainingSide, library: LibrarySide, task: Task
) -> tuple[ScoredPairs | None, FloatArray]:
    """Find and score the pairs that could be among the best.

    Parameters
    ----------
    training : TrainingSide
        k training curves.
    library : LibrarySide
        m library curves.
    task : Task

    Returns
    -------
    scored : ScoredPairs or None
        Every pair that has a score within the limits and could be among the top_k of these
        curves, without those of the unknown curves. None if the bound leaves too many.
    limits : ndarray of shape (k,)
        The limits, lowered by the scores seen on the way.
    """
    k, m = len(task.limits), library.n_curves
    step = _choose_step(k, m, task.top_k)
    space = np.empty(k * step, training.matrix.dtype)
    limits, found = task.limits, []
    best = np.full((k, task.top_k), np.inf)
    scores = ScoresOnce(task.score, m)
    for start in range(0, m, step):
        part = slice(start, min(start + step, m))
        likeness = space[: k * (part.stop - start)].reshape(k, -1)
        training.compare(library, part, likeness)
        floor = training.find_floor(limits, library)
        near = _find_above(likeness, floor, _PAIRS_PER_PLACE * k * task.top_k)
        if near is None and likeness.shape[1] > task.top_k:
            likely = _find_likely(likeness, task.top_k) + start
            limits = np.minimum(limits, scores.find_reached(likely))
        if near is None:
            most = int(task.give_up_share * likeness.size)
            near = _find_above(likeness, training.find_floor(limits, library), most)
        if near is None:
            return None, limits
        if not near.rows.size:
            continue
        pairs = Pairs(near.rows, near.columns + start)
        scored = ScoredPairs(*pairs, scores.look_up(pairs))
        keys = make_sort_key(scored.score)
        found.append(scored.select(keys <= limits[scored.rows]))
        best = _merge_best(best, scored.rows, keys)
        limits = np.minimum(limits, best[:, -1])
    return _drop_unknown(join_pairs(found), library.unknown, m), limits


def _choose_step(k: int, m: int, top_k: int) -> int:
    """Choose how many library curves are compared at once, as evenly as possible."""
    at_once = PAIRS_AT_ONCE if top_k == 1 else _PAIRS_AT_ONCE_FOR_MORE
    width = min(LEAST_WIDTH, -(-_MOST_PAIRS_AT_ONCE // k))
    most = max(at_once // k, width, 4 * top_k)
    return -(-m // -(-m // most))


def _merge_best(best: FloatArray, rows: IndexArray, keys: FloatArray) -> FloatArray:
    """Merge scores into the least ones of each training curve, shape (k, top_k), ascending."""
    k, top_k = best.shape
    if top_k == 1:
        best = best.copy()
        np.fmin.at(best[:, 0], rows, keys)
        return best
    owner = np.concatenate([np.repeat(np.arange(k), top_k), rows])
    keys = np.concatenate([best.ravel(), keys])
    order = np.lexsort((keys, owner))
    first = np.searchsorted(owner[order], np.arange(k))
    return np.asarray(keys[order[first[:, np.newaxis] + np.arange(top_k)]])


def _drop_unknown(pairs: ScoredPairs, unknown: IndexArray, m: int) -> ScoredPairs:
    if not unknown.size:
        return pairs
    known = np.ones(m, bool)
    known[unknown] = False
    return pairs.select(known[pairs.columns])


def _find_above(likeness: RealArray, floor: RealArray, most: int) -> Pairs | None:
    """Find the pairs that are not below the floor, None if there are more than `most`."""
    if np.count_nonzero(floor == np.finfo(floor.dtype).min) * likeness.shape[1] > most:
        return None
    rows = np.flatnonzero(~(likeness.max(axis=1) < floor))
    # Usually few rows have any pair; in the first piece each has.
    some = likeness[rows] if 4 * rows.size < len(likeness) else likeness
    inside = ~(some < (floor[rows] if some is not likeness else floor)[:, np.newaxis])
    if np.count_nonzero(inside) > most:
        return None
    row, column = np.divmod(np.flatnonzero(inside), likeness.shape[1])
    return Pairs(row if some is likeness else rows[row], column)


class ScoresOnce:
    """Plain scores of pairs; those of the likely ones are computed once."""

    def __init__(self, score: Callable[[Pairs], FloatArray], m: int) -> None:
        self._score = score
        self._m = m
        self._keys = np.empty(0, np.intp)
        self._known = np.empty(0)

    def find_reached(self, likely: IndexArray) -> FloatArray:
        """Find the score that all likely curves of each row reach."""
        rows = np.repeat(np.arange(len(likely)), likely.shape[1])
        score = self._score(Pairs(rows, likely.ravel()))
        keys = rows * self._m + likely.ravel()
        order = np.argsort(keys)
        self._keys, self._known = keys[order], score[order]
        return np.asarray(make_sort_key(score).reshape(likely.shape).max(axis=1))

    def look_up(self, pairs: Pairs) -> FloatArray:
        """Look the scores of pairs up, and compute those that are missing."""
        if not self._keys.size:
            return self._score(pairs)
        keys = pairs.rows * self._m + pairs.columns
        place = np.minimum(np.searchsorted(self._keys, keys), self._keys.size - 1)
        score = self._known[place]
        new = np.flatnonzero(self._keys[place] != keys)
        if new.size:
            score[new] = self._score(pairs.select(new))
        return score


def _find_likely(likeness: RealArray, top_k: int) -> IndexArray:
    """Find top_k different curves of each row that are among the likeliest."""
    if top_k == 1:
        return np.asarray(likeness.argmax(axis=1)[:, np.newaxis])
    k, m = likeness.shape
    classes = max(4 * top_k, _LEAST_CLASSES)
    each = m // classes
    if each < 4:  # noqa: PLR2004 - too few for a detour
        return np.asarray(np.argpartition(likeness, -top_k, axis=1)[:, -top_k:])
    # The best of every class first: the classes are few, and their maxima fast.
    table = likeness[:, : each * classes].reshape(k, each, classes)
    chosen = np.argpartition(table.max(axis=1), -top_k, axis=1)[:, -top_k:]
    members = np.take_along_axis(table, chosen[:, np.newaxis], axis=2)
    return np.asarray(members.argmax(axis=1) * classes + chosen)
