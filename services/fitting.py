"""For each training curve the library curves that fit it best.

The definitions are in docs/method.md: Gaps, Transform, Criterion, Ranking. The path of a fit:
`fit` hands the library on piece by piece; for each piece services/candidates.py proposes the
pairs that could be among the best, and services/scores.py decides among them by plain
differences. What was the best so far limits what is proposed next, and changes no answer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from services import grids
from services.blocks import Block, Library, Ranking, empty_ranking, merge, taken
from services.cache import Cache
from services.errors import Fact, GridError, InvalidOption, NoFit
from services.grids import Alignment, BoolArray, IndexArray
from services.scores import Criterion, FitOptions, Outside, Transform
from services.search import Group, Kept, Search, make_group
from services.sketch import Sketch
from services.tables import FloatArray, Table

__all__ = [
    "Criterion",
    "FitOptions",
    "Match",
    "Outside",
    "Problem",
    "Transform",
    "fit",
    "fit_block",
    "merge",
    "prepare",
    "require_finite",
]


Rank = Callable[[Any, Ranking, Kept], Ranking]
"""Ranks a piece, given the best so far; the last argument receives values of curves."""

_SPARE = 100
"""Curves kept that are no more among the best, before they are thrown away."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What a fit may use; its answer does not depend on it.

    Parameters
    ----------
    threads : int
        Blocks worked on at once. BLAS should run on one thread then; blocks are read by the
        calling thread alone.
    cache : Cache or None
        Keeps what was prepared of a library for the next fit.
    """

    threads: int = 1
    cache: Cache | None = None


@dataclass(frozen=True, slots=True)
class Match:
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
class Problem:
    """A fit made ready: all that a block of the library is compared with.

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


