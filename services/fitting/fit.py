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
from typing import Any, NamedTuple, Protocol

import numpy as np

from services import grids
from services.errors import Fact, NoFit
from services.fitting.blocks import Library
from services.fitting.cache import Cache
from services.fitting.figures import KeptCurves
from services.fitting.library import Piece, RowsOnce, join_blocks, join_cuts
from services.fitting.prepare import PreparedFit
from services.fitting.search import PieceRanker
from services.fitting.sketched import SketchSides, rank_by_sketches
from services.grids import BoolArray, IndexArray
from services.scoring.matches import FIGURES, MATCH_FIELDS, Match, bit_of, list_warnings
from services.scoring.options import fits_offset, fits_scale
from services.scoring.ranking import Ranking, is_taken, make_empty_ranking, merge
from services.tables import FloatArray

_OF_PAIRS = FIGURES.names or ()
_MAY_BE_NULL = [one.name for one in MATCH_FIELDS if one.may_be_null and one.name in _OF_PAIRS]

_SPARE_CURVES = 100
"""Curves that are kept though they are no longer among the best, before they are dropped."""


class Reading(Protocol):
    """Asked before a library is compared curve by curve, which may take long."""

    def __call__(self, n_training: int, *, is_cached: bool) -> object:
        """Refuse by an error, or not.

        Parameters
        ----------
        n_training : int
            Training curves that will be compared with all of the library.
        is_cached : bool
            Whether the values need not be read.
        """


def rank_library(  # noqa: PLR0913 - all but the first two have a default
    prepared: PreparedFit,
    library: Library,
    cache: Cache | None = None,
    curves_at_once: int | None = None,
    *,
    on_progress: Callable[[int], object] = lambda _done: None,
    on_reading: Reading = lambda n_training, *, is_cached: None,  # noqa: ARG005
) -> Ranking:
    """Rank the curves of a library, or of any part of it.

    Parameters
    ----------
    prepared : PreparedFit
        From `prepare`.
    library : Library
        Cut in any way and in any order. If it has sketches, they rank all training curves that
        they can; for the others its blocks are read once, one at a time.
    cache : Cache or None
        Keeps bases and library sides for the next fit; no answer depends on it.
    curves_at_once : int or None
        Most curves ranked at once, unless a single block or sketch has more.
    on_progress : callable
        Called with the number of curves ranked so far; an error it raises ends the work.
    on_reading : Reading
        Asked before any block is read.

    Returns
    -------
    Ranking
        With all figures, for `merge` with those of other parts and `finish`.
    """
    work = _Work(cache, curves_at_once, on_progress, on_reading)
    if library.sketches is None or library.rows is None:
        return _rank_blocks(prepared, library, work)
    m = sum(len(places) for places in library.sketches.places)
    sketched = rank_by_sketches(
        prepared,
        SketchSides(library.sketches, prepared.options.transform, cache, library.key),
        library.rows,
        lambda share: on_progress(int(share * m)),
    )
    ranking, left = sketched.ranking, sketched.left
    if left.size:
        work = work._replace(limits=sketched.limits[left])
        ranking[left] = _rank_blocks(prepared.select(left), library, work)
    return ranking


class _Work(NamedTuple):
    """Arguments of `rank_library`, and scores that no match exceeds, if some are known."""

    cache: Cache | None
    curves_at_once: int | None
    on_progress: Callable[[int], object]
    on_reading: Reading
    limits: FloatArray | None = None


def _rank_blocks(prepared: PreparedFit, library: Library, work: _Work) -> Ranking:
    """Rank the curves of a library block by block."""
    n_training = len(prepared.names)
    ranker = PieceRanker(prepared, work.cache, library.key, work.limits)
    is_cached = bool(library.cuts) and ranker.needs_no_block(library.cuts)
    work.on_reading(n_training, is_cached=is_cached)
    pieces: Iterator[Piece]
    if is_cached and library.rows is not None:
        rows = RowsOnce(library.rows)
        pieces = join_cuts(library.cuts, rows, n_training, work.curves_at_once)
    else:
        pieces = join_blocks(library.blocks, n_training, work.curves_at_once)
    best = _Best(make_empty_ranking(n_training, 0), {}, prepared.options.places)
    done = 0
    for piece in pieces:
        kept: KeptCurves = {}
        best.add(ranker.rank(piece, best.ranking, kept), kept)
        done += len(piece.indices)
        work.on_progress(done)
    return ranker.complete(best.ranking, best.kept)


@dataclass(slots=True)
class _Best:
    """The best so far, and the values of the curves among them."""

    ranking: Ranking
    kept: KeptCurves
    places: int

    def add(self, news: Ranking, kept: KeptCurves) -> None:
        self.ranking = merge(self.ranking, news, self.places)
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
    kept, margin = ranking[:, : prepared.options.top_k], _compute_margins(prepared, ranking)
    doubts = _collect_doubts(prepared, kept, margin)
    training, places = np.nonzero(taken[:, : kept.shape[1]])
    matches = [
        Match._make((index, place + 1, *figures[:-1], one, list_warnings(bits)))
        for index, place, figures, one, bits in zip(
            prepared.training_indices[training].tolist(),
            places.tolist(),
            kept[training, places].tolist(),
            margin[training, places].tolist(),
            doubts[training, places].tolist(),
            strict=True,
        )
    ]
    lost = [name for name in _MAY_BE_NULL if not np.isfinite(kept[name]).all()]
    lost += ["margin"] if np.isnan(margin).any() else []
    return [_drop_overflow(match, lost) for match in matches] if lost else matches


def _compute_margins(prepared: PreparedFit, ranking: Ranking) -> FloatArray:
    """Compare each score with the next one; NaN where there is no finite next one."""
    top_k, score = prepared.options.top_k, ranking["score"]
    following = np.full_like(score, np.inf)
    following[:, :-1] = score[:, 1:]
    with np.errstate(all="ignore"):
        margin = np.where(following == score, 0.0, (following - score) / following)
    return np.where(np.isfinite(following), margin, np.nan)[:, :top_k]


def _collect_doubts(prepared: PreparedFit, kept: Ranking, margin: FloatArray) -> IndexArray:
    """Collect the doubts of the pairs, and those that other curves or the training curve raise."""
    transform, n = prepared.options.transform, kept["n"]
    parameters = fits_scale(transform) + fits_offset(transform)
    are_few = (n <= parameters + 1) | (2 * n < prepared.n_numbers[:, np.newaxis])
    doubts = kept["doubts"] | are_few * bit_of("few_pairs")
    return np.asarray(doubts | (margin == 0) * bit_of("tied"))


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
