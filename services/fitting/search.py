"""Rank the curves of one piece of a library: candidates first, then the decision.

Which way is taken depends on the training curves and on how many pairs there are; whichever
it is, a pair enters the ranking by its plain score alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import assert_never

import numpy as np

from services import grids
from services.bounds import product
from services.bounds.expanded import few
from services.bounds.product import Columns, screen, together
from services.bounds.propose import Bound, Task, find
from services.bounds.sieve import sieved
from services.bounds.sketch import Basis, plain_basis
from services.fitting.blocks import Block
from services.fitting.cache import Cache
from services.fitting.library import Blocks, Piece
from services.fitting.prepared import Descriptions
from services.grids import IndexArray
from services.scoring.options import FitOptions
from services.scoring.ranking import Ranking, empty_ranking, is_taken, rank, score_limits
from services.scoring.scores import FIGURES, Figures, figures, scores, tiles
from services.scoring.training import Group, Pairs, Scored, plain
from services.tables import FloatArray

FEW = 4000
"""Pairs of a piece that are looked at one and all: describing them would take longer."""

_BLUNT = 1 / 8
"""Share of the pairs left by one bound from which on the next one has a try."""

_SIEVE = 1 / 64
"""The same where a sieve comes next, which is fast."""

_HALF = 1 / 2
"""Share of the pairs from which on it is faster to score all."""

_MANY_GAPS = 1 / 32
"""Share of curves with gaps from which on they are compared by a product of their own."""

_NOBODY = np.empty(0, np.intp)

_ANY = np.array([np.inf])
"""A limit that admits every score."""

_KEPT_BYTES = 64 << 20
"""Chosen curves that are kept until the end, when their figures are made; if there can be more,
figures are made piece by piece."""

Kept = dict[int, FloatArray]
"""Values of curves by their position in the library."""


class Search:
    """A fit under way: what is made of one piece for the next.

    Parameters
    ----------
    groups : tuple of Group
        The training curves.
    options : FitOptions
        How curves are compared.
    basis : Basis or None
        Of the library's sketches, if those are to be ranked.
    cache : Cache or None
        Keeps descriptions of the library's curves for other fits.
    key : str
        Names the content of the library in the cache.
    """

    def __init__(
        self,
        groups: tuple[Group, ...],
        options: FitOptions,
        basis: Basis | None = None,
        cache: Cache | None = None,
        key: str = "",
    ) -> None:
        self._groups = groups
        self._options = options
        self._descriptions = Descriptions(groups, options, basis, cache, key)
        self._count = sum(len(group.y) for group in groups)
        self._together = options.transform == "none" and all(group.part for group in groups)
        longest = max(group.y.shape[1] for group in groups)
        self._keeps = 8 * self._count * options.top_k * longest <= _KEPT_BYTES

    @cached_property
    def _packed(self) -> tuple[FloatArray, IndexArray, IndexArray] | None:
        """Numbers of each training curve, their rows on the library's grid, and how many.

        None if they are read by other means.
        """
        if not all(group.part for group in self._groups):
            return None
        longest = max(group.y.shape[1] for group in self._groups)
        y, left = np.empty((self._count, longest)), np.empty((self._count, longest), np.intp)
        count = np.empty(self._count, np.intp)
        for group in self._groups:
            n = group.y.shape[1]
            y[group.positions, :n], left[group.positions, :n] = group.y, group.alignment.left
            count[group.positions] = n
        return y, left, count

    @cached_property
    def _places(self) -> tuple[IndexArray, IndexArray]:
        """Group of each training curve, and its row there."""
        owner, place = np.empty((2, self._count), np.intp)
        for number, group in enumerate(self._groups):
            owner[group.positions] = number
            place[group.positions] = np.arange(len(group.positions))
        return owner, place

    @property
    def on_grid(self) -> bool:
        """Whether stored sketches of the library can be used."""
        return all(group.on_grid is not None for group in self._groups)

    def rank(self, piece: Piece, ranking: Ranking, kept: Kept) -> Ranking:
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
        options, m = self._options, len(piece.indices)
        best = empty_ranking(len(ranking), min(options.top_k, m))
        limit = score_limits(ranking, options.top_k)
        if isinstance(piece, Blocks) and self._count * m <= FEW:
            for group in self._groups:
                scored, found = few(group, piece.all(), limit[group.positions], options)
                if found is None:
                    self._enter(best, piece, _placed(group, scored), None)
                else:
                    found["index"] = piece.indices[scored[1]]
                    best[group.positions, 0] = found
        else:
            scored = _joined(list(self._scored(piece, limit)))
            self._enter(best, piece, scored, kept if self._keeps else None)
        return best

    def _scored(self, piece: Piece, limit: FloatArray) -> Iterator[Scored]:
        """Pairs that could be among the best, by the way that suits them."""
        if self._together and (len(self._groups) > 1 or self._groups[0].on_grid is None):
            yield from self._scan_gaps(piece, limit)
        else:
            for number, group in enumerate(self._groups):
                for scored in self._scan(number, piece, limit[group.positions]):
                    yield _placed(group, scored)

    def _scan(self, number: int, piece: Piece, limit: FloatArray) -> Iterator[Scored]:
        """Pairs of a group with curves that are described as they are stored."""
        group = self._groups[number]
        if group.on_grid is None:
            yield from self._scan_aligned(group, piece.blocks(), limit)
            return
        basis = self._descriptions.basis(piece)
        if basis is None:
            yield from _all(group, piece, limit, self._options)
            return
        library = self._descriptions.columns(piece, basis)
        gappy = self._options.min_overlap < 1 and self._gappy(library)
        if gappy and self._together:
            yield from self._scan_gaps(piece, limit)
            return
        training = self._descriptions.screen(number, basis)
        yield from self._found(group, piece, (training, library), limit)

    def _scan_aligned(self, group: Group, piece: Blocks, limit: FloatArray) -> Iterator[Scored]:
        """Pairs of a group with curves that have to be read at its x first."""
        curves = piece.all()
        values, present = grids.read(curves, group.alignment)
        whole = np.flatnonzero(present.all(axis=1))
        odd = np.delete(np.arange(len(curves)), whole)
        if whole.size:
            inside = Blocks([Block(whole, values[whole] if odd.size else values)])
            mine = replace(group, points=group.y.shape[1], part=True, on_grid=group.y)
            basis = plain_basis(inside.sample())
            if basis is None:
                found: Iterator[Scored] = _all(
                    group, Blocks([Block(whole, curves[whole])]), limit, self._options
                )
            else:
                training = screen(mine.y, basis, self._options)
                library = product.columns(inside.all(), basis, self._options.transform)
                found = self._found(mine, inside, (training, library), limit)
            for rows, columns, score in found:
                yield rows, whole[columns], score
        if odd.size and self._options.min_overlap < 1:
            rows, columns, score = plain(group, curves[odd], limit, self._options)
            yield rows, odd[columns], score

    def _found(
        self, group: Group, piece: Piece, sides: tuple[Bound, Columns], limit: FloatArray
    ) -> Iterator[Scored]:
        """Pairs that the bounds leave, those that they cannot judge among them."""
        options = self._options

        def score(pairs: Pairs) -> FloatArray:
            return piece.scores(group, pairs, options)

        sse = options.criterion == "sse"
        training, library = sides
        scored, limit = find(training, library, Task(limit, options.top_k, _share(options), score))
        if scored is None and sse:
            piece = piece.blocks()
            plainer = plain_basis(piece.sample())
            if plainer is not None and group.on_grid is not None:
                parts = piece.parts
                library = together(
                    [
                        product.columns(part, plainer, options.transform, np.float64)
                        for part in parts
                    ]
                )
                training = screen(group.on_grid, plainer, options, np.float64)
                scored, limit = find(training, library, Task(limit, options.top_k, _HALF, score))
        if scored is None:
            yield from _all(group, piece, limit, options)
            return
        yield scored
        odd = library.unknown
        if options.min_overlap == 1:
            # These curves are needed at all of their x.
            odd = np.setdiff1d(odd, library.gaps)
        if odd.size:
            rows, columns, more = plain(group, piece.take(odd), limit, options)
            yield rows, odd[columns], more

    def _gappy(self, library: Columns) -> bool:
        """Whether so many curves have gaps that they need a product of their own."""
        return bool(library.gaps.size > _MANY_GAPS * library.curves)

    def _scan_gaps(self, piece: Piece, limit: FloatArray) -> Iterator[Scored]:
        """Pairs of all training curves, whatever gaps they have, at once."""
        scored, limit, odd = self._masked(piece, limit)
        if scored is None:
            piece = piece.blocks()
            scored, limit, odd = self._gapped(piece, limit)
        # Pairs that are not eligible have no number for a score.
        eligible = ~np.isnan(scored[2])
        yield scored[0][eligible], scored[1][eligible], scored[2][eligible]
        if odd.size:
            curves = piece.take(odd)
            for group in self._groups:
                rows, columns, more = plain(group, curves, limit[group.positions], self._options)
                yield group.positions[rows], odd[columns], more

    def _masked(
        self, piece: Piece, limit: FloatArray
    ) -> tuple[Scored | None, FloatArray, IndexArray]:
        """Pairs that descriptions leave, lowered limits, and curves they cannot judge."""
        basis = self._descriptions.basis(piece)
        training = self._descriptions.mask_screen(basis) if basis is not None else None
        if basis is None or training is None:
            return None, limit, _NOBODY
        library = self._descriptions.columns(piece, basis)
        if self._gappy(library):
            return None, limit, _NOBODY
        task = Task(
            limit, self._options.top_k, _BLUNT, lambda pairs: self._gap_scores(piece, pairs)
        )
        return *find(training, library, task), library.unknown

    def _gapped(self, piece: Blocks, limit: FloatArray) -> tuple[Scored, FloatArray, IndexArray]:
        """The same by a product of all points."""
        found = self._descriptions.gap_screen(piece)
        if found is None:
            return (_NOBODY, _NOBODY, _ANY[:0]), limit, np.arange(len(piece.indices))
        library = self._descriptions.gap_columns(piece, found[0])
        task = Task(limit, self._options.top_k, 1.0, lambda pairs: self._gap_scores(piece, pairs))
        scored, limit = find(found[1], library, task)
        assert scored is not None  # noqa: S101 - no share of the pairs is more than all
        return scored, limit, library.unknown

    def _gap_scores(self, piece: Piece, pairs: Pairs) -> FloatArray:
        """Plain scores of pairs of any training curves; NaN where a pair is not eligible."""
        found = np.empty(len(pairs[0]))
        assert self._packed is not None  # noqa: S101 - these groups have x of the grid
        order = np.argsort(self._packed[2][pairs[0]], kind="stable")
        for part in tiles((len(order), self._groups[0].points)):
            mine = order[part]
            for own, y, f in self._read(pairs[0][mine], piece.take(pairs[1][mine])):
                found[mine[own]] = scores(y, f, self._options)
        if self._options.min_overlap < 1:
            for pair in np.flatnonzero(np.isnan(found)).tolist():
                row, column = pairs[0][pair], pairs[1][pair : pair + 1]
                owner, place = self._places
                one = self._groups[owner[row]].only(place[row])
                scored = plain(one, piece.take(column), _ANY, self._options)
                found[pair] = scored[2][0] if scored[2].size else np.nan
        return found

    def _enter(self, best: Ranking, piece: Piece, scored: Scored, kept: Kept | None) -> None:
        """Give the best pairs their places; keep the curves, or make the figures at once."""
        rows, columns, score = scored
        if not rows.size:
            return
        chosen, place = rank(rows, score, piece.indices[columns], best.shape[1])
        rows, columns = rows[chosen], columns[chosen]
        index = piece.indices[columns]
        if kept is None:
            entered = self._figures(rows, piece.take(columns))
        else:
            entered = np.zeros(len(rows), FIGURES)
            entered["score"] = score[chosen]
            wanted = dict(zip(index.tolist(), columns.tolist(), strict=True))
            curves = piece.take(np.array(list(wanted.values())))
            kept |= dict(zip(wanted, curves, strict=True))
        entered["index"] = index
        best[rows, place] = entered

    def _figures(self, rows: IndexArray, curves: FloatArray) -> Figures:
        """All figures of pairs, given by training curve and values of the library curve."""
        if len(self._groups) == 1:
            return self._groups[0].figures(rows, curves, self._options)
        found = np.empty(len(rows), FIGURES)
        for mine, y, f in self._read(rows, curves):
            found[mine] = figures(y, f, self._options)
        # Gaps of the library, perhaps.
        for pair in np.flatnonzero(np.isnan(found["sse"])).tolist():
            owner, place = (numbers[rows[pair : pair + 1]] for numbers in self._places)
            group = self._groups[owner[0]]
            found[pair] = group.figures(place, curves[pair : pair + 1], self._options)[0]
        return found

    def _read(
        self, rows: IndexArray, curves: FloatArray
    ) -> Iterator[tuple[IndexArray, FloatArray, FloatArray]]:
        """Numbers of pairs of curves, as many pairs at once as have equally many numbers."""
        kind = self._places[0] if self._packed is None else self._packed[2]
        order = np.argsort(kind[rows], kind="stable")
        kinds = kind[rows][order]
        edges = np.flatnonzero(np.diff(kinds, prepend=-1, append=-1)).tolist()
        for start, stop in itertools.pairwise(edges):
            for part in tiles((stop - start, curves.shape[1])):
                mine, number = order[start:stop][part], kinds[start]
                own = rows[mine]
                if self._packed is None:
                    group = self._groups[number]
                    yield mine, group.y[self._places[1][own]], group.read(curves[mine])
                else:
                    y, left, _ = self._packed
                    f = curves[mine[:, np.newaxis], left[own, :number]]
                    yield mine, y[own, :number], f

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
        if not kept:
            return ranking
        rows, places = np.nonzero(is_taken(ranking) & (ranking["n"] == 0))
        if not rows.size:
            return ranking
        done = ranking.copy()
        index = ranking["index"][rows, places]
        found = self._figures(rows, np.array([kept[one] for one in index.tolist()]))
        found["index"] = index
        done[rows, places] = found
        return done


def _share(options: FitOptions) -> float:
    """Share of the pairs left by a first bound from which on there is a better way."""
    if not _is_sieved(options):
        return _BLUNT if options.criterion == "sse" else _HALF
    return _SIEVE


def _is_sieved(options: FitOptions) -> bool:
    """Tell whether pairs are sieved before they are scored."""
    match options.criterion:
        case "sse":
            return False
        case "mae" | "max":
            return options.transform == "none"
        case _:
            assert_never(options.criterion)


def _placed(group: Group, scored: Scored) -> Scored:
    return group.positions[scored[0]], scored[1], scored[2]


def _joined(scored: list[Scored]) -> Scored:
    if len(scored) == 1:
        return scored[0]
    if not scored:
        nothing = np.empty(0, np.intp)
        return nothing, nothing, np.empty(0)
    rows, columns, score = zip(*scored, strict=True)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(score)


def _all(group: Group, piece: Piece, limit: FloatArray, options: FitOptions) -> Iterator[Scored]:
    """Every pair within the limit, scored without any bound."""
    start = 0
    way = sieved if _is_sieved(options) else plain
    for part in piece.blocks().parts:
        rows, columns, score = way(group, part, limit, options)
        yield rows, columns + start, score
        start += len(part)
