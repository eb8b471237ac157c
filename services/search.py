"""Rank the curves of one piece of a library: candidates first, then the decision.

A piece is a block of curves, or a sketch of them and a way to read the few that matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services import candidates, grids
from services.blocks import Block, Ranking, empty_ranking, limits, merge, rank, sort_key, taken
from services.cache import Cache
from services.candidates import Columns, Pairs, Screen
from services.gaps import GapScreen, gap_columns, gap_screen
from services.grids import Alignment, BoolArray, IndexArray
from services.scores import FIGURES, Figures, FitOptions, all_scores, figures, pair_scores
from services.sketch import SAMPLE, Basis, Sketch, make_basis, plain_basis
from services.tables import FloatArray

FEW = 4000
"""Pairs of a piece that are scored one and all: proposing would take longer."""

_WORTH = 128
"""Training curves from which on a basis pays, though nobody keeps what it describes."""

_BLUNT = 8
"""One pair in so many left by single precision, and double precision has a try."""

_ANY = np.array([np.inf])
"""A limit that admits every score."""

_KEPT_BYTES = 64 << 20
"""Chosen curves that are kept until the end, when their figures are made; if there can be more,
figures are made block by block."""

Kept = dict[int, FloatArray]
"""Values of curves by their position in the library."""

Scored = tuple[IndexArray, IndexArray, FloatArray]
"""Rows of training curves, rows of library curves, and their scores, each of shape (p,)."""


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
    on_grid : ndarray of shape (k, n) or None
        The same in the order of the library's grid, if they are at each of its x once. A
        sum of squares does not depend on the order but for its rounding, so bounds can be
        had from the library as it is stored.
    """

    alignment: Alignment
    positions: IndexArray
    y: FloatArray
    on_grid: FloatArray | None

    @property
    def part(self) -> bool:
        """Whether the curves are at some x of the library's grid, at each once at most."""
        left = self.alignment.left
        return np.array_equal(left, self.alignment.right) and np.unique(left).size == left.size

    def only(self, row: int) -> Group:
        """One of the curves by itself.

        Parameters
        ----------
        row : int
            Which one.

        Returns
        -------
        Group
            Of one curve.
        """
        return Group(
            self.alignment, self.positions[row : row + 1], self.y[row : row + 1], self.on_grid
        )

    def read(self, curves: FloatArray) -> FloatArray:
        """Values of complete library curves, in the order of the training rows.

        Parameters
        ----------
        curves : ndarray of shape (m, n)
            On the library's grid. [unit of y]

        Returns
        -------
        ndarray of shape (m, p)
            C-contiguous.
        """
        return grids.read(curves, self.alignment)[0]


def make_group(alignment: Alignment, positions: IndexArray, y: FloatArray, n: int) -> Group:
    """Group of training curves.

    Parameters
    ----------
    alignment, positions, y
        As in `Group`.
    n : int
        Points of the library's grid.

    Returns
    -------
    Group
        With `on_grid`, if there is such a thing.
    """
    left = alignment.left
    once = left.size == n and np.array_equal(left, alignment.right)
    if not once or not np.array_equal(np.sort(left), np.arange(n)):
        return Group(alignment, positions, y, None)
    on_grid = np.empty_like(y)
    on_grid[:, left] = y
    return Group(alignment, positions, y, on_grid)


