"""Figures of the chosen pairs of a fit, whatever numbers their training curves have."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from services.fitting.library import Piece
from services.fitting.prepare import PreparedFit
from services.grids import IndexArray
from services.scoring.figures import compute_figures, measure_training
from services.scoring.matches import FIGURES, Figures
from services.scoring.ranking import Ranking, choose_best, is_taken
from services.scoring.scores import cut_into_tiles, score_rows
from services.scoring.training import Group, Pairs, ScoredPairs, score_plainly
from services.tables import FloatArray

ANY_SCORE = np.array([np.inf])
"""Limit of one training curve that admits every score."""

KeptCurves = dict[int, FloatArray]
"""Values of curves by their position in the library."""


class _Packed(NamedTuple):
    """Numbers of all training curves, a curve a row that ends with unused places."""

    y: FloatArray
    """The numbers."""
    left: IndexArray
    """Their rows on the library's grid."""
    size: IndexArray
    """Numbers of each curve."""


class _Read(NamedTuple):
    """Some of the pairs that were asked for, all with equally many numbers."""

    chosen: IndexArray
    """Places of the pairs among those asked for."""
    y: FloatArray
    """Numbers of the training curve of each pair."""
    f: FloatArray
    """Numbers of the library curve of each pair, at the same x."""


class TrainingCurves:
    """All training curves of a fit.

    Parameters
    ----------
    prepared : PreparedFit
    """

    def __init__(self, prepared: PreparedFit) -> None:
        self._groups = prepared.groups
        self._options = prepared.options
        self._longest = max(group.y.shape[1] for group in self._groups)
        self.count = len(prepared.names)
        largest = 8 * self.count * self._options.top_k * self._longest
        self.keeps_curves = largest <= prepared.kept_bytes

    @cached_property
    def _owner(self) -> IndexArray:
        """Number of the group of each training curve."""
        owner = np.empty(self.count, np.intp)
        for number, group in enumerate(self._groups):
            owner[group.positions] = number
        return owner

    @cached_property
    def _place(self) -> IndexArray:
        """Row of each training curve in its group."""
        place = np.empty(self.count, np.intp)
        for group in self._groups:
            place[group.positions] = np.arange(len(group.positions))
        return place

    @cached_property
    def _packed(self) -> _Packed | None:
        """Packed numbers, if all are at x of the library's grid."""
        if not all(group.is_subset_of_grid for group in self._groups):
            return None
        shape = self.count, self._longest
        packed = _Packed(np.empty(shape), np.empty(shape, np.intp), np.empty(self.count, np.intp))
        for group in self._groups:
            n = group.y.shape[1]
            packed.y[group.positions, :n] = group.y
            packed.left[group.positions, :n] = group.alignment.left
            packed.size[group.positions] = n
        return packed

    def score(self, piece: Piece, pairs: Pairs) -> FloatArray:
        """Score pairs of curves at x of the grid by plain differences; NaN if not eligible."""
        found = np.empty(len(pairs.rows))
        assert self._packed is not None  # noqa: S101 - these groups have x of the grid
        order = np.argsort(self._packed.size[pairs.rows], kind="stable")
        for part in cut_into_tiles((len(order), self._groups[0].grid_size)):
            mine = order[part]
            for read in self._read(pairs.rows[mine], piece.take(pairs.columns[mine])):
                found[mine[read.chosen]] = score_rows(read.y, read.f, self._options)
        if self._options.min_overlap < 1:
            for pair in np.flatnonzero(np.isnan(found)).tolist():
                curve = piece.take(pairs.columns[pair : pair + 1])
                one = self._select_group(pairs.rows[pair])
                scored = score_plainly(one, curve, ANY_SCORE, self._options)
                found[pair] = scored.score[0] if scored.score.size else np.nan
        return found

    def _select_group(self, row: int) -> Group:
        """Make a group of one training curve."""
        return self._groups[int(self._owner[row])].select(int(self._place[row]))

    def compute_figures(self, rows: IndexArray, curves: FloatArray) -> Figures:
        """Compute all figures of pairs.

        Parameters
        ----------
        rows : ndarray of shape (p,)
            Training curves.
        curves : ndarray of shape (p, n)
            A library curve for each; it may have gaps. [unit of y]

        Returns
        -------
        ndarray of shape (p,) of FIGURES
            Without the position of the library curve.
        """
        if len(self._groups) == 1:
            return self._groups[0].compute_figures(rows, curves, self._options)
        found = np.empty(len(rows), FIGURES)
        for read in self._read(rows, curves):
            training, whole = measure_training(read.y), curves[read.chosen]
            found[read.chosen] = compute_figures(training, read.f, whole, self._options)
        # These may be pairs with a gap of the library curve.
        for pair in np.flatnonzero(np.isnan(found["sse"])).tolist():
            one, curve = self._select_group(rows[pair]), curves[pair : pair + 1]
            found[pair] = one.compute_figures(np.zeros(1, np.intp), curve, self._options)[0]
        return found

    def _read(self, rows: IndexArray, curves: FloatArray) -> Iterator[_Read]:
        """Read the numbers of pairs, in parts of equally many numbers."""
        kind = self._owner if self._packed is None else self._packed.size
        order = np.argsort(kind[rows], kind="stable")
        kinds = kind[rows][order]
        edges = np.flatnonzero(np.diff(kinds, prepend=-1, append=-1)).tolist()
        for start, stop in pairwise(edges):
            for part in cut_into_tiles((stop - start, curves.shape[1])):
                chosen, number = order[start:stop][part], kinds[start]
                own = rows[chosen]
                if self._packed is None:
                    group = self._groups[number]
                    yield _Read(chosen, group.y[self._place[own]], group.read(curves[chosen]))
                else:
                    f = curves[chosen[:, np.newaxis], self._packed.left[own, :number]]
                    yield _Read(chosen, self._packed.y[own, :number], f)

    def enter(
        self, best: Ranking, piece: Piece, scored: ScoredPairs, kept: KeptCurves | None
    ) -> None:
        """Enter the best pairs of a piece in its ranking.

        Parameters
        ----------
        best : Ranking
            Ranking of this piece.
        piece : Piece
        scored : ScoredPairs
            Pairs of all training curves.
        kept : dict or None
            Receives the curves for `complete`; if None, all figures are computed now.
        """
        if not scored.rows.size:
            return
        indices = piece.indices[scored.columns]
        chosen, place = choose_best(scored.rows, scored.score, indices, best.shape[1])
        rows, columns, score = scored.select(chosen)
        index = piece.indices[columns]
        entered = np.zeros(len(rows), FIGURES)
        entered["score"] = score
        # No curve moves up in a merged ranking, so the last place never needs its figures.
        is_kept = np.flatnonzero(place < self._options.top_k)
        if kept is None:
            entered[is_kept] = self.compute_figures(rows[is_kept], piece.take(columns[is_kept]))
        else:
            wanted = dict(zip(index[is_kept].tolist(), columns[is_kept].tolist(), strict=True))
            curves = piece.take(np.array(list(wanted.values())))
            kept |= dict(zip(wanted, curves, strict=True))
        entered["ideal_index"] = index
        best[rows, place] = entered

    def complete(self, ranking: Ranking, kept: KeptCurves) -> Ranking:
        """Compute the figures that the matches of a ranking still lack.

        Parameters
        ----------
        ranking : Ranking
            Merged from pieces.
        kept : dict
            Values of all curves in it, from `enter`.

        Returns
        -------
        Ranking
            The same curves in the same places.
        """
        if not kept:
            return ranking
        matches = ranking[:, : self._options.top_k]
        rows, places = np.nonzero(is_taken(matches) & (matches["n"] == 0))
        if not rows.size:
            return ranking
        done = ranking.copy()
        index = ranking["ideal_index"][rows, places]
        found = self.compute_figures(rows, np.array([kept[one] for one in index.tolist()]))
        found["ideal_index"] = index
        done[rows, places] = found
        return done
