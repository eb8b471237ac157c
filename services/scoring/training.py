"""Training curves put together by their rows, what they read, and plain scores of all pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from services import grids
from services.grids import Alignment, BoolArray, IndexArray
from services.scoring.options import FitOptions
from services.scoring.ranking import sort_key
from services.scoring.scores import FIGURES, Figures, all_scores, figures, scores, tiles
from services.tables import FloatArray

Pairs = tuple[IndexArray, IndexArray]
"""Rows of training curves and rows of library curves, each of shape (p,)."""

Scored = tuple[IndexArray, IndexArray, FloatArray]
"""Rows of training curves, rows of library curves, and their scores, each of shape (p,)."""


@dataclass(frozen=True, slots=True)
class Group:
    """Training curves with numbers at the same rows: they share what is read of the library.

    Parameters
    ----------
    alignment : Alignment
        Of their p abscissae.
    positions : ndarray of shape (k,)
        Of the curves among all training curves.
    y : ndarray of shape (k, p)
        Their numbers, in the order of the training rows. [unit of y]
    points : int
        Of the library's grid, n.
    part : bool
        Whether the abscissae are some x of the library's grid, each once at most.
    on_grid : ndarray of shape (k, n) or None
        The numbers in the order of the library's grid, if they are at each of its x; `y`
        itself if that is their order already. A sum of squares does not depend on the order
        but for its rounding, so bounds can be had from the library as it is stored.
    """

    alignment: Alignment
    positions: IndexArray
    y: FloatArray
    points: int
    part: bool
    on_grid: FloatArray | None

    def only(self, row: int) -> Group:
        """One of the curves by itself.

        Parameters
        ----------
        row : int
            Which one.

        Returns
        -------
        Group
            Of one curve; without `on_grid`.
        """
        part = slice(row, row + 1)
        return replace(self, positions=self.positions[part], y=self.y[part], on_grid=None)

    def read(self, curves: FloatArray) -> FloatArray:
        """Values of complete library curves, in the order of the training rows.

        Parameters
        ----------
        curves : ndarray of shape (m, n)
            On the library's grid, C-contiguous. [unit of y]

        Returns
        -------
        ndarray of shape (m, p)
            C-contiguous.
        """
        if self.on_grid is self.y:
            return curves
        if self.part:
            return np.take(curves, self.alignment.left, axis=1)
        return grids.read(curves, self.alignment)[0]

    def present(self, curves: FloatArray) -> BoolArray:
        """Where library curves have the numbers that these training curves need.

        Parameters
        ----------
        curves : ndarray of shape (m, n)
            On the library's grid. [unit of y]

        Returns
        -------
        ndarray of bool of shape (m, p)
            In the order of the training rows.
        """
        if self.on_grid is self.y:
            return ~np.isnan(curves)
        return grids.read(curves, self.alignment)[1]

    def scores(self, rows: IndexArray, curves: FloatArray, options: FitOptions) -> FloatArray:
        """Plain scores of some pairs.

        Parameters
        ----------
        rows : ndarray of shape (p,)
            Training curves.
        curves : ndarray of shape (p, n)
            A library curve for each, complete where that has numbers. [unit of y]
        options : FitOptions
            How they are compared.

        Returns
        -------
        ndarray of shape (p,)
            Scores.
        """
        return scores(self.y[rows], self.read(curves), options)

    def figures(self, rows: IndexArray, curves: FloatArray, options: FitOptions) -> Figures:
        """All figures of some pairs.

        Parameters
        ----------
        rows : ndarray of shape (p,)
            Training curves.
        curves : ndarray of shape (p, n)
            A library curve for each; it may have gaps. [unit of y]
        options : FitOptions
            How they are compared.

        Returns
        -------
        ndarray of shape (p,) of FIGURES
            The index is left 0.
        """
        found = np.empty(len(rows), FIGURES)
        for part in tiles(curves.shape):
            found[part] = figures(self.y[rows[part]], self.read(curves[part]), options)
        # A gap makes the sum of squares NaN; so does what float64 cannot hold.
        for pair in np.isnan(found["sse"]).nonzero()[0].tolist():
            chosen = curves[pair : pair + 1]
            there = self.present(chosen)[0]
            if not there.all():
                y, f = self.y[rows[pair], there], self.read(chosen)[0, there]
                found[pair] = figures(y[np.newaxis], f[np.newaxis], options)[0]
        return found


def make_groups(
    y: FloatArray, numbers: BoolArray, alignment: Alignment, n: int
) -> tuple[Group, ...]:
    """Put training curves together by the rows where they have pairs.

    Parameters
    ----------
    y : ndarray of shape (k, p)
        Training curves. [unit of y]
    numbers : ndarray of bool of shape (k, p)
        Where they have numbers at x that the library covers.
    alignment : Alignment
        Of their p abscissae.
    n : int
        Points of the library's grid.

    Returns
    -------
    tuple of Group
        All curves.
    """
    k, p = y.shape
    left = alignment.left
    stored = p == n and np.array_equal(left, np.arange(n)) and _same(left, alignment.right)
    if stored and numbers.all():
        return (Group(alignment, np.arange(k), y, n, part=True, on_grid=y),)
    together: dict[bytes, list[int]] = {}
    for position, mask in enumerate(numbers):
        together.setdefault(mask.tobytes(), []).append(position)
    part = stored or _once(alignment)
    groups = []
    for members in together.values():
        positions = np.array(members, dtype=np.intp)
        rows, mine = np.flatnonzero(numbers[members[0]]), alignment
        values = y[positions]
        if rows.size < p:
            mine, values = alignment.only(rows), np.take(values, rows, axis=1)
        on_grid = _on_grid(values, mine.left) if part and rows.size == n else None
        groups.append(Group(mine, positions, values, n, part, on_grid))
    return tuple(groups)


def _same(left: IndexArray, right: IndexArray) -> bool:
    return left is right or np.array_equal(left, right)


def _once(alignment: Alignment) -> bool:
    """Whether all covered abscissae are on the grid, each on a row of its own."""
    left, right = alignment.left[alignment.covered], alignment.right[alignment.covered]
    return np.array_equal(left, right) and left.size == np.count_nonzero(np.bincount(left))


def _on_grid(y: FloatArray, left: IndexArray) -> FloatArray:
    if np.array_equal(left, np.arange(len(left))):
        return y
    on_grid = np.empty_like(y)
    on_grid[:, left] = y
    return on_grid


def plain(group: Group, curves: FloatArray, limit: FloatArray, options: FitOptions) -> Scored:
    """All eligible pairs within a limit that could be among the best, scored without any bound.

    Parameters
    ----------
    group : Group
        k training curves.
    curves : ndarray of shape (m, n)
        Library curves. [unit of y]
    limit : ndarray of shape (k,)
        Scores that must not be exceeded.
    options : FitOptions
        How curves are compared.

    Returns
    -------
    tuple of three ndarray
        Rows of the training curves, ascending; rows of the library curves; scores.
    """
    values = group.read(curves)
    found = all_scores(group.y, values, options)
    keys = sort_key(found)
    # Every curve with a gap has NaN here; so has what overflows twice, and stays as it is.
    doubtful = np.flatnonzero(np.isnan(found).any(axis=0))
    if doubtful.size:
        present = group.present(curves[doubtful])
        left = present.sum(axis=1)
        eligible = (left > 0) & (left / present.shape[1] >= options.min_overlap)
        keys[:, doubtful[~eligible]] = np.nan
        for place in np.flatnonzero(eligible & (left < present.shape[1])):
            there, column = np.flatnonzero(present[place]), doubtful[place]
            part = np.take(group.y, there, axis=1)
            one = np.take(values[column], there)[np.newaxis]
            found[:, column] = all_scores(part, one, options)[:, 0]
            keys[:, column] = sort_key(found[:, column])
    if options.top_k < len(curves):
        # NaN sorts last. Only keys up to the k-th least can be among the best; ties stay in.
        limit = np.fmin(limit, _least(keys, options.top_k))
    rows, columns = np.nonzero(keys <= limit[:, np.newaxis])
    return rows, columns, found[rows, columns]


def _least(keys: FloatArray, top_k: int) -> FloatArray:
    """The k-th least of each row, NaN where there are fewer."""
    if top_k == 1:
        return np.asarray(np.fmin.reduce(keys, axis=1))
    return np.asarray(np.partition(keys, top_k - 1, axis=1)[:, top_k - 1])
