"""Propose pairs of a whole library by its sketches, in two passes.

The first pass finds the likeliest curves of the whole library for each training curve. Their plain
scores are limits, and the second pass looks only where the first one has seen a curve that may be
within them. One pass would not do for curves like noise: there a sketch rules out hardly anything
before the best curve is known, wherever in the library it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np

from services.bounds.product import LibrarySide
from services.bounds.propose import LEAST_WIDTH, PAIRS_AT_ONCE, ScoresOnce, Task, TrainingSide
from services.bounds.rounding import RealArray, SingleArray
from services.grids import BoolArray, IndexArray
from services.scoring.ranking import make_sort_key
from services.scoring.training import Pairs, ScoredPairs, join_pairs
from services.tables import FloatArray

LEAST_CHUNK = 16
"""Curves of the smallest chunk; the likeliest curve of each chunk is remembered."""

_LARGEST_CHUNK = 256
"""Curves of the largest chunk, but for libraries that would have too many chunks."""

_LEAST_CHUNKS = 64
"""Chunks of a small library."""

_CHUNKS_PER_PLACE = 4
"""Chunks for each place of a ranking, from which its likely curves are chosen."""

_MOST_MAXIMA = 1 << 21
"""Largest number of chunks times training curves, which bounds the memory of a survey."""

_MOST_HOT_SHARE = 1 / 2
"""Share of the chunks in which a training curve may have pairs left."""

_MOST_PAIRS = 1 << 22
"""Largest number of pairs left, which bounds their memory."""

_PAIRS_PER_PLACE = 4
"""Pairs for each place that any training curve may have left."""

_SHARE_READ = 1 / 32
"""Share of the library that is faster read curve by curve than whole."""

_ASKED = 8
"""Training curves asked first whether sketches help."""

SURVEYED = 256
"""Training curves surveyed at once, which bounds the memory; a product has no use for more."""

_WORTH_ASKING = 4 * _ASKED
"""Training curves from which on some are asked first."""

Report = Callable[[float], object]
"""Function that is told the share of the work that is done."""


class DescribedSide(TrainingSide, Protocol):
    """Training curves that can be compared with sketches."""

    def select(self, rows: IndexArray, /) -> Self:
        """Select some of the curves."""


class Sides(Protocol):
    """Library sides of the sketches of a library, piece by piece."""

    @property
    def counts(self) -> Sequence[int]:
        """Curves of each piece, at least one."""

    def get(self, number: int, /) -> LibrarySide:
        """Get the library side of a piece; it may be made anew each time."""


class Proposal(NamedTuple):
    """Scored pairs of all training curves that sketches help, and the work that is left.

    Columns count the curves of all pieces, in order.
    """

    scored: ScoredPairs
    """Every pair of them that has a score within the limits and could be among the best, without
    those of unknown curves."""
    limits: FloatArray
    """The limits, lowered by scores seen on the way, shape (k,)."""
    left: IndexArray
    """Training curves for which the sketches leave too many pairs."""
    unknown: IndexArray
    """Curves that have no usable sketch."""
    gaps: IndexArray
    """Those of them that have a gap."""


@dataclass(frozen=True, slots=True)
class _Survey:
    """Likeliest curve of each chunk.

    Parameters
    ----------
    maxima : ndarray of shape (k, c)
        Largest likeness of each training curve in each chunk.
    columns : ndarray of shape (k, c)
        The curve that has it.
    edges : list of int
        Number of the first chunk of each piece, and of all chunks.
    width : int
        Curves of a chunk; the last one of a piece may have fewer.
    summaries : list of LibrarySide
        The side of each piece, without curves.
    unknown, gaps : ndarray
        As in `Proposal`.
    """

    maxima: SingleArray
    columns: IndexArray
    edges: list[int]
    width: int
    summaries: list[LibrarySide]
    unknown: IndexArray
    gaps: IndexArray


def propose_by_survey(
    training: DescribedSide, sides: Sides, task: Task, report: Report
) -> Proposal:
    """Find and score the pairs of a library that could be among the best.

    Parameters
    ----------
    training : DescribedSide
        k training curves.
    sides : Sides
        The sketches of the library; its m curves are their columns.
    task : Task
        Its `give_up_share` is not used.
    report : callable
        Called with the share of the work that is done; an error it raises ends the work.

    Returns
    -------
    Proposal
    """
    k = len(task.limits)
    if k >= _WORTH_ASKING:
        some = np.linspace(0, k - 1, _ASKED).astype(np.intp)
        asked, survey = _find_limits(training, some, sides, task, lambda _share: None)
        if asked is None or np.count_nonzero(asked.is_left) >= _ASKED - 1:
            return _leave_all(task.limits, survey)
    found = []
    for start in range(0, k, SURVEYED):
        rows = np.arange(start, min(start + SURVEYED, k))
        tell = functools.partial(_report_part, report, start / k, len(rows) / k)
        found.append(_propose_some(training, rows, sides, task, tell))
    return found[0]._replace(
        scored=join_pairs([one.scored for one in found]),
        limits=np.concatenate([one.limits for one in found]),
        left=np.concatenate([one.left for one in found]),
    )


def _report_part(report: Report, before: float, share: float, done: float) -> None:
    report(before + share * done)


def _leave_all(limits: FloatArray, survey: _Survey) -> Proposal:
    left = np.arange(len(limits))
    return Proposal(join_pairs([]), limits, left, survey.unknown, survey.gaps)


def _propose_some(
    training: DescribedSide, rows: IndexArray, sides: Sides, task: Task, report: Report
) -> Proposal:
    """Propose pairs of some of the training curves."""
    found, survey = _find_limits(training, rows, sides, task, report)
    if found is None:
        left = _leave_all(task.limits[rows], survey)
        return left._replace(left=rows)
    near, is_left = _find_near(training.select(rows), sides, found, task.top_k, report)
    m = sum(sides.counts)
    is_known = np.ones(m, bool)
    is_known[survey.unknown] = False
    near = near.select(np.flatnonzero(is_known[near.columns]))
    near = _drop_costly(near, is_left, m, task.top_k)
    scored = ScoredPairs(*near, found.scores.look_up(near))
    scored = scored.select(make_sort_key(scored.score) <= found.limits[scored.rows])
    scored = scored._replace(rows=rows[scored.rows])
    return Proposal(scored, found.limits, rows[is_left], survey.unknown, survey.gaps)


class _Found(NamedTuple):
    """Limits that the likeliest curves set, and what they leave."""

    limits: FloatArray
    floors: RealArray
    """Least likeness of a pair within the limits, shape (k, pieces)."""
    is_hot: BoolArray
    """Whether a chunk may have a pair within the limit, shape (k, c)."""
    is_left: BoolArray
    """Whether so many chunks may that the sketches do not help, shape (k,)."""
    scores: ScoresOnce
    survey: _Survey


def _find_limits(
    training: DescribedSide,
    rows: IndexArray,
    sides: Sides,
    task: Task,
    report: Report,
) -> tuple[_Found | None, _Survey]:
    """Survey the library for some training curves; None if it has too few usable sketches."""
    m = sum(sides.counts)
    mine = training.select(rows)
    survey = _survey(mine, sides, _choose_width(len(rows), m, task.top_k), report)
    if survey.unknown.size > _SHARE_READ * m or survey.maxima.shape[1] < task.top_k:
        return None, survey
    likely = _choose_likely(survey, task.top_k)
    scores = ScoresOnce(lambda pairs: task.score(Pairs(rows[pairs.rows], pairs.columns)), m)
    limits = np.minimum(task.limits[rows], scores.find_reached(likely))
    floors = np.stack([mine.find_floor(limits, one) for one in survey.summaries], axis=1)
    every = np.repeat(floors, np.diff(survey.edges), axis=1)
    is_hot = ~(survey.maxima < every)
    is_left = np.mean(is_hot, axis=1) > _MOST_HOT_SHARE
    return _Found(limits, floors, is_hot, is_left, scores, survey), survey


def _choose_width(k: int, m: int, top_k: int) -> int:
    """Choose the curves of a chunk."""
    chunks = max(_LEAST_CHUNKS, _CHUNKS_PER_PLACE * top_k)
    width = min(max(m // chunks, LEAST_CHUNK), _LARGEST_CHUNK)
    return max(width, -(-k * m // _MOST_MAXIMA))


def _survey(training: DescribedSide, sides: Sides, width: int, report: Report) -> _Survey:
    """Find the likeliest curve of each chunk of a library."""
    k, m = len(training.matrix), sum(sides.counts)
    edges = [0, *np.cumsum([-(-count // width) for count in sides.counts]).tolist()]
    maxima = np.empty((k, edges[-1]), training.matrix.dtype)
    columns = np.empty((k, edges[-1]), np.intp)
    space = np.empty(k * min(_choose_step(k, width), max(sides.counts)), maxima.dtype)
    summaries, unknown, gaps = [], [], []
    first = chunk = 0
    for number, count in enumerate(sides.counts):
        side = sides.get(number)
        for part in _cut_into_tiles(k, count, width):
            likeness = space[: k * (part.stop - part.start)].reshape(k, -1)
            training.compare(side, part, likeness)
            chunks = -(-likeness.shape[1] // width)
            table = likeness.reshape(k * chunks, -1)
            place = table.argmax(axis=1)
            here = slice(chunk, chunk + chunks)
            maxima[:, here] = table[np.arange(k * chunks), place].reshape(k, chunks)
            columns[:, here] = place.reshape(k, chunks) + (
                first + part.start + width * np.arange(chunks)
            )
            chunk += chunks
            report((first + part.stop) / m / 2)
        summaries.append(side.without_curves())
        unknown.append(side.unknown + first)
        gaps.append(side.gaps + first)
        first += count
    return _Survey(
        maxima, columns, edges, width, summaries, np.concatenate(unknown), np.concatenate(gaps)
    )


def _choose_step(k: int, width: int) -> int:
    """Choose how many curves are compared at once, whole chunks of them."""
    return max(PAIRS_AT_ONCE // k, LEAST_WIDTH, width) // width * width


def _cut_into_tiles(k: int, count: int, width: int) -> Iterator[slice]:
    """Cut a piece into parts of whole chunks, and one for the rest of it."""
    step = _choose_step(k, width)
    whole = count // width * width
    for start in range(0, whole, step):
        yield slice(start, min(start + step, whole))
    if whole < count:
        yield slice(whole, count)


def _choose_likely(survey: _Survey, top_k: int) -> IndexArray:
    """Choose top_k different curves of each training curve that are among the likeliest."""
    if top_k == 1:
        best = survey.maxima.argmax(axis=1)[:, np.newaxis]
    elif top_k == survey.maxima.shape[1]:
        return survey.columns
    else:
        best = np.argpartition(survey.maxima, -top_k, axis=1)[:, -top_k:]
    return np.asarray(np.take_along_axis(survey.columns, best, axis=1))


def _find_near(
    training: DescribedSide, sides: Sides, found: _Found, top_k: int, report: Report
) -> tuple[Pairs, BoolArray]:
    """Find the pairs above the floor, and the training curves that have too many of them."""
    k, m, survey = len(found.limits), sum(sides.counts), found.survey
    most = max(_PAIRS_PER_PLACE * top_k, min(_MOST_PAIRS // k, int(_SHARE_READ * m)))
    is_left, counts = found.is_left.copy(), np.zeros(k, np.intp)
    rows, columns = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    first = 0
    for number, count in enumerate(sides.counts):
        start = survey.edges[number]
        is_hot = found.is_hot[:, start : survey.edges[number + 1]]
        side = sides.get(number) if is_hot[~is_left].any() else None
        for part in _cut_into_tiles(k, count, survey.width) if side else ():
            chunks = slice(part.start // survey.width, -(-part.stop // survey.width))
            mine = np.flatnonzero(is_hot[:, chunks].any(axis=1) & ~is_left)
            if mine.size and side:
                floor = found.floors[mine, number]
                row, column = _find_above(training.select(mine), side, part, floor)
                counts += np.bincount(mine[row], minlength=k)
                is_left |= counts > most
                rows.append(mine[row])
                columns.append(column + (first + part.start))
        first += count
        report(0.5 + first / m / 2)
    pairs = Pairs(np.concatenate(rows), np.concatenate(columns))
    return pairs.select(np.flatnonzero(~is_left[pairs.rows])), is_left


def _find_above(
    training: DescribedSide, side: LibrarySide, part: slice, floor: RealArray
) -> tuple[IndexArray, IndexArray]:
    """Find the rows and columns of the pairs of a tile that are not below the floor."""
    likeness = np.empty((len(floor), part.stop - part.start), floor.dtype)
    training.compare(side, part, likeness)
    inside = ~(likeness < floor[:, np.newaxis])
    row, column = np.divmod(np.flatnonzero(inside), inside.shape[1])
    return row, column


def _drop_costly(
    near: Pairs,
    is_left: BoolArray,
    m: int,
    top_k: int,
) -> Pairs:
    """Leave training curves with many pairs, if more curves than are worth it would be read."""
    places = _PAIRS_PER_PLACE * top_k
    if np.unique(near.columns).size <= _SHARE_READ * m + places * len(is_left):
        return near
    is_left |= np.bincount(near.rows, minlength=len(is_left)) > places
    return near.select(np.flatnonzero(~is_left[near.rows]))
