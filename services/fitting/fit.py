"""For each training curve the library curves that fit it best.

The definitions are in docs/method.md: Gaps, Transform, Criterion, Ranking. The path of a fit:
`rank_library` hands the library on piece by piece; for each piece services/bounds/ proposes the
pairs that could be among the best, and services/scoring/ decides among them by plain differences.
The best scores so far limit the next proposals, and change no answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from services import grids
from services.errors import Fact, GridError, InvalidOption, NoFit
from services.fitting.blocks import Library
from services.fitting.cache import Cache
from services.fitting.library import Piece, Sketched, joined
from services.fitting.search import Kept, Search
from services.grids import Alignment, BoolArray, IndexArray
from services.scoring.options import FitOptions
from services.scoring.ranking import NOBODY, Ranking, empty_ranking, is_taken, merge
from services.scoring.training import Group, make_groups
from services.tables import FloatArray, Table

_SPARE = 100
"""Curves kept that are no more among the best, before they are thrown away."""


class Match(NamedTuple):
    """One library curve in the ranking of one training curve.

    Statistics that float64 cannot hold are None; `score` is as computed and may be infinite
    or NaN (see `require_finite`).

    Parameters
    ----------
    training_index, ideal_index : int
        Positions in the two datasets.
    rank : int
        From 1.
    score : float
        What ranked it.
    sse, rmse, mae, max_deviation : float or None
        Of the residuals r = y - (scale·f + offset). [unit of y, squared for sse]
    r2 : float or None
        1 - sse / Σ(y - ȳ)², None where y is constant.
    n : int
        Pairs.
    scale, offset : float
        The member of the family that stands for f.
    """

    training_index: int
    rank: int
    ideal_index: int
    score: float
    sse: float | None
    rmse: float | None
    mae: float | None
    max_deviation: float | None
    r2: float | None
    n: int
    scale: float
    offset: float


@dataclass(frozen=True, slots=True)
class PreparedFit:
    """A fit made ready: all that a piece of the library is compared with.

    Parameters
    ----------
    options : FitOptions
        As asked.
    training_indices : ndarray of shape (k,)
        Position of each training curve in its dataset.
    names : tuple of k str
        Their names.
    groups : tuple
        The curves, put together by the rows at which they have pairs.
    """

    options: FitOptions
    training_indices: IndexArray
    names: tuple[str, ...]
    groups: tuple[Group, ...]


def fit_library(
    training: Table,
    training_indices: IndexArray,
    library: Library,
    options: FitOptions,
    cache: Cache | None = None,
) -> list[Match]:
    """Rank the library's curves for each training curve.

    Parameters
    ----------
    training : Table
        k training curves.
    training_indices : ndarray of shape (k,)
        Position of each in its dataset, ascending.
    library : Library
        Cut in any way and in any order; read once, one block at a time. Its sketches are used if
        it has any and the training x are all of its grid.
    options : FitOptions
        How to compare.
    cache : Cache or None
        Keeps what was prepared of a library for the next fit; no answer depends on it.

    Returns
    -------
    list of Match
        By training curve, then rank.

    Raises
    ------
    GridError
        A grid is none, or the library does not cover a training x.
    NoFit
        A training curve has no pair or no eligible library curve.
    InvalidOption
        An option is out of its range.
    """
    prepared = prepare(training, training_indices, library.grid, options)
    return finish(prepared, rank_library(prepared, library, cache))


def rank_library(
    prepared: PreparedFit,
    library: Library,
    cache: Cache | None = None,
    curves_at_once: int | None = None,
    told: Callable[[int], object] | None = None,
) -> Ranking:
    """Rank the curves of a library, or of any part of it.

    Parameters
    ----------
    prepared : PreparedFit
        From `prepare`.
    library : Library
        As for `fit_library`.
    cache : Cache or None
        Keeps what was prepared of a library for the next fit; no answer depends on it.
    curves_at_once : int or None
        Curves that are ranked in one go at most, unless a single block or sketch has more.
    told : callable or None
        Told how many curves have been ranked so far; what it raises ends the work.

    Returns
    -------
    Ranking
        With all figures, for `merge` with those of other parts and `finish`.
    """
    options = prepared.options
    search = Search(prepared.groups, options, None, cache, library.key)
    pieces: Iterator[Piece] = joined(library.blocks, len(prepared.names), curves_at_once)
    rows = library.rows
    if library.basis is not None and rows is not None and search.on_grid:
        search = Search(prepared.groups, options, library.basis)
        pieces = (Sketched(sketch, rows) for sketch in library.sketches if len(sketch.indices))
    best, done = _Best(empty_ranking(len(prepared.names), 0), Kept(), options.top_k), 0
    for piece in pieces:
        values = Kept()
        best.add(search.rank(piece, best.ranking, values), values)
        done += len(piece.indices)
        if told:
            told(done)
    return search.complete(best.ranking, best.kept)


@dataclass(slots=True)
class _Best:
    """The best so far, and the values of the curves among them."""

    ranking: Ranking
    kept: Kept
    top_k: int

    def add(self, news: Ranking, values: Kept) -> None:
        self.ranking = merge(self.ranking, news, self.top_k)
        self.kept |= values
        if len(self.kept) > 2 * self.ranking.size + _SPARE:
            best = set(self.ranking["index"].ravel().tolist())
            # Copied, for a row of an array keeps all of it in memory.
            self.kept = {i: curve.copy() for i, curve in self.kept.items() if i in best}


def prepare(
    training: Table, training_indices: IndexArray, grid: FloatArray, options: FitOptions
) -> PreparedFit:
    """Check a fit and pair its training curves with the library's grid.

    Parameters
    ----------
    training, training_indices, options
        As for `fit_library`.
    grid : ndarray of shape (n,)
        The library's x column. [unit of x]

    Returns
    -------
    PreparedFit
        For `rank_library`.
    """
    _check_options(options)
    grids.check_grid(training.x, "training", training.x_name)
    grids.check_grid(grid, "library")
    alignment = grids.align(training.x, grid, options.alignment, options.x_tolerance)
    numbers = ~np.isnan(training.y)
    if not alignment.covered.all():
        if options.outside == "reject":
            _refuse_outside(training, numbers, alignment, grid)
        numbers &= alignment.covered
    if not numbers.all():
        _refuse_empty(training.names, numbers)
    groups = make_groups(training.y, numbers, alignment, grid.size)
    return PreparedFit(options, training_indices, training.names, groups)


def _check_options(options: FitOptions) -> None:
    grids.check_tolerance(options.alignment, options.x_tolerance)
    if not 0 < options.min_overlap <= 1:
        detail = "min_overlap must be above 0 and at most 1."
        raise InvalidOption(detail, [Fact(detail, "invalid_option", pointer="/min_overlap")])
    if options.top_k < 1:
        detail = "top_k must be 1 or more."
        raise InvalidOption(detail, [Fact(detail, "invalid_option", pointer="/top_k")])


def _refuse_outside(
    training: Table, numbers: BoolArray, alignment: Alignment, grid: FloatArray
) -> None:
    missing = np.flatnonzero(numbers.any(axis=0) & ~alignment.covered)
    if not missing.size:
        return
    facts = []
    for row in missing[: grids.FIRST_FEW]:
        nearest = grid[np.argmin(np.abs(grid * 0.5 - training.x[row] * 0.5))]
        detail = (
            f"The library has no {training.x_name} = {float(training.x[row])!r};"
            f" its nearest is {float(nearest)!r}."
        )
        facts.append(Fact(detail, "x_not_covered", row=int(row), column=training.x_name))
    raise GridError(
        f"The library does not cover {missing.size} of the {training.x.size} training x."
        f" {facts[0].detail} Use alignment=linear"
        " to read the library between its x, a larger x_tolerance, or outside=omit to leave such"
        " points out.",
        facts,
    )


def _refuse_empty(names: tuple[str, ...], numbers: BoolArray) -> None:
    facts = [
        Fact(
            f"{names[position]} has no number at an x of the library; alignment=linear reads it"
            " between its x.",
            "no_pair",
            column=names[position],
        )
        for position in np.flatnonzero(~numbers.any(axis=1))[: grids.FIRST_FEW]
    ]
    if facts:
        raise NoFit(f"{facts[0].detail} There is nothing to compare.", facts)


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
    fitted = np.logical_or.reduce(is_taken(ranking), axis=1)
    if not fitted.all():
        _refuse_unfitted(prepared, fitted)
    return [
        _match(index, place, figures)
        for index, row in zip(prepared.training_indices.tolist(), ranking.tolist(), strict=True)
        for place, figures in enumerate(row, start=1)
        if figures[1] != NOBODY
    ]


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


def _match(training_index: int, rank: int, figures: tuple[Any, ...]) -> Match:
    """Match of one line of a ranking, whose figures come in the order of FIGURES."""
    score, index, sse, rmse, mae, most, r2, n, scale, offset = figures
    # Mostly all are finite, and then so is their sum.
    if not math.isfinite(sse + rmse + mae + most + r2):
        sse, rmse, mae, most, r2 = map(_number, (sse, rmse, mae, most, r2))
    return Match(training_index, rank, index, score, sse, rmse, mae, most, r2, n, scale, offset)


def _number(figure: Any) -> float | None:
    return figure if math.isfinite(figure) else None


def require_finite(
    matches: Iterable[Match], training_names: Mapping[int, str], ideal_names: Mapping[int, str]
) -> None:
    """Refuse an answer whose score float64 cannot hold.

    Parameters
    ----------
    matches : iterable of Match
        What would be returned.
    training_names, ideal_names : mapping of int to str
        Names by position in the dataset.

    Raises
    ------
    NoFit
        Naming the curves.
    """
    facts = []
    for match in matches:
        if not math.isfinite(match.score):
            training, ideal = training_names[match.training_index], ideal_names[match.ideal_index]
            detail = f"The score of {ideal} for {training} is too large for float64."
            facts.append(Fact(detail, "score_overflow", column=training))
    if facts:
        raise NoFit(facts[0].detail, facts[: grids.FIRST_FEW])
