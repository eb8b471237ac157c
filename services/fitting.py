"""For each training curve the library curves that fit it best.

The definitions are in docs/method.md: Gaps, Transform, Criterion, Ranking.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from services import grids
from services.blocks import Block
from services.errors import Fact, GridError, InvalidOption, NoFit
from services.grids import Alignment, AlignmentKind, BoolArray, IndexArray
from services.tables import FloatArray, Table

Criterion = Literal["sse", "mae", "max"]
Transform = Literal["none", "offset", "scale", "affine"]
Outside = Literal["reject", "omit"]

_SAFE_EXPONENT = 400
"""Numbers below 2**400 can be squared, and millions of squares added, within float64."""


_REST = 2.0**-40
"""Share of the squares from which on the rest of a rounded mean would show in the scale."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How curves are compared; the words of the contract.

    Parameters
    ----------
    criterion : str
        ``sse``, ``mae`` or ``max``: the score that ranks, smaller is better.
    transform : str
        ``none``, ``offset``, ``scale`` or ``affine``: the family a library curve stands for.
    alignment : str
        ``exact`` or ``linear``: how a training x is found in the library's grid.
    x_tolerance : float or None
        For exact alignment; None is the default of `grids.default_tolerance`. [unit of x]
    outside : str
        ``reject`` or ``omit`` training x that the library does not cover.
    min_overlap : float
        Share of the pairs that a library curve with gaps must have, above 0 and at most 1.
    top_k : int
        Matches kept for each training curve.
    """

    criterion: Criterion = "sse"
    transform: Transform = "none"
    alignment: AlignmentKind = "exact"
    x_tolerance: float | None = None
    outside: Outside = "reject"
    min_overlap: float = 1.0
    top_k: int = 1


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
class _Group:
    """Training curves with numbers at the same rows: they share what is read of the library."""

    alignment: Alignment
    positions: list[int]
    y: FloatArray


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
    groups: tuple[_Group, ...]


Ranking = Sequence[Sequence[Match]]
"""For each training curve its best matches so far, best first."""


def fit(
    training: Table,
    training_indices: IndexArray,
    grid: FloatArray,
    blocks: Iterable[Block],
    options: FitOptions,
) -> list[Match]:
    """Rank the library's curves for each training curve.

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
    problem = prepare(training, training_indices, grid, options)
    ranking: Ranking = [()] * len(problem.names)
    for block in blocks:
        ranking = merge(ranking, fit_block(problem, block), options.top_k)
    return _finish(problem, ranking)


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
    return Problem(options, training_indices, training.names, _groups(training, numbers, alignment))


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


def _groups(training: Table, numbers: BoolArray, alignment: Alignment) -> tuple[_Group, ...]:
    together: dict[bytes, list[int]] = {}
    for position, mask in enumerate(numbers):
        together.setdefault(np.packbits(mask).tobytes(), []).append(position)
    groups = []
    for positions in together.values():
        rows = np.flatnonzero(numbers[positions[0]])
        y = np.take(training.y[positions], rows, axis=1)
        groups.append(_Group(alignment.only(rows), positions, y))
    return tuple(groups)


def fit_block(problem: Problem, block: Block) -> Ranking:
    """Rank the curves of one block for each training curve.

    Parameters
    ----------
    problem : Problem
        From `prepare`.
    block : Block
        Curves of the library.

    Returns
    -------
    Ranking
        At most ``top_k`` matches for each of the k training curves; their rank is 0 until
        the ranking is complete.
    """
    ranking: list[list[Match]] = [[] for _ in problem.names]
    for group in problem.groups:
        values, present = grids.read(block.y, group.alignment)
        eligible = _eligible(present, problem.options.min_overlap)
        complete = present.all(axis=1)
        whole = values if complete.all() else values[complete]
        for position, y in zip(group.positions, group.y, strict=True):
            scores = np.full(len(values), np.nan)
            scores[complete] = _scores(y, whole, problem.options)
            for row in np.flatnonzero(eligible & ~complete):
                pairs = present[row]
                scores[row] = _scores(y[pairs], values[row, pairs][np.newaxis], problem.options)[0]
            for row in _best_rows(scores, eligible, problem.options.top_k):
                pairs = present[row]
                ranking[position].append(
                    _match(
                        y[pairs],
                        values[row, pairs],
                        problem.options,
                        (int(problem.training_indices[position]), int(block.indices[row])),
                    )
                )
    return ranking


