"""Pieces of a library, ranked one after the other: blocks of curves, or positions of curves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np

from services.bounds.sketch import SAMPLE
from services.fitting.blocks import Block, Rows
from services.grids import IndexArray
from services.scoring.options import FitOptions
from services.scoring.scores import cut_into_tiles
from services.scoring.training import Group, Pairs
from services.tables import FloatArray

T = TypeVar("T")

_PIECE_CURVES = 8192
"""Target size of a piece, in curves: large enough that overhead per piece is negligible."""

_PIECE_PAIRS = 1 << 20
"""Target size of a piece, in pairs: small enough that the next is limited by scores soon."""

_PIECE_BYTES = 32 << 20
"""Target size of a piece, in bytes: memory does not grow with the library."""

_READ_BYTES = 32 << 20
"""Most bytes of curves that are read one by one at once, or kept because they were."""


class Piece(Protocol):
    """Curves of one library."""

    indices: IndexArray
    """Position of each of its m curves in the dataset."""

    @property
    def cuts(self) -> Sequence[IndexArray]:
        """The same positions, block by block."""

    def read_block(self, number: int) -> FloatArray:
        """Read the curves of a block, one a row."""

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
        self._cuts = [block.indices for block in blocks]
        self.indices = self._cuts[0] if one else np.concatenate(self._cuts)

    @property
    def cuts(self) -> Sequence[IndexArray]:
        """Positions of the curves, block by block."""
        return self._cuts

    def read_block(self, number: int) -> FloatArray:
        """Return the curves of a block; see `Piece`."""
        return self.blocks[number].y

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
        found[order] = _score_in_tiles(group, pairs.select(order), self.take, options)
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


class RowsPiece:
    """Curves of which only the few that matter are read.

    Parameters
    ----------
    cuts : sequence of ndarray
        Positions of the curves of each block, ascending; at least one.
    rows : callable
        Reads curves by their positions.
    """

    def __init__(self, cuts: Sequence[IndexArray], rows: Rows) -> None:
        self._cuts = cuts
        self.indices = cuts[0] if len(cuts) == 1 else np.concatenate(cuts)
        self._rows = rows

    @property
    def cuts(self) -> Sequence[IndexArray]:
        """Positions of the curves, block by block."""
        return self._cuts

    def read_block(self, number: int) -> FloatArray:
        """Read the curves of a block; see `Piece`."""
        return self._rows(self._cuts[number])

    def take(self, rows: IndexArray) -> FloatArray:
        """Take some of the curves; see `Piece`."""
        wanted, place = np.unique(self.indices[rows], return_inverse=True)
        return self._rows(wanted)[place]

    def score(self, group: Group, pairs: Pairs, options: FitOptions) -> FloatArray:
        """Score pairs by plain differences; see `Piece`."""
        order = np.argsort(self.indices[pairs.columns], kind="stable")
        found = np.empty(len(order))
        most = max(1, _READ_BYTES // (8 * group.grid_size))
        for start in range(0, len(order), most):
            mine = order[start : start + most]
            wanted, place = np.unique(self.indices[pairs.columns[mine]], return_inverse=True)
            take = functools.partial(np.take, self._rows(wanted), axis=0)
            found[mine] = _score_in_tiles(group, Pairs(pairs.rows[mine], place), take, options)
        return found

    def load(self) -> BlockPiece:
        """Read all curves."""
        read = enumerate(self.cuts)
        return BlockPiece([Block(cut, self.read_block(number)) for number, cut in read])


class RowsOnce:
    """Curves by their positions; what was read before is not read again, up to a limit.

    Parameters
    ----------
    rows : callable
        Reads curves by their positions.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._indices = np.empty(0, np.intp)
        self._curves: FloatArray | None = None

    def __call__(self, positions: IndexArray) -> FloatArray:
        """Read the curves at ascending positions."""
        if self._curves is None or not self._indices.size:
            return self._keep(positions, self._rows(positions))
        place = np.minimum(np.searchsorted(self._indices, positions), len(self._indices) - 1)
        missing = np.flatnonzero(self._indices[place] != positions)
        if not missing.size:
            return self._curves[place]
        read = self._rows(positions[missing])
        if missing.size == len(positions):
            return self._keep(positions, read)
        curves = self._curves[place]
        curves[missing] = read
        self._keep(positions[missing], read)
        return curves

    def _keep(self, positions: IndexArray, curves: FloatArray) -> FloatArray:
        if self._curves is None:
            self._curves = np.empty((0, curves.shape[1]))
        if self._curves.nbytes + curves.nbytes <= _READ_BYTES:
            indices = np.concatenate([self._indices, positions])
            order = np.argsort(indices)
            self._curves = np.concatenate([self._curves, curves])[order]
            self._indices = indices[order]
        return curves


def _score_in_tiles(
    group: Group, pairs: Pairs, take: Callable[[IndexArray], FloatArray], options: FitOptions
) -> FloatArray:
    """Score pairs, whose library curves are taken a few at a time."""
    found = np.empty(len(pairs.rows))
    for part in cut_into_tiles((len(found), group.grid_size)):
        found[part] = group.score(pairs.rows[part], take(pairs.columns[part]), options)
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
    most = _choose_most(n_training, curves_at_once)
    for joined in _join(blocks, most, lambda block: (len(block.indices), block.y.nbytes)):
        yield BlockPiece(joined)


def join_cuts(
    cuts: Iterable[IndexArray], rows: Rows, n_training: int, curves_at_once: int | None = None
) -> Iterator[RowsPiece]:
    """Join blocks that need not be read, as `join_blocks` does."""
    most = _choose_most(n_training, curves_at_once)
    for joined in _join(cuts, most, lambda cut: (len(cut), 0)):
        yield RowsPiece(joined, rows)


def _choose_most(n_training: int, curves_at_once: int | None) -> int:
    return min(_PIECE_CURVES, _PIECE_PAIRS // n_training, curves_at_once or _PIECE_CURVES)


def _join(
    every: Iterable[T], most: int, measure: Callable[[T], tuple[int, int]]
) -> Iterator[list[T]]:
    """Join what has curves and bytes, up to the most curves and bytes of a piece."""
    joined: list[T] = []
    curves = size = 0
    for one in every:
        count, nbytes = measure(one)
        if not count:
            continue
        if curves and (curves + count > most or size + nbytes > _PIECE_BYTES):
            yield joined
            joined, curves, size = [], 0, 0
        joined.append(one)
        curves, size = curves + count, size + nbytes
    if joined:
        yield joined
