"""The library of a fit: blocks of curves, and sketches of them."""

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
    basis : Basis or None
        Basis of the sketches, if there are any.
    sketches : iterable of Sketch
        Descriptions of all its curves; read at most once, and then no block is.
    rows : callable or None
        Reads curves by their positions, ascending, shape (len(positions), n).
    """

    grid: FloatArray
    blocks: Iterable[Block]
    key: str = ""
    basis: Basis | None = None
    sketches: Iterable[Sketch] = ()
    rows: Callable[[IndexArray], FloatArray] | None = None

    def in_parts(self, most_curves: int, most_sketches: int) -> Library:
        """Return the same library with blocks and sketches of at most so many curves."""
        return replace(
            self,
            blocks=_split_all(self.blocks, most_curves),
            sketches=_split_all(self.sketches, most_sketches),
        )


def _split_all(every: Iterable[P], most: int) -> Iterator[P]:
    for curves in every:
        yield from split(curves, most)


def split(curves: P, most: int) -> Iterator[P]:
    """Split a block or a sketch into smaller ones of at most `most` curves, in order."""
    count = len(curves.indices)
    if count <= most:
        yield curves
        return
    for start in range(0, count, most):
        part = slice(start, start + most)
        yield replace(curves, **{name: getattr(curves, name)[part] for name in curves.__slots__})
