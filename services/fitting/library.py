"""Pieces of a library, as a fit goes through them: blocks of curves, or sketches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np

from services.bounds.sketch import SAMPLE, Sketch
from services.fitting.blocks import Block
from services.grids import IndexArray
from services.scoring.options import FitOptions
from services.scoring.scores import tiles
from services.scoring.training import Group, Pairs
from services.tables import FloatArray

_CURVES = 8192
"""Curves of a piece, about: so many that what is done once for each does not matter."""

_PAIRS = 1 << 20
"""Pairs of a piece, about, so that what has been found so far limits the next soon."""

_BYTES = 32 << 20
"""Bytes of a piece, about, so that memory does not grow with the library."""


class Piece(Protocol):
    """Curves of one library."""

    indices: IndexArray
    """Position of each of its m curves in the dataset."""

    def take(self, rows: IndexArray) -> FloatArray:
        """Some of the curves, in any order and any number of times, shape (len(rows), n)."""

    def scores(self, group: Group, pairs: Pairs, options: FitOptions) -> FloatArray:
        """Plain scores of pairs of training curves and complete curves of this piece."""

    def blocks(self) -> Blocks:
        """All curves."""


class Blocks:
    """Blocks of curves put together.

    Parameters
    ----------
    blocks : sequence of Block
        At least one.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.parts = [block.y for block in blocks]
        self.names = [block.indices for block in blocks]
        one = len(blocks) == 1
        self.indices = self.names[0] if one else np.concatenate(self.names)

    @cached_property
    def _edges(self) -> IndexArray:
        return np.cumsum([0, *map(len, self.parts)])

    def take(self, rows: IndexArray) -> FloatArray:
        """Some of the curves.

        Parameters
        ----------
        rows : ndarray of shape (p,)
            Which ones.

        Returns
        -------
        ndarray of shape (p, n)
            Their values. [unit of y]
        """
        if len(self.parts) == 1:
            return self.parts[0][rows]
        order = np.argsort(rows, kind="stable")
        if (order[1:] < order[:-1]).any():
            found = np.empty((len(rows), self.parts[0].shape[1]))
            found[order] = self._take_ascending(rows[order])
            return found
        return self._take_ascending(rows)

    def _take_ascending(self, rows: IndexArray) -> FloatArray:
        found = np.empty((len(rows), self.parts[0].shape[1]))
        places = np.searchsorted(rows, self._edges).tolist()
        for part, edge, (start, stop) in zip(
            self.parts, self._edges.tolist(), pairwise(places), strict=False
        ):
            if start < stop:
                # All rows are there; to let NumPy check would cost a copy.
                np.take(part, rows[start:stop] - edge, axis=0, out=found[start:stop], mode="clip")
        return found

    def scores(self, group: Group, pairs: Pairs, options: FitOptions) -> FloatArray:
        """Plain scores of some pairs.

        Parameters
        ----------
        group : Group
            Training curves.
        pairs : tuple of two ndarray of shape (p,)
            Rows of the training curves and of these; complete where the former need it.
        options : FitOptions
            How they are compared.

        Returns
        -------
        ndarray of shape (p,)
            Scores.
        """
        found = np.empty(len(pairs[0]))
        # In the order of memory.
        order = np.argsort(pairs[1], kind="stable")
        for part in tiles((len(found), self.parts[0].shape[1])):
            some = order[part]
            found[some] = group.scores(pairs[0][some], self.take(pairs[1][some]), options)
        return found

    def sample(self) -> FloatArray:
        """A few curves from all over the piece.

        Returns
        -------
        ndarray of shape (s, n)
            Their values. [unit of y]
        """
        m = len(self.indices)
        return self.take(np.arange(0, m, max(1, m // SAMPLE)))

    def blocks(self) -> Blocks:
        """All curves.

        Returns
        -------
        Blocks
            Itself.
        """
        return self

    def all(self) -> FloatArray:
        """All curves in one array.

        Returns
        -------
        ndarray of shape (m, n)
            Their values. [unit of y]
        """
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)


class Sketched:
    """Curves of which a sketch is at hand; only those that matter are read.

    Parameters
    ----------
    sketch : Sketch
        Of the curves.
    rows : callable
        Reads curves by their positions in the dataset, ascending.
    """

    def __init__(self, sketch: Sketch, rows: Callable[[IndexArray], FloatArray]) -> None:
        self.indices = sketch.indices
        self.sketch = sketch
        self._rows = rows

    def take(self, rows: IndexArray) -> FloatArray:
        """Some of the curves.

        Parameters
        ----------
        rows : ndarray of shape (p,)
            Which ones.

        Returns
        -------
        ndarray of shape (p, n)
            Their values. [unit of y]
        """
        wanted, place = np.unique(rows, return_inverse=True)
        return self._rows(self.indices[wanted])[place]

    def scores(self, group: Group, pairs: Pairs, options: FitOptions) -> FloatArray:
        """Plain scores of some pairs.

        Parameters
        ----------
        group : Group
            Training curves.
        pairs : tuple of two ndarray of shape (p,)
            Rows of the training curves and of these; complete where the former need it.
        options : FitOptions
            How they are compared.

        Returns
        -------
        ndarray of shape (p,)
            Scores.
        """
        wanted, place = np.unique(pairs[1], return_inverse=True)
        curves, found = self._rows(self.indices[wanted]), np.empty(len(place))
        for part in tiles((len(place), curves.shape[1])):
            found[part] = group.scores(pairs[0][part], curves[place[part]], options)
        return found

    def blocks(self) -> Blocks:
        """All curves.

        Returns
        -------
        Blocks
            Read now.
        """
        return Blocks([Block(self.indices, self._rows(self.indices))])


def joined(
    blocks: Iterable[Block], training: int, curves_at_once: int | None = None
) -> Iterator[Blocks]:
    """Put blocks together to pieces that are worth their while.

    Parameters
    ----------
    blocks : iterable of Block
        Read one after the other.
    training : int
        Training curves that each of their curves is compared with.
    curves_at_once : int or None
        Curves of a piece at most, unless a single block has more.

    Yields
    ------
    Blocks
        None of them without curves.
    """
    together: list[Block] = []
    most = min(_CURVES, _PAIRS // training, curves_at_once or _CURVES)
    curves = size = 0
    for block in blocks:
        if not len(block.indices):
            continue
        if curves and (curves + len(block.indices) > most or size + block.y.nbytes > _BYTES):
            yield Blocks(together)
            together, curves, size = [], 0, 0
        together.append(block)
        curves, size = curves + len(block.indices), size + block.y.nbytes
    if together:
        yield Blocks(together)
