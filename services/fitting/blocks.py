"""A library as a fit reads it: blocks of curves, and sketches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

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


P = TypeVar("P", Block, Sketch)


def split(piece: P, most: int) -> Iterator[P]:
    """Cut a piece of a library into smaller ones.

    Parameters
    ----------
    piece : Block or Sketch
        Curves of the library.
    most : int
        Curves in a piece.

    Yields
    ------
    Block or Sketch
        The same curves in the same order; the piece itself if it is small enough.
    """
    count = len(piece.indices)
    if count <= most:
        yield piece
        return
    for start in range(0, count, most):
        part = slice(start, start + most)
        yield replace(piece, **{name: getattr(piece, name)[part] for name in piece.__slots__})


@dataclass(frozen=True, slots=True)
class Library:
    """What a fit needs of a library.

    Parameters
    ----------
    grid : ndarray of shape (n,)
        The library's x column. [unit of x]
    blocks : iterable of Block
        All its curves, cut in any way and in any order; read once at most.
    key : str
        Fingerprint of the content, for a cache; empty where there is none.
    basis : Basis or None
        Of the sketches, if they are kept.
    sketches : iterable of Sketch
        All its curves as well; read once at most, and then no block is.
    rows : callable or None
        Reads curves by their positions, ascending, shape (len(positions), n).
    """

    grid: FloatArray
    blocks: Iterable[Block]
    key: str = ""
    basis: Basis | None = None
    sketches: Iterable[Sketch] = ()
    rows: Callable[[IndexArray], FloatArray] | None = None