def _eligible(present: BoolArray, min_overlap: float) -> BoolArray:
    left = present.sum(axis=1)
    return np.asarray((left > 0) & (left / present.shape[1] >= min_overlap))


def _best_rows(scores: FloatArray, eligible: BoolArray, top_k: int) -> IndexArray:
    """Rows of the least scores, the first of equals first; scores not finite come last."""
    rows = np.flatnonzero(eligible)
    keys = np.where(np.isfinite(scores[rows]), scores[rows], np.inf)
    if top_k < rows.size:
        # Only keys up to the k-th least can be among the best; ties stay in.
        kth = np.partition(keys, top_k - 1)[top_k - 1]
        near = keys <= kth
        rows, keys = rows[near], keys[near]
    return rows[np.argsort(keys, kind="stable")[:top_k]]


def merge(left: Ranking, right: Ranking, top_k: int) -> Ranking:
    """Put the rankings of two pieces of the library together.

    Associative and commutative: pieces merge to the same ranking in any order.

    Parameters
    ----------
    left, right : Ranking
        Of the same training curves.
    top_k : int
        Matches to keep.

    Returns
    -------
    Ranking
        The best of both.
    """
    return [
        sorted((*one, *other), key=_rank_key)[:top_k]
        for one, other in zip(left, right, strict=True)
    ]


def _rank_key(match: Match) -> tuple[float, int]:
    return (match.score if math.isfinite(match.score) else math.inf, match.ideal_index)


def _finish(problem: Problem, ranking: Ranking) -> list[Match]:
    facts = [
        Fact(
            f"No library curve has enough numbers where {name} has them"
            f" (min_overlap is {problem.options.min_overlap!r}).",
            "no_eligible_curve",
            column=name,
        )
        for name, matches in zip(problem.names, ranking, strict=True)
        if not matches
    ][: grids.FIRST_FEW]
    if facts:
        raise NoFit(facts[0].detail, facts)
    return [
        replace(match, rank=rank)
        for matches in ranking
        for rank, match in enumerate(matches, start=1)
    ]


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


def _scores(y: FloatArray, f: FloatArray, options: FitOptions) -> FloatArray:
    """Scores of the rows of f (shape (m, n), complete and C-contiguous) for y (shape (n,))."""
    with np.errstate(all="ignore"):
        if options.transform == "none":
            r = y - f
        else:
            scale, offset = _family(y, f, options.transform)
            r = y - (scale[:, np.newaxis] * f + offset[:, np.newaxis])
        if options.criterion == "max":
            return np.asarray(np.max(np.abs(r), axis=-1))
        if options.criterion == "mae":
            return np.asarray(np.sum(np.abs(r), axis=-1) / y.size)
        sse = np.sum(r * r, axis=-1)
        return np.asarray(sse / y.size if options.min_overlap < 1 else sse)


