"""Find the pairs of a piece that could be among the best, by whatever bound there is.

A bound gives each pair a likeness by one product, and each training curve a floor: a pair below
it has a score above a limit. Scores seen on the way lower the limits for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.bounds.product import Columns
from services.bounds.sketch import RealArray
from services.grids import IndexArray
from services.scoring.ranking import sort_key
from services.scoring.training import Pairs, Scored
from services.tables import FloatArray

_MANY = 4
"""Pairs for each place from which on it pays to look at the most likely ones first."""

_AT_ONCE = 1 << 18
"""Pairs whose likeness is computed at once: not so many that it leaves the cache."""

_AT_ONCE_FOR_MORE = 1 << 20
"""The same where several matches are kept: the more curves are seen at once, the fewer are scored
that others push out again."""

_WIDE = 1536
"""Curves from which on a product is as fast as it gets."""

_CLASSES = 64
"""Likely pairs are looked for among the best of that many classes of curves, or more."""


class Bound(Protocol):
    """Training curves that can be compared with library curves by a product."""

    @property
    def matrix(self) -> RealArray:
        """Their side of the product, a curve a row."""

    def product(self, library: Columns, part: slice, out: RealArray, /) -> None:
        """Likeness of every pair with some library curves, shape (k, m), into an array."""

    def floor(self, limits: FloatArray, library: Columns, /) -> RealArray:
        """Least likeness of a pair whose score can be within a limit, shape (k,)."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to look for.

    Parameters
    ----------
    limits : ndarray of shape (k,)
        Scores that must not be exceeded, infinite where there is none yet.
    top_k : int
        Places of a ranking.
    most : float
        Share of the pairs from which on looking at all of them is better.
    score : callable
        Plain scores of pairs.
    """

    limits: FloatArray
    top_k: int
    most: float
    score: Callable[[Pairs], FloatArray]


def find(training: Bound, library: Columns, task: Task) -> tuple[Scored | None, FloatArray]:
    """Pairs that could be among the best, and their scores.

    Parameters
    ----------
    training : Bound
        k training curves.
    library : Columns
        m library curves.
    task : Task
        Limits to begin with, and how to score.

    Returns
    -------
    scored : tuple of three ndarray, or None
        Rows, columns and scores of every pair that has a score within the limits and could
        be among the top_k of these curves, but for those of the unknown curves. None where
        the bound tells too little apart.
    limits : ndarray of shape (k,)
        The limits, lowered by the scores seen on the way.
    """
    k, m = len(task.limits), library.curves
    at_once = _AT_ONCE if task.top_k == 1 else _AT_ONCE_FOR_MORE
    most = max(at_once // k, _WIDE, 4 * task.top_k)
    step = -(-m // -(-m // most))
    space = np.empty(k * step, training.matrix.dtype)
    limits, found = task.limits, []
    best = np.full((k, task.top_k), np.inf)
    scores = _Scores(task.score, m)
    for start in range(0, m, step):
        part = slice(start, min(start + step, m))
        product = space[: k * (part.stop - start)].reshape(k, -1)
        training.product(library, part, product)
        near = _above(product, training.floor(limits, library), _MANY * k * task.top_k)
        if near is None and product.shape[1] > task.top_k:
            likely = _likely(product, task.top_k) + start
            limits = np.minimum(limits, scores.reached(likely))
        if near is None:
            most = int(task.most * product.size)
            near = _above(product, training.floor(limits, library), most)
        if near is None:
            return None, limits
        if not near[0].size:
            continue
        rows, columns = near[0], near[1] + start
        score = scores.of(rows, columns)
        keys = sort_key(score)
        inside = keys <= limits[rows]
        found.append((rows[inside], columns[inside], score[inside]))
        best = _best(best, rows, keys)
        limits = np.minimum(limits, best[:, -1])
    return _joined(found, library.unknown, m), limits


def _best(best: FloatArray, rows: IndexArray, keys: FloatArray) -> FloatArray:
    """The least scores of each training curve, shape (k, top_k), ascending, with some more."""
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


def _joined(found: list[Scored], unknown: IndexArray, m: int) -> Scored:
    if not found:
        nothing = np.empty(0, np.intp)
        return nothing, nothing, np.empty(0)
    rows, columns, score = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if unknown.size:
        known = np.ones(m, bool)
        known[unknown] = False
        known = known[columns]
        rows, columns, score = rows[known], columns[known], score[known]
    return rows, columns, score


def _above(product: RealArray, floor: RealArray, most: int) -> Pairs | None:
    """Pairs that are not below the floor, None where they are too many."""
    if np.count_nonzero(floor == np.finfo(floor.dtype).min) * product.shape[1] > most:
        return None
    rows = np.flatnonzero(~(product.max(axis=1) < floor))
    # Mostly few rows have anything, but in the first piece each has.
    some = product[rows] if 4 * rows.size < len(product) else product
    inside = ~(some < (floor[rows] if some is not product else floor)[:, np.newaxis])
    if np.count_nonzero(inside) > most:
        return None
    row, column = np.divmod(np.flatnonzero(inside), product.shape[1])
    return (row if some is product else rows[row]), column


class _Scores:
    """Plain scores, those of the likely pairs computed once."""

    def __init__(self, score: Callable[[Pairs], FloatArray], m: int) -> None:
        self._score = score
        self._m = m
        self._keys = np.empty(0, np.intp)
        self._known = np.empty(0)

    def reached(self, likely: IndexArray) -> FloatArray:
        """Scores that so many curves reach."""
        rows = np.repeat(np.arange(len(likely)), likely.shape[1])
        score = self._score((rows, likely.ravel()))
        keys = rows * self._m + likely.ravel()
        order = np.argsort(keys)
        self._keys, self._known = keys[order], score[order]
        return np.asarray(sort_key(score).reshape(likely.shape).max(axis=1))

    def of(self, rows: IndexArray, columns: IndexArray) -> FloatArray:
        if not self._keys.size:
            return self._score((rows, columns))
        keys = rows * self._m + columns
        place = np.minimum(np.searchsorted(self._keys, keys), self._keys.size - 1)
        score = self._known[place]
        new = np.flatnonzero(self._keys[place] != keys)
        if new.size:
            score[new] = self._score((rows[new], columns[new]))
        return score


def _likely(product: RealArray, top_k: int) -> IndexArray:
    """Some of the likeliest curves of each row, top_k different ones."""
    if top_k == 1:
        return np.asarray(product.argmax(axis=1)[:, np.newaxis])
    k, m = product.shape
    classes = max(4 * top_k, _CLASSES)
    each = m // classes
    if each < 4:  # noqa: PLR2004 - too few for a detour
        return np.asarray(np.argpartition(product, -top_k, axis=1)[:, -top_k:])
    # The best of every class first: the classes are few, and their maxima fast.
    table = product[:, : each * classes].reshape(k, each, classes)
    chosen = np.argpartition(table.max(axis=1), -top_k, axis=1)[:, -top_k:]
    members = np.take_along_axis(table, chosen[:, np.newaxis], axis=2)
    return np.asarray(members.argmax(axis=1) * classes + chosen)
