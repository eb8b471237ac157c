"""Pieces of a library, ranked one after the other: blocks of curves, or sketches of them."""

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
from services.scoring.scores import cut_into_tiles
from services.scoring.training import Group, Pairs
from services.tables import FloatArray

_PIECE_CURVES = 8192
"""Target size of a piece, in curves: large enough that overhead per piece is negligible."""

_PIECE_PAIRS = 1 << 20
"""Target size of a piece, in pairs: small enough that the next is limited by scores soon."""

_PIECE_BYTES = 32 << 20
"""Target size of a piece, in bytes: memory does not grow with the library."""


class Piece(Protocol):
    """Curves of one library."""

    indices: IndexArray
    """Position of each of its m curves in the dataset."""

    def take(self, rows: IndexArray) -> FloatArray:
        """Take some of the curves, in any order, any of them more than once.

        Parameters
        ----------
        rows : ndarray of shape (p,)
            Their places in the piece.

        Returns
        -------
        ndarray of shape (p, n)
            Their values. [unit of y]
        """

    def score(self, group: Group, pairs: Pairs, options: FitOptions) -> FloatArray:
        """Score pairs of training curves and complete curves of this piece by plain differences."""

    def load(self) -> BlockPiece:
        """Load all curves."""


class BlockPiece:
    """Blocks of curves, joined.

    Parameters
    ----------
    blocks : sequence of Block
        At least one.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        one = len(blocks) == 1
        parts = [block.indices for block in blocks]
        self.indices = parts[0] if one else np.concatenate(parts)

    @cached_property
    def _edges(self) -> IndexArray:
        return np.cumsum([0, *(len(block.indices) for block in self.blocks)])

    def take(self, rows: IndexArray) -> FloatArray:
        """Take some of the curves; see `Piece`."""
        if len(self.blocks) == 1:
            return self.blocks[0].y[rows]
        order = np.argsort(rows, kind="stable")
        if (order[1:] < order[:-1]).any():
            found = np.empty((len(rows), self.blocks[0].y.shape[1]))
            found[order] = self._take_ascending(rows[order])
            return found
        return self._take_ascending(rows)

    def _take_ascending(self, rows: IndexArray) -> FloatArray:
        found = np.empty((len(rows), self.blocks[0].y.shape[1]))
        places = np.searchsorted(rows, self._edges).tolist()
        for block, edge, (start, stop) in zip(
            self.blocks, self._edges.tolist(), pairwise(places), strict=False
        ):
            if start < stop:
                # Every row is in the block; with mode="raise" NumPy would make a copy to check.
                wanted = rows[start:stop] - edge
                np.take(block.y, wanted, axis=0, out=found[start:stop], mode="clip")
        return found

    def score(self, group: Group, pairs: Pairs, options: FitOptions) -> FloatArray:
        """Score pairs by plain differences; see `Piece`."""
        # In the order of memory.
        order = np.argsort(pairs.columns, kind="stable")
        found = np.empty(len(order))
        found[order] = _score_in_tiles(
            group, pairs.rows[order], lambda part: self.take(pairs.columns[order[part]]), options
        )
        return found

    def take_sample(self) -> FloatArray:
        """Take a few curves, spread over the piece, shape (s, n)."""
        m = len(self.indices)
        return self.take(np.arange(0, m, max(1, m // SAMPLE)))

    def load(self) -> BlockPiece:
        """Return the piece itself."""
        return self

    def join(self) -> FloatArray:
        """Join all curves in one array, shape (m, n)."""
        if len(self.blocks) == 1:
            return self.blocks[0].y
        return np.concatenate([block.y for block in self.blocks])


class SketchPiece:
    """Curves with a sketch; only the few that matter are read.

    Parameters
    ----------
    sketch : Sketch
        Descriptions of the curves.
    rows : callable
        Reads curves by their positions in the dataset, ascending.
    """

    def __init__(self, sketch: Sketch, rows: Callable[[IndexArray], FloatArray]) -> None:
        self.indices = sketch.indices
        self.sketch = sketch
        self._rows = rows

    def take(self, rows: IndexArray) -> FloatArray:
        """Take some of the curves; see `Piece`."""
        wanted, place = np.unique(rows, return_inverse=True)
        return self._rows(self.indices[wanted])[place]

    def score(self, group: Group, pairs: Pairs, options: FitOptions) -> FloatArray:
        """Score pairs by plain differences; see `Piece`."""
        wanted, place = np.unique(pairs.columns, return_inverse=True)
        curves = self._rows(self.indices[wanted])
        return _score_in_tiles(group, pairs.rows, lambda part: curves[place[part]], options)

    def load(self) -> BlockPiece:
        """Read all curves."""
        return BlockPiece([Block(self.indices, self._rows(self.indices))])


def _score_in_tiles(
    group: Group, rows: IndexArray, take: Callable[[slice], FloatArray], options: FitOptions
) -> FloatArray:
    """Score pairs of training curves and the library curves that `take` gives for a part."""
    found = np.empty(len(rows))
    for part in cut_into_tiles((len(rows), group.grid_size)):
        found[part] = group.score(rows[part], take(part), options)
    return found


def join_blocks(
    blocks: Iterable[Block], n_training: int, curves_at_once: int | None = None
) -> Iterator[BlockPiece]:
    """Join blocks to pieces large enough to rank.

    Parameters
    ----------
    blocks : iterable of Block
        Read one after the other.
    n_training : int
        Training curves of the fit.
    curves_at_once : int or None
        Most curves of a piece, unless a single block has more.

    Yields
    ------
    BlockPiece
        Each with at least one curve.
    """
    joined: list[Block] = []
    most = min(_PIECE_CURVES, _PIECE_PAIRS // n_training, curves_at_once or _PIECE_CURVES)
    curves = size = 0
    for block in blocks:
        if not len(block.indices):
            continue
        if curves and (curves + len(block.indices) > most or size + block.y.nbytes > _PIECE_BYTES):
            yield BlockPiece(joined)
            joined, curves, size = [], 0, 0
        joined.append(block)
        curves, size = curves + len(block.indices), size + block.y.nbytes
    if joined:
        yield BlockPiece(joined)