def fit(
    training: Table,
    training_indices: IndexArray,
    grid: FloatArray,
    blocks: Iterable[Block],
    options: FitOptions,
) -> list[Match]:
    """Rank the curves of a library that comes in blocks.

    Parameters
    ----------
    training : Table
        k training curves.
    training_indices : ndarray of shape (k,)
        Position of each in its dataset, ascending.
    grid : ndarray of shape (n,)
        The library's x column. [unit of x]
    blocks : iterable of Block
        The library, cut in any way and in any order; read once, one block at a time.
    options : FitOptions
        How to compare.

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
    return fit_library(training, training_indices, Library(grid, blocks), options)


def fit_library(
    training: Table,
    training_indices: IndexArray,
    library: Library,
    options: FitOptions,
    engine: Engine = Engine(),
) -> list[Match]:
    """Rank the library's curves for each training curve.

    Parameters
    ----------
    training, training_indices, options
        As for `fit`.
    library : Library
        Its sketches are used if it has any and the training x are all of its grid.
    engine : Engine
        Threads and memory; no answer depends on them.

    Returns
    -------
    list of Match
        As from `fit`, which names the errors as well.
    """
    problem = prepare(training, training_indices, library.grid, options)
    search = Search(problem.groups, options, engine.cache, library.key)
    rank: Rank = search.rank
    work: Iterable[Any] = library.blocks
    basis, rows = library.basis, library.rows
    if basis is not None and rows is not None and search.on_grid:
        work = library.sketches

        def rank(piece: Sketch, ranking: Ranking, kept: Kept) -> Ranking:
            return search.rank_sketch(piece, basis, rows, (ranking, kept))

        # Its few rows are read through the caller's connection, which is one thread's.
        engine = replace(engine, threads=1)

    best = _Best(empty_ranking(len(problem.names), 0), Kept(), options.top_k)
    for news in _ranked(work, best, rank, engine.threads):
        best.add(*news)
    return _finish(problem, search.complete(best.ranking, best.kept))


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
            self.kept = {index: curve for index, curve in self.kept.items() if index in best}


def _ranked(
    work: Iterable[Any], best: _Best, rank: Rank, threads: int
) -> Iterator[tuple[Ranking, Kept]]:
    """Rank all pieces, on several threads if asked; what was the best then limits each."""

    def one(piece: Any, ranking: Ranking) -> tuple[Ranking, Kept]:
        kept = Kept()
        return rank(piece, ranking, kept), kept

    if threads == 1:
        for piece in work:
            yield one(piece, best.ranking)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[tuple[Ranking, Kept]]] = deque()
        for piece in work:
            # So few are under way that memory does not grow with the library.
            if len(waiting) > threads:
                yield waiting.popleft().result()
            waiting.append(pool.submit(one, piece, best.ranking))
        for future in waiting:
            yield future.result()


def prepare(
    training: Table, training_indices: IndexArray, grid: FloatArray, options: FitOptions
) -> Problem:
    """Check a fit and pair its training curves with the library's grid.

    Parameters
    ----------
    training, training_indices, grid, options
        As for `fit`.

    Returns
    -------
    Problem
        For `fit_block`.
    """
    _check_options(options)
    grids.check_grid(training.x, "training", training.x_name)
    grids.check_grid(grid, "library")
    alignment = grids.align(training.x, grid, options.alignment, options.x_tolerance)
    numbers = ~np.isnan(training.y)
    if options.outside == "reject":
        _refuse_outside(training, numbers, alignment, grid)
    numbers &= alignment.covered
    _refuse_empty(training.names, numbers)
    return Problem(
        options, training_indices, training.names, _groups(training, numbers, alignment, grid.size)
    )


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
        f" {facts[0].detail} Use outside=omit to leave such points out.",
        facts,
    )


def _refuse_empty(names: tuple[str, ...], numbers: BoolArray) -> None:
    facts = [
        Fact(f"{name} has no number at an x of the library.", "no_pair", column=name)
        for position, name in enumerate(names)
        if not numbers[position].any()
    ][: grids.FIRST_FEW]
    if facts:
        raise NoFit(f"{facts[0].detail} There is nothing to compare.", facts)


def _groups(training: Table, numbers: BoolArray, alignment: Alignment, n: int) -> tuple[Group, ...]:
    together: dict[bytes, list[int]] = {}
    for position, mask in enumerate(numbers):
        together.setdefault(mask.tobytes(), []).append(position)
    groups = []
    for members in together.values():
        positions = np.array(members, dtype=np.intp)
        rows = np.flatnonzero(numbers[positions[0]])
        y = np.take(training.y[positions], rows, axis=1)
        groups.append(make_group(alignment.only(rows), positions, y, n))
    return tuple(groups)


def fit_block(problem: Problem, block: Block, ranking: Ranking | None = None) -> Ranking:
    """Rank the curves of one block for each training curve.

    Parameters
    ----------
    problem : Problem
        From `prepare`.
    block : Block
        Curves of the library.
    ranking : Ranking or None
        The best so far, if known: curves that could not enter need not be found.

    Returns
    -------
    Ranking
        Of this block, for `merge`.
    """
    if ranking is None:
        ranking = empty_ranking(len(problem.names), 0)
    search, kept = Search(problem.groups, problem.options), Kept()
    return search.complete(search.rank(block, ranking, kept), kept)


def _finish(problem: Problem, ranking: Ranking) -> list[Match]:
    found = taken(ranking)
    facts = [
        Fact(
            f"No library curve has enough numbers where {name} has them"
            f" (min_overlap is {problem.options.min_overlap!r}).",
            "no_eligible_curve",
            column=name,
        )
        for name, here in zip(problem.names, found, strict=True)
        if not here.any()
    ][: grids.FIRST_FEW]
    if facts:
        raise NoFit(facts[0].detail, facts)
    return [
        _match(int(index), place + 1, curve)
        for index, row, here in zip(problem.training_indices, ranking, found, strict=True)
        for place, curve in enumerate(row[here])
    ]


def _match(training_index: int, rank: int, found: np.void) -> Match:
    figures = dict(zip(found.dtype.names or (), found.tolist(), strict=True))
    sse, n = figures["sse"], figures["n"]
    return Match(
        training_index=training_index,
        rank=rank,
        ideal_index=figures["index"],
        score=figures["score"],
        sse=_held(sse),
        rmse=_held(math.sqrt(sse / n)) if sse >= 0 else None,
        mae=_held(figures["mae"]),
        max_deviation=_held(figures["max_deviation"]),
        r2=_held(figures["r2"]),
        n=n,
        scale=figures["scale"],
        offset=figures["offset"],
    )


def _held(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
