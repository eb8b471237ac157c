"""Training curves in groups that read the library alike, and the plain scores of their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from services import grids
from services.grids import Alignment, BoolArray, IndexArray
from services.scoring.figures import compute_figures, measure_training
from services.scoring.matches import FIGURES, Figures
from services.scoring.options import FitOptions
from services.scoring.ranking import make_sort_key
from services.scoring.scores import cut_into_tiles, score_pairs, score_rows
from services.tables import FloatArray

_ARRAYS_OF_FIGURES = 4
"""Arrays that are as large as the curves and in use at once while figures are computed."""


class Pairs(NamedTuple):
    """Pairs of a training curve and a library curve.

    Parameters
    ----------
    rows : ndarray of shape (p,)
        Training curve of each pair.
    columns : ndarray of shape (p,)
        Library curve of each pair.
    """

    rows: IndexArray
    columns: IndexArray

    def select(self, chosen: IndexArray | slice) -> Pairs:
        """Select some of the pairs."""
        return Pairs(self.rows[chosen], self.columns[chosen])


class ScoredPairs(NamedTuple):
    """Pairs and their plain scores.

    Parameters
    ----------
    rows, columns : ndarray of shape (p,)
        As in `Pairs`.
    score : ndarray of shape (p,)
        NaN or infinite where float64 cannot hold it.
    """

    rows: IndexArray
    columns: IndexArray
    score: FloatArray

    def select(self, chosen: IndexArray | BoolArray) -> ScoredPairs:
        """Select some of the pairs."""
        return ScoredPairs(self.rows[chosen], self.columns[chosen], self.score[chosen])


def join_pairs(parts: Sequence[ScoredPairs]) -> ScoredPairs:
    """Put pairs together, in order; none if there is no part."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        nothing = np.empty(0, np.intp)
        return ScoredPairs(nothing, nothing, np.empty(0))
    return ScoredPairs(*map(np.concatenate, zip(*parts, strict=True)))


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
    grid_size : int
        Points of the library's grid, n.
    is_subset_of_grid : bool
        Whether each of the abscissae is an x of the library's grid, and no two are the same.
    on_grid : ndarray of shape (k, n) or None
        The numbers in the order of the library's grid, if they are at each of its x; `y`
        itself if that is their order already. The order changes only the rounding of a sum, so
        bounds can be computed from the library as it is stored.
    """

    alignment: Alignment
    positions: IndexArray
    y: FloatArray
    grid_size: int
    is_subset_of_grid: bool
    on_grid: FloatArray | None

    def select(self, row: int) -> Group:
        """Make a group of one of the curves, without `on_grid`."""
        part = slice(row, row + 1)
        return replace(self, positions=self.positions[part], y=self.y[part], on_grid=None)

    def move(self, place: IndexArray) -> Group | None:
        """Move the curves to new positions, without those whose place is -1; None if all are."""
        positions = place[self.positions]
        chosen = np.flatnonzero(positions >= 0)
        if not chosen.size:
            return None
        y = self.y[chosen]
        on_grid = self.on_grid
        if on_grid is not None:
            on_grid = y if on_grid is self.y else on_grid[chosen]
        return replace(self, positions=positions[chosen], y=y, on_grid=on_grid)

    def place(self, scored: ScoredPairs) -> ScoredPairs:
        """Replace rows of the group by positions among all training curves."""
        return scored._replace(rows=self.positions[scored.rows])

    def read(self, curves: FloatArray) -> FloatArray:
        """Read complete library curves in the order of the training rows.

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
        if self.is_subset_of_grid:
            return np.take(curves, self.alignment.left, axis=1)
        return grids.read_curves(curves, self.alignment)[0]

    def has_numbers(self, curves: FloatArray) -> BoolArray:
        """Tell where library curves have the numbers that these training curves need.

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
        return grids.read_curves(curves, self.alignment)[1]

    def score(self, rows: IndexArray, curves: FloatArray, options: FitOptions) -> FloatArray:
        """Score pairs by plain differences.

        Parameters
        ----------
        rows : ndarray of shape (p,)
            Training curves.
        curves : ndarray of shape (p, n)
            A library curve for each, complete at the x of the group. [unit of y]
        options : FitOptions

        Returns
        -------
        ndarray of shape (p,)
            As from `score_rows`.
        """
        return score_rows(self.y[rows], self.read(curves), options)

    def compute_figures(self, rows: IndexArray, curves: FloatArray, options: FitOptions) -> Figures:
        """Compute all figures of pairs.

        Parameters
        ----------
        rows : ndarray of shape (p,)
            Training curves.
        curves : ndarray of shape (p, n)
            A library curve for each; it may have gaps. [unit of y]
        options : FitOptions

        Returns
        -------
        ndarray of shape (p,) of FIGURES
            Without the position of the library curve.
        """
        found = np.empty(len(rows), FIGURES)
        # Figures take several arrays of this shape at once; together they stay in the cache.
        for part in cut_into_tiles((len(rows), _ARRAYS_OF_FIGURES * curves.shape[1])):
            # Each training curve is measured once, however many matches it has.
            own, places = np.unique(rows[part], return_inverse=True)
            training = measure_training(self.y[own])
            if own.size < places.size:
                training = training.take(places)
            found[part] = compute_figures(training, self.read(curves[part]), curves[part], options)
        # A gap makes the sum of squares NaN; so does what float64 cannot hold.
        for pair in np.isnan(found["sse"]).nonzero()[0].tolist():
            chosen = curves[pair : pair + 1]
            there = self.has_numbers(chosen)[0]
            if not there.all():
                training = measure_training(self.y[rows[pair], there][np.newaxis])
                f = self.read(chosen)[0, there][np.newaxis]
                found[pair] = compute_figures(training, f, chosen, options)[0]
        return found


def make_groups(
    y: FloatArray, numbers: BoolArray, alignment: Alignment, grid_size: int
) -> tuple[Group, ...]:
    """Group training curves by the rows at which they have pairs.

    Parameters
    ----------
    y : ndarray of shape (k, p)
        Training curves. [unit of y]
    numbers : ndarray of bool of shape (k, p)
        Where they have numbers at x that the library covers.
    alignment : Alignment
        Of their p abscissae.
    grid_size : int
        Points of the library's grid.

    Returns
    -------
    tuple of Group
        All curves.
    """
    k, p = y.shape
    left, right = alignment.left, alignment.right
    is_stored = p == grid_size and np.array_equal(left, np.arange(p)) and _are_same(left, right)
    if is_stored and numbers.all():
        return (Group(alignment, np.arange(k), y, p, is_subset_of_grid=True, on_grid=y),)
    members_of: dict[bytes, list[int]] = {}
    for position, mask in enumerate(numbers):
        members_of.setdefault(mask.tobytes(), []).append(position)
    is_subset_of_grid = is_stored or _is_subset_of_grid(alignment)
    groups = []
    for members in members_of.values():
        positions = np.array(members, dtype=np.intp)
        rows, mine = np.flatnonzero(numbers[members[0]]), alignment
        values = y[positions]
        if rows.size < p:
            mine, values = alignment.select(rows), np.take(values, rows, axis=1)
        on_grid = None
        if is_subset_of_grid and rows.size == grid_size:
            on_grid = _order_by_grid(values, mine.left)
        groups.append(Group(mine, positions, values, grid_size, is_subset_of_grid, on_grid))
    return tuple(groups)


def _are_same(left: IndexArray, right: IndexArray) -> bool:
    return left is right or np.array_equal(left, right)


def _is_subset_of_grid(alignment: Alignment) -> bool:
    """Tell whether each covered x is an x of the grid, and no two are the same."""
    left, right = alignment.left[alignment.covered], alignment.right[alignment.covered]
    return np.array_equal(left, right) and left.size == np.count_nonzero(np.bincount(left))


def _order_by_grid(y: FloatArray, left: IndexArray) -> FloatArray:
    if np.array_equal(left, np.arange(len(left))):
        return y
    on_grid = np.empty_like(y)
    on_grid[:, left] = y
    return on_grid


def score_plainly(
    group: Group, curves: FloatArray, limits: FloatArray, options: FitOptions
) -> ScoredPairs:
    """Score every pair without any bound; keep those that could be among the best.

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
        Eligible pairs within the limits, by training curve.
    """
    values = group.read(curves)
    found = score_pairs(group.y, values, options)
    keys = make_sort_key(found)
    # Every curve with a gap has NaN here; so has what overflows twice, and stays as it is.
    doubtful = np.flatnonzero(np.isnan(found).any(axis=0))
    if doubtful.size:
        has_numbers = group.has_numbers(curves[doubtful])
        left = has_numbers.sum(axis=1)
        eligible = (left > 0) & (left / has_numbers.shape[1] >= options.min_overlap)
        keys[:, doubtful[~eligible]] = np.nan
        for place in np.flatnonzero(eligible & (left < has_numbers.shape[1])):
            there, column = np.flatnonzero(has_numbers[place]), doubtful[place]
            part = np.take(group.y, there, axis=1)
            one = np.take(values[column], there)[np.newaxis]
            found[:, column] = score_pairs(part, one, options)[:, 0]
            keys[:, column] = make_sort_key(found[:, column])
    if options.places < len(curves):
        # NaN sorts last. Only keys up to the k-th least can be among the best; ties stay in.
        limits = np.fmin(limits, _find_kth_least(keys, options.places))
    rows, columns = np.nonzero(keys <= limits[:, np.newaxis])
    return ScoredPairs(rows, columns, found[rows, columns])


def _find_kth_least(keys: FloatArray, place: int) -> FloatArray:
    """Find the score at a place, from 1, of each row; NaN where there are fewer."""
    return np.asarray(np.partition(keys, place - 1, axis=1)[:, place - 1])
