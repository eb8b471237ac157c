"""For each training curve the library curves that fit it best.

The definitions are in docs/method.md: Gaps, Transform, Criterion, Ranking. The way of a fit:
`rank_library` ranks the library piece by piece; for each piece services/bounds/ proposes the
pairs that could be among the best, and services/scoring/ decides among them by plain differences.
The best scores so far limit the next proposals, and change no answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from services import grids
from services.errors import Fact, NoFit
from services.fitting.blocks import Library
from services.fitting.cache import Cache
from services.fitting.figures import KeptCurves
from services.fitting.library import Piece, SketchPiece, join_blocks
from services.fitting.prepare import PreparedFit
from services.fitting.search import PieceRanker
from services.grids import BoolArray
from services.scoring.matches import MATCH_FIELDS, Match
from services.scoring.ranking import Ranking, is_taken, make_empty_ranking, merge

_MAY_BE_NULL = [field.name for field in MATCH_FIELDS if field.may_be_null]

_SPARE_CURVES = 100
"""Curves that are kept though they are no longer among the best, before they are dropped."""


def rank_library(
    prepared: PreparedFit,
    library: Library,
    cache: Cache | None = None,
    curves_at_once: int | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Ranking:
    """Rank the curves of a library, or of any part of it.

    Parameters
    ----------
    prepared : PreparedFit
        From `prepare`.
    library : Library
        Cut in any way and in any order; read once, one block at a time. Its sketches are used if
        it has any and the training x are all of its grid.
    cache : Cache or None
        Keeps bases and library sides for the next fit; no answer depends on it.
    curves_at_once : int or None
        Most curves ranked at once, unless a single block or sketch has more.
    on_progress : callable or None
        Called with the number of curves ranked so far; an error it raises ends the work.

    Returns
    -------
    Ranking
        With all figures, for `merge` with those of other parts and `finish`.
    """
    rows = library.rows
    if library.basis is not None and rows is not None and _is_on_grid(prepared):
        ranker = PieceRanker(prepared, library.basis)
        pieces: Iterator[Piece] = (
            SketchPiece(sketch, rows) for sketch in library.sketches if len(sketch.indices)
        )
    else:
        ranker = PieceRanker(prepared, None, cache, library.key)
        pieces = join_blocks(library.blocks, len(prepared.names), curves_at_once)
    best = _Best(make_empty_ranking(len(prepared.names), 0), {}, prepared.options.top_k)
    done = 0
    for piece in pieces:
        kept: KeptCurves = {}
        best.add(ranker.rank(piece, best.ranking, kept), kept)
        done += len(piece.indices)
        if on_progress:
            on_progress(done)
    return ranker.complete(best.ranking, best.kept)


def _is_on_grid(prepared: PreparedFit) -> bool:
    """Tell whether all training curves have numbers at all x of the library's grid."""
    return all(group.on_grid is not None for group in prepared.groups)


@dataclass(slots=True)
class _Best:
    """The best so far, and the values of the curves among them."""

    ranking: Ranking
    kept: KeptCurves
    top_k: int

    def add(self, news: Ranking, kept: KeptCurves) -> None:
        self.ranking = merge(self.ranking, news, self.top_k)
        self.kept |= kept
        if len(self.kept) > 2 * self.ranking.size + _SPARE_CURVES:
            best = set(self.ranking["ideal_index"].ravel().tolist())
            # Copied, since a row of an array keeps the whole array in memory.
            self.kept = {i: curve.copy() for i, curve in self.kept.items() if i in best}


def finish(prepared: PreparedFit, ranking: Ranking) -> list[Match]:
    """Make matches of a ranking of the whole library.

    Parameters
    ----------
    prepared : PreparedFit
        From `prepare`.
    ranking : Ranking
        From `rank_library`, or merged from its parts.

    Returns
    -------
    list of Match
        By training curve, then rank.

    Raises
    ------
    NoFit
        A training curve has no eligible library curve.
    """
    taken = is_taken(ranking)
    fitted = np.logical_or.reduce(taken, axis=1)
    if not fitted.all():
        _refuse_unfitted(prepared, fitted)
    rows = zip(prepared.training_indices.tolist(), ranking.tolist(), taken.tolist(), strict=True)
    matches = [
        Match(training_index, rank, *figures)
        for training_index, row, taken_in_row in rows
        for rank, (figures, has_curve) in enumerate(zip(row, taken_in_row, strict=True), start=1)
        if has_curve
    ]
    lost = [name for name in _MAY_BE_NULL if not np.isfinite(ranking[name]).all()]
    return [_drop_overflow(match, lost) for match in matches] if lost else matches


def _refuse_unfitted(prepared: PreparedFit, fitted: BoolArray) -> None:
    facts = [
        Fact(
            f"No library curve has enough numbers where {prepared.names[row]} has them"
            f" (min_overlap is {prepared.options.min_overlap!r}).",
            "no_eligible_curve",
            column=prepared.names[row],
        )
        for row in np.flatnonzero(~fitted)[: grids.FIRST_FEW]
    ]
    raise NoFit(facts[0].detail, facts)


def _drop_overflow(match: Match, names: list[str]) -> Match:
    """Replace statistics that float64 cannot hold by None."""
    lost: dict[str, Any] = {name: None for name in names if not math.isfinite(getattr(match, name))}
    return match._replace(**lost) if lost else match


def require_finite(
    matches: Iterable[Match], training_names: Mapping[int, str], ideal_names: Mapping[int, str]
) -> None:
    """Refuse an answer whose score float64 cannot hold.

    Parameters
    ----------
    matches : iterable of Match
        From `finish`.
    training_names, ideal_names : mapping of int to str
        Names by position in the dataset.

    Raises
    ------
    NoFit
        It names the curves.
    """
    facts = []
    for match in matches:
        if not math.isfinite(match.score):
            training, ideal = training_names[match.training_index], ideal_names[match.ideal_index]
            detail = f"The score of {ideal} for {training} is too large for float64."
            facts.append(Fact(detail, "score_overflow", column=training))
    if facts:
        raise NoFit(facts[0].detail, facts[: grids.FIRST_FEW])