def _family(y: FloatArray, f: FloatArray, transform: Transform) -> tuple[FloatArray, FloatArray]:
    """Scale and offset, by least squares, of each row of f (docs/method.md, Transform)."""
    ones, zeros = np.ones(len(f)), np.zeros(len(f))
    if transform == "none":
        return ones, zeros
    y_shift = _shift(y[np.newaxis])
    f_shift = _shift(f)
    if transform == "offset":
        y_shift = f_shift = np.maximum(y_shift, f_shift)
    # Powers of two change no digit, so ordinary curves, whose shifts are 0, are as they were.
    y_small = np.ldexp(y, -y_shift[:, np.newaxis])
    f_small = np.ldexp(f, -f_shift[:, np.newaxis])
    if transform == "offset":
        return ones, np.ldexp(np.sum(y_small - f_small, axis=-1) / y.size, y_shift)
    if transform == "scale":
        squares = np.sum(f_small * f_small, axis=-1)
        scale = np.sum(y_small * f_small, axis=-1) / squares
        return np.where(squares == 0, 0.0, np.ldexp(scale, y_shift - f_shift)), zeros
    return _affine(y_small, f_small, y_shift, f_shift)


def _affine(
    y: FloatArray, f: FloatArray, y_shift: IndexArray, f_shift: IndexArray
) -> tuple[FloatArray, FloatArray]:
    """Line through (f, y) by least squares; y and f are given without their powers of two."""
    first, n = y[:, 0], y.shape[-1]
    constant_y = np.max(y, axis=-1) == np.min(y, axis=-1)
    constant_f = np.max(f, axis=-1) == np.min(f, axis=-1)
    y_mean = np.where(constant_y, first, np.sum(y, axis=-1) / n)
    f_mean = np.sum(f, axis=-1) / n
    f_centred, y_centred = f - f_mean[:, np.newaxis], y - y_mean[:, np.newaxis]
    squares = np.sum(f_centred * f_centred, axis=-1)
    # The rounded mean leaves a rest. On ordinary curves it is nothing, and the plain formula
    # stands to the bit; between neighbouring floats it is all there is, and is taken out
    # (the corrected two-pass formula).
    f_rest, y_rest = np.sum(f_centred, axis=-1) / n, np.sum(y_centred, axis=-1) / n
    f_rest = np.where(n * f_rest * f_rest > _REST * squares, f_rest, 0.0)
    products = np.sum(f_centred * y_centred, axis=-1) - n * f_rest * y_rest
    scale = np.where(constant_f, 0.0, products / (squares - n * f_rest * f_rest))
    offset = np.where(constant_f, y_mean, y_mean - scale * f_mean - scale * f_rest)
    return np.ldexp(scale, y_shift - f_shift), np.ldexp(offset, y_shift)


def _shift(rows: FloatArray) -> IndexArray:
    """Power of two that takes the largest number of each row into the safe range."""
    _, exponent = np.frexp(np.max(np.abs(rows), axis=-1))
    return np.asarray(exponent - np.clip(exponent, -_SAFE_EXPONENT, _SAFE_EXPONENT))


def _match(y: FloatArray, f: FloatArray, options: FitOptions, indices: tuple[int, int]) -> Match:
    """All figures of one pair of curves, both of shape (n,), complete and contiguous."""
    score = float(_scores(y, f[np.newaxis], options)[0])
    with np.errstate(all="ignore"):
        scale, offset = (float(v[0]) for v in _family(y, f[np.newaxis], options.transform))
        r = y - (scale * f + offset)
        sse = np.sum(r * r)
        return Match(
            training_index=indices[0],
            rank=0,
            ideal_index=indices[1],
            score=score,
            sse=_held(sse),
            rmse=_held(np.sqrt(sse / y.size)),
            mae=_held(np.sum(np.abs(r)) / y.size),
            max_deviation=_held(np.max(np.abs(r))),
            r2=_held(_r2(y, r)),
            n=y.size,
            scale=scale,
            offset=offset,
        )


def _r2(y: FloatArray, r: FloatArray) -> float:
    """1 - Σr² / Σ(y - ȳ)², NaN where y is constant; powers of two are factored out of both."""
    if np.max(y) == np.min(y):
        return math.nan
    shift = -_shift(y[np.newaxis])
    y, r = np.ldexp(y, shift), np.ldexp(r, shift)
    spread = y - np.sum(y) / y.size
    return float(1 - np.sum(r * r) / np.sum(spread * spread))


def _held(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