class Search:
    """A fit under way: what is kept of one piece for the next. Threads may share it.

    Parameters
    ----------
    groups : tuple of Group
        The training curves.
    options : FitOptions
        How curves are compared.
    cache : Cache or None
        Keeps descriptions of the library's curves for other fits.
    key : str
        Names the content of the library in the cache.
    """

    def __init__(
        self,
        groups: tuple[Group, ...],
        options: FitOptions,
        cache: Cache | None = None,
        key: str = "",
    ) -> None:
        self._groups = groups
        self._options = options
        self._cache = cache if key else None
        self._key = key
        self._screens: dict[tuple[int, str], Screen] = {}
        self._bases: dict[int, Basis | None] = {}
        self._gaps: tuple[Basis, GapScreen] | None = None
        self._parts = options.transform == "none" and all(group.part for group in groups)
        self._digests: dict[int, str] = {}
        places = sum(len(group.y) for group in groups) * options.top_k
        self._keeps = 8 * places * max(len(group.y[0]) for group in groups) <= _KEPT_BYTES
        self._where = {
            int(position): (group, row)
            for group in groups
            for row, position in enumerate(group.positions)
        }

    @property
    def on_grid(self) -> bool:
        """Whether stored sketches of the library can be used."""
        return all(group.on_grid is not None for group in self._groups)

    def rank(self, block: Block, ranking: Ranking, kept: Kept) -> Ranking:
        """Rank the curves of a block.

        Parameters
        ----------
        block : Block
            Curves of the library.
        ranking : Ranking
            The best so far of all training curves: worse ones need not be found.
        kept : dict
            Receives the values of the curves found, for `complete`.

        Returns
        -------
        Ranking
            Of this block alone, without the curves that could not enter.
        """
        top_k = self._options.top_k
        best = empty_ranking(len(ranking), min(top_k, len(block.indices)))
        limit = limits(ranking, top_k)
        if self._gappy(block):
            self._scan_gaps(block, limit, (best, kept))
            return best
        for number, group in enumerate(self._groups if len(block.indices) else ()):
            scored = self._scan(number, block, limit[group.positions])
            self._enter((best, kept), group, block, scored)
        return best

    def rank_sketch(
        self,
        sketch: Sketch,
        basis: Basis,
        rows: Callable[[IndexArray], FloatArray],
        sofar: tuple[Ranking, Kept],
    ) -> Ranking:
        """Rank curves of which a sketch is at hand; only those that matter are read.

        Parameters
        ----------
        sketch : Sketch
            Of curves of the library.
        basis : Basis
            It was made with.
        rows : callable
            Reads curves by their positions in the dataset.
        sofar : tuple of Ranking and dict
            The best so far of all training curves, and what receives values, as for `rank`.

        Returns
        -------
        Ranking
            As from `rank`.
        """
        options = self._options
        ranking, kept = sofar
        best = empty_ranking(len(ranking), min(options.top_k, len(sketch.indices)))
        limit = limits(ranking, options.top_k)
        library = candidates.sketch_columns(sketch, basis, options.transform)
        odd = library.unknown
        if options.min_overlap == 1:
            odd = odd[~np.isnan(sketch.mean[odd])]
        for number, group in enumerate(self._groups if len(sketch.indices) else ()):
            training = self._screen(number, group.on_grid, basis, "sketch")

            def score(pairs: Pairs, group: Group = group) -> FloatArray:
                wanted, place = np.unique(pairs[1], return_inverse=True)
                values = group.read(rows(sketch.indices[wanted]))
                return pair_scores(group.y, values, (pairs[0], place), options)

            near, lowered = candidates.find(
                training, library, limit[group.positions], options.top_k, score
            )
            wanted = np.union1d(near[1], odd)
            if not wanted.size:
                continue
            if wanted.size * _BLUNT > len(sketch.indices):
                # Here the sketch tells little apart; all curves have to be looked at.
                block = Block(sketch.indices, rows(sketch.indices))
                self._enter((best, kept), group, block, self._scan(number, block, lowered))
                continue
            block = Block(sketch.indices[wanted], rows(sketch.indices[wanted]))
            near = near[0], np.searchsorted(wanted, near[1])
            scored = self._decide(group, block, near, np.searchsorted(wanted, odd), lowered)
            self._enter((best, kept), group, block, scored)
        return best

    def _scan(self, number: int, block: Block, limit: FloatArray) -> Scored:
        """Pairs of a block that could be among the best, scored."""
        group, m = self._groups[number], len(block.indices)
        everything = np.arange(m)
        nothing = everything[:0]
        if len(group.y) * m <= FEW:
            return self._decide(group, block, (nothing, nothing), everything, limit)
        if group.on_grid is not None:
            curves, y, whole = block.y, group.on_grid, everything
        else:
            values, present = grids.read(block.y, group.alignment)
            whole = np.flatnonzero(present.all(axis=1))
            curves, y = values[whole] if whole.size < m else values, group.y
        basis = self._basis(number, curves) if whole.size else None
        if basis is None:
            return self._decide(group, block, (nothing, nothing), everything, limit)
        near, limit, unknown = self._propose(number, (y, curves), block, basis, limit)
        if 2 * len(near[0]) > len(y) * m:
            return self._decide(group, block, (nothing, nothing), everything, limit)
        odd = nothing
        if unknown.size or whole.size < m:
            known = np.delete(whole, unknown)
            odd = np.delete(everything, known)
        return self._decide(group, block, (near[0], whole[near[1]]), odd, limit)

    def _gappy(self, block: Block) -> bool:
        """Whether curves have gaps of their own, so that groups or rows would be many."""
        options, m = self._options, len(block.indices)
        if not self._parts:
            return False
        if sum(len(group.y) for group in self._groups) * m <= FEW:
            return False
        if len(self._groups) > 1:
            return True
        return options.min_overlap < 1 and bool(np.isnan(block.y).any())

    def _scan_gaps(self, block: Block, limit: FloatArray, found: tuple[Ranking, Kept]) -> None:
        """Rank the curves of a block for all training curves at once, whatever their gaps."""
        options = self._options
        best, kept = found
        basis, training = self._gap_screen(block.y)
        odd = np.arange(len(block.indices))
        if basis is not None and training is not None:
            library = gap_columns(block.y, basis, options)

            def score(pairs: Pairs) -> FloatArray:
                found = np.full(len(pairs[0]), np.inf)
                for row, which in _by_row(pairs[0]):
                    one = Group.only(*self._where[row])
                    wanted = pairs[1][which]
                    _, column, scored = _plain(one, block.y[wanted], _ANY, options)
                    found[which[column]] = scored
                return found

            near, limit = candidates.find(training, library, limit, options.top_k, score)
            odd = library.unknown
            for row, which in _by_row(near[0]):
                one, wanted = Group.only(*self._where[row]), near[1][which]
                first, column, scored = _plain(one, block.y[wanted], limit[row : row + 1], options)
                self._enter((best, kept), one, block, (first, wanted[column], scored))
        if odd.size:
            rest = Block(block.indices[odd], block.y[odd])
            for group in self._groups:
                scored_odd = _plain(group, rest.y, limit[group.positions], options)
                more = empty_ranking(len(best), best.shape[1])
                self._enter((more, kept), group, rest, scored_odd)
                best[:] = merge(best, more, best.shape[1])

    def _gap_screen(self, curves: FloatArray) -> tuple[Basis | None, GapScreen | None]:
        """Descriptions of all training curves, made from the first block that allows it."""
        if self._gaps is None:
            # Gaps are filled for the sample's sake: it gives no more than a unit and a centre.
            sample = curves[:: max(1, len(curves) // SAMPLE)]
            sample = sample[~np.isnan(sample).all(axis=1)]
            with np.errstate(all="ignore"):
                sample = np.where(np.isnan(sample), np.nanmean(sample, axis=1)[:, None], sample)
            basis = plain_basis(sample)
            if basis is None:
                return None, None
            count = sum(len(group.y) for group in self._groups)
            y = np.full((count, curves.shape[1]), np.nan)
            for group in self._groups:
                y[group.positions[:, np.newaxis], group.alignment.left] = group.y
            self._gaps = basis, gap_screen(y, basis, self._options)
        return self._gaps

    def _propose(
        self,
        number: int,
        sides: tuple[FloatArray, FloatArray],
        block: Block,
        basis: Basis,
        limit: FloatArray,
    ) -> tuple[Pairs, FloatArray, IndexArray]:
        """Pairs that could be among the best, lowered limits, and rows that are unknown."""
        options, group = self._options, self._groups[number]
        y, curves = sides

        def score(pairs: Pairs) -> FloatArray:
            # Whichever order the curves are in here, the decision has the training rows'.
            values = group.read(block.y) if group.on_grid is not None else curves
            return _score(group.y, values, pairs, options)

        library = self._columns(curves, block, basis, kept=group.on_grid is not None)
        training = self._screen(number, y, basis, "single")
        near, limit = candidates.find(training, library, limit, options.top_k, score)
        unknown = library.unknown
        if options.criterion == "sse" and len(near[0]) * _BLUNT > len(y) * len(curves):
            plain = plain_basis(curves[:: max(1, len(curves) // SAMPLE)])
            if plain is not None:
                double = candidates.columns(curves, plain, options.transform, np.float64)
                training = candidates.screen(y, plain, options, np.float64)
                near, limit = candidates.find(training, double, limit, options.top_k, score)
                unknown = double.unknown
        return near, limit, unknown

    def _decide(
        self, group: Group, block: Block, near: Pairs, odd: IndexArray, limit: FloatArray
    ) -> Scored:
        """Plain scores: of the pairs that were proposed, and of every pair of the odd rows."""
        found = near
        score = np.empty(0)
        if near[0].size:
            score = _score(group.y, block.y, near, self._options, group.read)
        if odd.size:
            first, second, more = _plain(group, block.y[odd], limit, self._options)
            found = np.append(near[0], first), np.append(near[1], odd[second])
            score = np.append(score, more)
        inside = sort_key(score) <= limit[found[0]]
        return found[0][inside], found[1][inside], score[inside]

    def _enter(
        self, found: tuple[Ranking, Kept], group: Group, block: Block, scored: Scored
    ) -> None:
        """Give the best pairs their places."""
        best, kept = found
        rows, columns, score = scored
        if not rows.size:
            return
        chosen, place = rank(rows, score, block.indices[columns], best.shape[1])
        rows, columns = rows[chosen], columns[chosen]
        if self._keeps:
            entered = np.zeros(len(rows), FIGURES)
            entered["score"] = score[chosen]
            for column in set(columns.tolist()):
                kept[int(block.indices[column])] = block.y[column].copy()
        else:
            entered = _figures(group, block.y, (rows, columns), self._options)
        entered["index"] = block.indices[columns]
        best[group.positions[rows], place] = entered

    def complete(self, ranking: Ranking, kept: Kept) -> Ranking:
        """Give the matches of a ranking all their figures.

        Parameters
        ----------
        ranking : Ranking
            Merged from pieces.
        kept : dict
            Values of all curves in it, from `rank`.

        Returns
        -------
        Ranking
            The same curves in the same places.
        """
        if not self._keeps:
            return ranking
        done = ranking.copy()
        for group in self._groups:
            rows, places = np.nonzero(taken(ranking[group.positions]))
            if not rows.size:
                continue
            index = ranking["index"][group.positions[rows], places]
            wanted, columns = np.unique(index, return_inverse=True)
            curves = np.array([kept[one] for one in wanted.tolist()])
            found = _figures(group, curves, (rows, columns), self._options)
            found["index"] = index
            done[group.positions[rows], places] = found
        return done

    def _screen(self, number: int, y: FloatArray | None, basis: Basis, name: str) -> Screen:
        """Descriptions of the training curves of a group, made once."""
        made = self._screens.get((number, name))
        if made is None or made.basis is not basis:
            assert y is not None  # noqa: S101 - for the type checker: callers have asked on_grid
            made = self._screens[number, name] = candidates.screen(y, basis, self._options)
        return made

    def _basis(self, number: int, curves: FloatArray) -> Basis | None:
        """Basis for a group, made from the first block that has anything to go by."""
        basis = self._bases.get(number)
        if basis is not None:
            return basis
        group = self._groups[number]
        keeps = self._cache is not None and group.on_grid is not None
        if keeps and self._cache is not None:
            basis = self._cache.get((self._key, "basis"))
        if basis is None:
            sample = curves[:: max(1, len(curves) // SAMPLE)]
            if keeps or len(group.y) >= _WORTH:
                basis = make_basis(sample)
            basis = basis or plain_basis(sample)
        if keeps and self._cache is not None and basis is not None:
            basis = self._cache.keep((self._key, "basis"), basis, _size(basis))
        return self._bases.setdefault(number, basis) if basis is not None else None

    def _columns(self, curves: FloatArray, block: Block, basis: Basis, *, kept: bool) -> Columns:
        """Descriptions of library curves, from the cache if they are there."""
        transform = self._options.transform
        if self._cache is None or not kept:
            return candidates.columns(curves, basis, transform)
        digest = hashlib.sha256(np.ascontiguousarray(block.indices).data).digest()
        key = (self._key, self._digest(basis), digest, transform)
        made: Columns | None = self._cache.get(key)
        if made is None:
            made = candidates.columns(curves, basis, transform)
            made = self._cache.keep(key, made, made.nbytes)
        return made

    def _digest(self, basis: Basis) -> str:
        """Fingerprint of a basis; this search keeps its bases, so an id names only one."""
        if id(basis) not in self._digests:
            self._digests[id(basis)] = basis.digest
        return self._digests[id(basis)]


def _size(basis: Basis) -> int:
    return 8 * basis.n * basis.rank if basis.vectors is not None else 0


def _by_row(rows: IndexArray) -> Iterator[tuple[int, IndexArray]]:
    """Each row of ascending rows, and where it stands."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for start, stop in pairwise([*starts.tolist(), len(rows)]):
        yield int(rows[start]), np.arange(start, stop)


def _score(
    y: FloatArray,
    curves: FloatArray,
    pairs: Pairs,
    options: FitOptions,
    read: Callable[[FloatArray], FloatArray] = lambda values: values,
) -> FloatArray:
    """Plain scores of pairs; curves are complete where a pair needs them."""
    if 2 * len(pairs[0]) > len(y) * len(curves):
        return all_scores(y, read(curves), options)[pairs]
    wanted, place = _once(pairs[1], len(curves))
    return pair_scores(y, read(curves[wanted]), (pairs[0], place), options)


def _once(rows: IndexArray, m: int) -> tuple[IndexArray, IndexArray]:
    """Rows to read, none of them often, and where each of the given ones is among them."""
    if len(rows) < m:
        return rows, np.arange(len(rows))
    wanted, place = np.unique(rows, return_inverse=True)
    return wanted, place


def _plain(group: Group, curves: FloatArray, limit: FloatArray, options: FitOptions) -> Scored:
    """All eligible pairs with some of these curves, scored without any bound."""
    values, present = grids.read(curves, group.alignment)
    eligible = _eligible(present, options.min_overlap)
    complete = present.all(axis=1)
    found = np.full((len(group.y), len(curves)), np.nan)
    if complete.any():
        whole = values if complete.all() else values[complete]
        found[:, complete] = all_scores(group.y, whole, options)
    for column in np.flatnonzero(eligible & ~complete):
        there = present[column]
        part = np.take(group.y, np.flatnonzero(there), axis=1)
        found[:, column] = all_scores(part, values[column, there][np.newaxis], options)[:, 0]
    keys = np.where(eligible, sort_key(found), np.nan)
    if options.top_k < np.count_nonzero(eligible):
        # NaN sorts last. Only keys up to the k-th least can be among the best; ties stay in.
        kth = np.partition(keys, options.top_k - 1, axis=1)[:, options.top_k - 1]
        limit = np.minimum(limit, kth)
    rows, columns = np.divmod(np.flatnonzero(keys <= limit[:, np.newaxis]), len(curves))
    return rows, columns, found[rows, columns]


def _eligible(present: BoolArray, min_overlap: float) -> BoolArray:
    left = present.sum(axis=1)
    return np.asarray((left > 0) & (left / present.shape[1] >= min_overlap))


def _figures(group: Group, curves: FloatArray, pairs: Pairs, options: FitOptions) -> Figures:
    """All figures of pairs, some of whose curves may have gaps."""
    rows, columns = pairs
    wanted, place = _once(columns, len(curves))
    values, present = grids.read(curves[wanted], group.alignment)
    complete = np.asarray(present.all(axis=1))[place]
    found = np.zeros(len(rows), FIGURES)
    whole = np.flatnonzero(complete)
    if whole.size:
        found[whole] = figures(group.y[rows[whole]], values[place[whole]], options)
    for pair in np.flatnonzero(~complete):
        there = present[place[pair]]
        y, f = group.y[rows[pair], there], values[place[pair], there]
        found[pair] = figures(y[np.newaxis], f[np.newaxis], options)[0]
    return found
