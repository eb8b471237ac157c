"""The library of a fit: blocks of curves, and sketches of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from services.bounds.sketch import Basis, Sketch
from services.grids import IndexArray
from services.tables import FloatArray


@dataclass(frozen=True, slots=True)
class Block:
    """Some curves of one dataset.

    Parameters
    ----------
    indices : ndarray of shape (m,)
        Position of each curve in its dataset, ascending.
    y : ndarray of shape (m, n)
        One curve a row, C-contiguous; NaN is a gap. [unit of y]
    """

    indices: IndexArray
    y: FloatArray


class Sketches(Protocol):
    """Descriptions of all curves of a library, kept beside its blocks, piece by piece."""

    @property
    def basis(self) -> Basis:
        """Basis of all of them."""

    @property
    def places(self) -> Sequence[IndexArray]:
        """Positions of the curves of each piece in their dataset, ascending."""

    def read(self, number: int, /) -> Sketch:
        """Read the descriptions of a piece."""


class Rows(Protocol):
    """Curves of a library by their positions."""

    def __call__(self, positions: IndexArray, /) -> FloatArray:
        """Read the curves at ascending positions, shape (len(positions), n)."""


@dataclass(frozen=True, slots=True)
class Library:
    """A library, or a part of it, for a fit.

    Parameters
    ----------
    grid : ndarray of shape (n,)
        The library's x column. [unit of x]
    blocks : iterable of Block
        All its curves, cut in any way and in any order; read at most once.
    key : str
        Fingerprint of the content, for a cache; empty where there is none.
    sketches : Sketches or None
        Descriptions of all its curves.
    rows : callable or None
        Reads curves by their positions.
    cuts : sequence of ndarray
        Positions of the curves of each block, if that is known before they are read.
    """

    grid: FloatArray
    blocks: Iterable[Block]
    key: str = ""
    sketches: Sketches | None = None
    rows: Rows | None = None
    cuts: Sequence[IndexArray] = ()

    def in_parts(self, most_curves: int) -> Library:
        """Return the same library with blocks of at most so many curves."""
        cuts = [part for cut in self.cuts for part in _cut(cut, most_curves)]
        return replace(self, blocks=_split_all(self.blocks, most_curves), cuts=cuts)


def _cut(indices: IndexArray, most: int) -> Iterator[IndexArray]:
    for start in range(0, len(indices), most):
        yield indices[start : start + most]


def _split_all(every: Iterable[Block], most: int) -> Iterator[Block]:
    for block in every:
        start = 0
        for indices in _cut(block.indices, most):
            yield Block(indices, block.y[start : start + most])
            start += most
