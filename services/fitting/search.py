"""Rank the curves of one piece of a library: bounds propose pairs, plain scores decide.

The way depends on the training curves and on the number of pairs; on every way a pair enters the
ranking by its plain score alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, assert_never

import numpy as np

from services import grids
from services.bounds.expanded import propose_expanded
from services.bounds.product import LibrarySide, join_sides, make_complete_side, make_library_side
from services.bounds.propose import Task, TrainingSide, propose
from services.bounds.sieve import sieve_pairs
from services.bounds.sketch import Basis, make_plain_basis
from services.fitting.blocks import Block
from services.fitting.cache import Cache
from services.fitting.figures import KeptCurves, TrainingCurves
from services.fitting.library import BlockPiece, Piece
from services.fitting.prepare import PreparedFit
from services.fitting.sides import PreparedSides
from services.grids import IndexArray
from services.scoring.options import FitOptions
from services.scoring.ranking import Ranking, make_empty_ranking, score_limits
from services.scoring.training import Group, Pairs, ScoredPairs, join_pairs, score_plainly
from services.tables import FloatArray

_NEXT_BOUND_SHARE = 1 / 8
"""Share of the pairs left by one bound from which on the next one is tried."""

_SIEVE_SHARE = 1 / 64
"""The same if a sieve comes next, which is fast."""

_SCORE_ALL_SHARE = 1 / 2
"""Share of the pairs from which on it is faster to score all."""

_MANY_GAPS_SHARE = 1 / 32
"""Share of curves with gaps from which on a product of all points compares them."""

_NONE = np.empty(0, np.intp)


class _Proposed(NamedTuple):
    """Scored pairs of all training curves, and the work that is left."""

    scored: ScoredPairs | None
    """Scored pairs, None if the bound leaves too many."""
    limits: FloatArray
    """The limits, lowered by these scores."""
    unknown: IndexArray
    """Curves of the piece that the bound cannot judge."""


class PieceRanker:
    """Ranks the pieces of a library one after the other, and keeps what the next one can use.

    Parameters
    ----------
    prepared : PreparedFit
    cache : Cache or None
        Keeps bases and library sides for other fits.
    key : str
        Fingerprint of the library for the cache; empty if there is none.
    limits : ndarray of shape (k,) or None
        Scores that must not be exceeded, if sketches have told some.
    """

    def __init__(
        self,
        prepared: PreparedFit,
        cache: Cache | None = None,
        key: str = "",
        limits: FloatArray | None = None,
    ) -> None:
        self._groups = prepared.groups
        self._options = prepared.options
        self._few = prepared.pairs_scored_plainly
        self._limits = limits
        self._sides = PreparedSides(self._groups, self._options, cache, key, learns=limits is None)
        self._training = TrainingCurves(prepared)
        self._is_on_grid = prepared.is_on_grid
        self._compares_at_once = self._options.transform == "none" and prepared.is_subset_of_grid

    def rank(self, piece: Piece, ranking: Ranking, kept: KeptCurves) -> Ranking:
        """Rank the curves of a piece.

        Parameters
        ----------
        piece : Piece
            Curves of the library.
        ranking : Ranking
            The best so far of all training curves: worse ones need not be found.
        kept : dict
            Receives the values of the curves found, for `complete`.

        Returns
        -------
        Ranking
            Of this piece alone, without the curves that could not enter.
        """
        m = len(piece.indices)
        best = make_empty_ranking(len(ranking), min(self._options.places, m))
        limits = score_limits(ranking, self._options.places)
        if self._limits is not None:
            limits = np.minimum(limits, self._limits)
        if isinstance(piece, BlockPiece) and self._training.count * m <= self._few:
            self._rank_few(best, piece, limits)
        else:
            scored = join_pairs(list(self._find_pairs(piece, limits)))
            keeps = self._training.keeps_curves
            self._training.enter(best, piece, scored, kept if keeps else None)
        return best

    def _rank_few(self, best: Ranking, piece: BlockPiece, limits: FloatArray) -> None:
        """Rank few pairs, with all their figures."""
        curves = piece.join()
        for group in self._groups:
            scored = propose_expanded(group, curves, limits[group.positions], self._options)
            self._training.enter(best, piece, group.place(scored), None)

    def needs_no_block(self, cuts: Iterable[IndexArray]) -> bool:
        """Tell whether the cache spares reading the blocks of these curves."""
        compares = self._is_on_grid or self._compares_at_once
        return compares and self._sides.has_library_sides(cuts)

    def complete(self, ranking: Ranking, kept: KeptCurves) -> Ranking:
        """Compute the figures that a ranking still lacks; see `TrainingCurves`."""
        return self._training.complete(ranking, kept)

    def _find_pairs(self, piece: Piece, limits: FloatArray) -> Iterator[ScoredPairs]:
        """Find the pairs that could be among the best, by the way that suits the groups."""
        if self._compares_at_once and (len(self._groups) > 1 or self._groups[0].on_grid is None):
            yield from self._scan_with_gaps(piece, limits)
        else:
            for number, group in enumerate(self._groups):
                for scored in self._scan_group(number, piece, limits[group.positions]):
                    yield group.place(scored)

    def _scan_group(self, number: int, piece: Piece, limits: FloatArray) -> Iterator[ScoredPairs]:
        """Find pairs of one group."""
        group = self._groups[number]
        if group.on_grid is None:
            yield from self._scan_aligned(group, piece.load(), limits)
            return
        basis = self._sides.get_basis(piece)
        if basis is None:
            yield from _score_piece(group, piece, limits, self._options)
            return
        library = self._sides.get_library_side(piece, basis)
        has_many_gaps = self._options.min_overlap < 1 and _has_many_gaps(library)
        if has_many_gaps and self._compares_at_once:
            yield from self._scan_with_gaps(piece, limits)
            return
        training = self._sides.get_complete_side(number, basis)
        yield from self._propose(group, piece, training, library, limits)

    def _scan_aligned(
        self, group: Group, piece: BlockPiece, limits: FloatArray
    ) -> Iterator[ScoredPairs]:
        """Find pairs of a group for which the library must be read at other x first."""
        options, curves = self._options, piece.join()
        values, has_numbers = grids.read_curves(curves, group.alignment)
        complete = np.flatnonzero(has_numbers.all(axis=1))
        others = np.delete(np.arange(len(curves)), complete)
        if complete.size:
            inside = BlockPiece([Block(complete, values[complete] if others.size else values)])
            basis = make_plain_basis(inside.take_sample())
            if basis is None:
                inside = BlockPiece([Block(complete, curves[complete])])
                found = _score_piece(group, inside, limits, options)
            else:
                size = group.y.shape[1]
                mine = replace(group, grid_size=size, is_subset_of_grid=True, on_grid=group.y)
                training = make_complete_side(mine.y, basis, options)
                library = make_library_side(inside.join(), basis, options.transform)
                found = self._propose(mine, inside, training, library, limits)
            for scored in found:
                yield scored._replace(columns=complete[scored.columns])
        if others.size and options.min_overlap < 1:
            scored = score_plainly(group, curves[others], limits, options)
            yield scored._replace(columns=others[scored.columns])

    def _propose(
        self,
        group: Group,
        piece: Piece,
        training: TrainingSide,
        library: LibrarySide,
        limits: FloatArray,
    ) -> Iterator[ScoredPairs]:
        """Find the pairs that the bounds leave, and those that they cannot judge."""
        options = self._options

        def score(pairs: Pairs) -> FloatArray:
            return piece.score(group, pairs, options)

        task = Task(limits, options.places, _choose_give_up_share(options), score)
        scored, limits = propose(training, library, task)
        if scored is None and options.criterion == "sse":
            loaded = piece.load()
            piece, basis = loaded, make_plain_basis(loaded.take_sample())
            if basis is not None and group.on_grid is not None:
                library = _make_double_side(loaded, basis, options)
                double = make_complete_side(group.on_grid, basis, options, np.float64)
                task = Task(limits, options.places, _SCORE_ALL_SHARE, score)
                scored, limits = propose(double, library, task)
        if scored is None:
            yield from _score_piece(group, piece, limits, options)
            return
        yield scored
        unknown = library.unknown
        if options.min_overlap == 1:
            # These curves are needed at all of their x.
            unknown = np.setdiff1d(unknown, library.gaps)
        if unknown.size:
            scored = score_plainly(group, piece.take(unknown), limits, options)
            yield scored._replace(columns=unknown[scored.columns])

    def _scan_with_gaps(self, piece: Piece, limits: FloatArray) -> Iterator[ScoredPairs]:
        """Find pairs of all training curves, with any gaps, at once."""
        found = self._propose_by_masks(piece, limits)
        if found.scored is None:
            loaded = piece.load()
            piece, found = loaded, self._propose_by_points(loaded, found.limits)
        assert found.scored is not None  # noqa: S101 - no share of the pairs is more than all
        # Pairs that are not eligible have no number for a score.
        yield found.scored.select(~np.isnan(found.scored.score))
        if found.unknown.size:
            curves = piece.take(found.unknown)
            for group in self._groups:
                mine = found.limits[group.positions]
                scored = score_plainly(group, curves, mine, self._options)
                placed = group.place(scored)
                yield placed._replace(columns=found.unknown[scored.columns])

    def _propose_by_masks(self, piece: Piece, limits: FloatArray) -> _Proposed:
        """Propose by descriptions of whole curves."""
        basis = self._sides.get_basis(piece)
        training = self._sides.get_mask_side(basis) if basis is not None else None
        if basis is None or training is None:
            return _Proposed(None, limits, _NONE)
        library = self._sides.get_library_side(piece, basis)
        if _has_many_gaps(library):
            return _Proposed(None, limits, _NONE)
        task = Task(
            limits,
            self._options.places,
            _NEXT_BOUND_SHARE,
            lambda pairs: self._training.score(piece, pairs),
        )
        return _Proposed(*propose(training, library, task), library.unknown)

    def _propose_by_points(self, piece: BlockPiece, limits: FloatArray) -> _Proposed:
        """Propose by a product of all points."""
        training = self._sides.get_gap_side(piece)
        if training is None:
            return _Proposed(join_pairs([]), limits, np.arange(len(piece.indices)))
        library = self._sides.get_gap_library_side(piece, training.basis)
        task = Task(
            limits, self._options.places, 1.0, lambda pairs: self._training.score(piece, pairs)
        )
        return _Proposed(*propose(training, library, task), library.unknown)


def _has_many_gaps(library: LibrarySide) -> bool:
    """Tell whether so many curves have gaps that a product of all points is faster."""
    return bool(library.gaps.size > _MANY_GAPS_SHARE * library.n_curves)


def _make_double_side(piece: BlockPiece, basis: Basis, options: FitOptions) -> LibrarySide:
    return join_sides(
        [make_library_side(block.y, basis, options.transform, np.float64) for block in piece.blocks]
    )


def _choose_give_up_share(options: FitOptions) -> float:
    """Choose the share of the pairs left by a first bound from which on another way is faster."""
    match options.criterion:
        case "sse":
            return _NEXT_BOUND_SHARE
        case "mae" | "max":
            return _SIEVE_SHARE if _is_sieved(options) else _SCORE_ALL_SHARE
        case _:
            assert_never(options.criterion)


def _is_sieved(options: FitOptions) -> bool:
    """Tell whether pairs are sieved before they are scored."""
    match options.criterion:
        case "sse":
            return False
        case "mae" | "max":
            return options.transform == "none"
        case _:
            assert_never(options.criterion)


def _score_piece(
    group: Group, piece: Piece, limits: FloatArray, options: FitOptions
) -> Iterator[ScoredPairs]:
    """Score every pair of a group, by no bound or by a sieve."""
    start = 0
    score = sieve_pairs if _is_sieved(options) else score_plainly
    for block in piece.load().blocks:
        scored = score(group, block.y, limits, options)
        yield scored._replace(columns=scored.columns + start)
        start += len(block.y)
