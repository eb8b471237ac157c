"""Rank a library by its sketches; only the few curves that matter are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from services.bounds.masks import make_mask_side
from services.bounds.product import LibrarySide, make_complete_side, read_sketch
from services.bounds.propose import Task
from services.bounds.sketch import Basis
from services.bounds.survey import DescribedSide, Proposal, propose_by_survey
from services.choices import Transform
from services.fitting.blocks import Rows, Sketches
from services.fitting.cache import Cache
from services.fitting.figures import KeptCurves, TrainingCurves
from services.fitting.library import RowsOnce, RowsPiece
from services.fitting.prepare import PreparedFit
from services.fitting.sides import name_indices, put_on_grid
from services.grids import IndexArray
from services.scoring.ranking import Ranking, make_empty_ranking
from services.scoring.scores import cut_into_tiles
from services.scoring.training import Pairs, ScoredPairs, join_pairs, score_plainly
from services.tables import FloatArray

_HELD_BYTES = 64 << 20
"""Most bytes of library sides that a fit holds if no cache keeps them."""


class Sketched(NamedTuple):
    """Ranking of the training curves that sketches help, and the work that is left."""

    ranking: Ranking
    """With all figures; empty rows for the training curves that are left."""
    limits: FloatArray
    """Scores that a match of each training curve does not exceed, shape (k,)."""
    left: IndexArray
    """Training curves that must be compared with whole curves."""


def rank_by_sketches(
    prepared: PreparedFit,
    sides: SketchSides,
    rows: Rows,
    report: Callable[[float], object],
) -> Sketched:
    """Rank a library by its sketches.

    Parameters
    ----------
    prepared : PreparedFit
    sides : SketchSides
        Of all curves of the library, for the transform of the fit.
    rows : callable
        Reads curves by their positions.
    report : callable
        Called with the share of the work that is done.

    Returns
    -------
    Sketched
    """
    options, k = prepared.options, len(prepared.names)
    piece = RowsPiece(sides.sketches.places, RowsOnce(rows))
    best = make_empty_ranking(k, min(options.places, len(piece.indices)))
    training = TrainingCurves(prepared)
    side = _make_training_side(prepared, sides.sketches.basis)
    if side is None:
        return Sketched(best, np.full(k, np.inf), np.arange(k))

    def score(pairs: Pairs) -> FloatArray:
        if prepared.is_on_grid:
            return piece.score(prepared.groups[0], pairs, options)
        return training.score(piece, pairs)

    task = Task(np.full(k, np.inf), options.places, 1.0, score)
    found = propose_by_survey(side, sides, task, report)
    scored = [found.scored.select(~np.isnan(found.scored.score) | prepared.is_on_grid)]
    scored += _score_unknown(prepared, piece, found)
    kept: KeptCurves = {}
    training.enter(best, piece, join_pairs(scored), kept if training.keeps_curves else None)
    return Sketched(training.complete(best, kept), found.limits, found.left)


def _make_training_side(prepared: PreparedFit, basis: Basis) -> DescribedSide | None:
    """Make the side of all training curves; None if sketches cannot be compared with them."""
    groups, options = prepared.groups, prepared.options
    if prepared.is_on_grid and groups[0].on_grid is not None:
        return make_complete_side(groups[0].on_grid, basis, options)
    if prepared.is_subset_of_grid and options.transform == "none":
        return make_mask_side(put_on_grid(groups), basis, options)
    return None


def _score_unknown(prepared: PreparedFit, piece: RowsPiece, found: Proposal) -> list[ScoredPairs]:
    """Score the curves that have no sketch with the training curves that sketches help."""
    unknown, options = found.unknown, prepared.options
    if options.min_overlap == 1 and prepared.is_on_grid:
        # These curves are needed at all of their x.
        unknown = np.setdiff1d(unknown, found.gaps)
    is_left = np.zeros(len(prepared.names), bool)
    is_left[found.left] = True
    scored: list[ScoredPairs] = []
    if is_left.all():
        return scored
    for part in cut_into_tiles((unknown.size, prepared.groups[0].grid_size)):
        curves = piece.take(unknown[part])
        for group in prepared.groups:
            mine = score_plainly(group, curves, found.limits[group.positions], options)
            mine = group.place(mine)._replace(columns=unknown[part][mine.columns])
            scored.append(mine.select(~is_left[mine.rows]))
    return scored


class SketchSides:
    """Library sides of sketches; see `Sides`.

    Parameters
    ----------
    sketches : Sketches
    transform : str
        How the curves will be compared.
    cache : Cache or None
        Keeps the sides for other fits.
    key : str
        Fingerprint of the library for the cache; empty if there is none.
    """

    def __init__(
        self, sketches: Sketches, transform: Transform, cache: Cache | None, key: str
    ) -> None:
        self.sketches = sketches
        self._transform = transform
        self._cache = cache if cache is not None and key else Cache(_HELD_BYTES)
        self._key = key
        self.counts = [len(places) for places in sketches.places]

    def get(self, number: int) -> LibrarySide:
        """Get the library side of a piece."""
        basis = self.sketches.basis
        places = name_indices(self.sketches.places[number])
        key = self._key, "sketches", basis.digest, places, self._transform
        side: LibrarySide | None = self._cache.get(key)
        if side is None:
            side = read_sketch(self.sketches.read(number), basis, self._transform)
            side = self._cache.keep(key, side, side.nbytes)
        return side
