"""What a fit makes of its curves for the products, each thing once, some kept for other fits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from services.bounds.gaps import GapScreen, gap_columns, gap_screen
from services.bounds.masks import MaskScreen, mask_screen
from services.bounds.product import Columns, Screen, columns, screen, sketch_columns, together
from services.bounds.sketch import Basis, make_basis, plain_basis
from services.fitting.cache import Cache
from services.fitting.library import Blocks, Piece, Sketched
from services.grids import IndexArray
from services.scoring.options import FitOptions
from services.scoring.training import Group
from services.tables import FloatArray

_WORTH = 128
"""Training curves from which on a basis pays, though nobody keeps what it describes."""

T = TypeVar("T")


class Descriptions:
    """Bases and descriptions of a fit under way.

    Parameters
    ----------
    groups : tuple of Group
        The training curves.
    options : FitOptions
        How curves are compared.
    basis : Basis or None
        Of the library's sketches, if those are to be used.
    cache : Cache or None
        Keeps what is made of the library.
    key : str
        Names the content of the library in the cache; empty where there is none.
    """

    def __init__(
        self,
        groups: tuple[Group, ...],
        options: FitOptions,
        basis: Basis | None,
        cache: Cache | None,
        key: str,
    ) -> None:
        self._groups = groups
        self._options = options
        self._cache = cache if key else None
        self._key = key
        self._basis: Basis | None = basis
        self._plain: Basis | None = None
        self._made: dict[Hashable, Any] = {}

    def basis(self, piece: Piece) -> Basis | None:
        """Basis for curves as they are stored.

        Parameters
        ----------
        piece : Piece
            It is made from the first one that has anything to go by.

        Returns
        -------
        Basis or None
            None where there has been nothing to go by.
        """
        if self._basis is None and self._cache is not None:
            self._basis = self._cache.get((self._key, "basis"))
        if self._basis is None:
            basis = self._learned(piece.blocks().sample())
            if basis is not None and self._cache is not None:
                basis = self._cache.keep((self._key, "basis"), basis, _size(basis))
            self._basis = basis
        return self._basis

    def _learned(self, sample: FloatArray) -> Basis | None:
        many = sum(len(group.y) for group in self._groups) >= _WORTH
        learned = make_basis(sample) if many or self._cache is not None else None
        return learned or plain_basis(sample)

    def columns(self, piece: Piece, basis: Basis) -> Columns:
        """Descriptions of curves as they are stored.

        Parameters
        ----------
        piece : Piece
            Some curves of the library.
        basis : Basis
            From `basis`.

        Returns
        -------
        Columns
            From the cache if they are there.
        """
        transform = self._options.transform
        if isinstance(piece, Sketched):
            return sketch_columns(piece.sketch, basis, transform)
        return self._kept(
            piece.blocks(), basis, transform, lambda part: columns(part, basis, transform)
        )

    def gap_columns(self, piece: Blocks, basis: Basis) -> Columns:
        """Values of curves with gaps, for the product.

        Parameters
        ----------
        piece : Blocks
            Some curves of the library.
        basis : Basis
            From `gap_screen`.

        Returns
        -------
        Columns
            From the cache if they are there.
        """
        kind = f"gaps {self._options.min_overlap < 1}"
        return self._kept(piece, basis, kind, lambda part: gap_columns(part, basis, self._options))

    def _kept(
        self, piece: Blocks, basis: Basis, kind: str, make: Callable[[FloatArray], Columns]
    ) -> Columns:
        """Columns block by block, for the next fit may put the blocks together otherwise."""
        found = []
        for indices, part in zip(piece.names, piece.parts, strict=True):
            made: Columns | None = None
            key = (self._key, basis.digest, _name(indices), kind)
            if self._cache is not None:
                made = self._cache.get(key)
            if made is None:
                made = make(part)
                if self._cache is not None:
                    made = self._cache.keep(key, made, made.nbytes)
            found.append(made)
        return together(found)

    def screen(self, number: int, basis: Basis) -> Screen:
        """Descriptions of the training curves of a group that has all of the grid.

        Parameters
        ----------
        number : int
            Of the group.
        basis : Basis
            Shared with the library.

        Returns
        -------
        Screen
            Theirs.
        """
        y = self._groups[number].on_grid
        assert y is not None  # noqa: S101 - for the type checker: callers have asked
        return self._once(
            ("screen", number, id(basis)), lambda: (basis, screen(y, basis, self._options))
        )[1]

    def mask_screen(self, basis: Basis) -> MaskScreen | None:
        """All training curves, at whatever x they have.

        Parameters
        ----------
        basis : Basis
            Shared with the library.

        Returns
        -------
        MaskScreen or None
            None where descriptions do not help.
        """

        def make() -> tuple[Basis, MaskScreen | None]:
            return basis, mask_screen(self._values(), basis, self._options)

        return self._once(("masks", id(basis)), make)[1]

    def gap_screen(self, piece: Blocks) -> tuple[Basis, GapScreen] | None:
        """All training curves, at whatever x they have, and the unit of the library.

        Parameters
        ----------
        piece : Blocks
            They are made with the first one that has anything to go by.

        Returns
        -------
        tuple of Basis and GapScreen, or None
            None where there has been nothing to go by.
        """
        if self._plain is None and self._cache is not None:
            self._plain = self._cache.get((self._key, "unit"))
        if self._plain is None:
            # Gaps are filled for the sample's sake: it gives no more than a unit and a centre.
            sample = piece.sample()
            sample = sample[~np.isnan(sample).all(axis=1)]
            with np.errstate(all="ignore"):
                sample = np.where(np.isnan(sample), np.nanmean(sample, axis=1)[:, None], sample)
            plain = plain_basis(sample)
            if plain is None:
                return None
            if self._cache is not None:
                plain = self._cache.keep((self._key, "unit"), plain, 0)
            self._plain = plain
        plain = self._plain
        return plain, self._once("gaps", lambda: gap_screen(self._values(), plain, self._options))

    def _values(self) -> FloatArray:
        """All training curves on the library's grid, NaN where they have no pair."""
        n = self._groups[0].points
        y = np.full((sum(len(group.y) for group in self._groups), n), np.nan)
        for group in self._groups:
            y[group.positions[:, np.newaxis], group.alignment.left] = group.y
        return y

    def _once(self, name: Hashable, make: Callable[[], T]) -> T:
        made: T | None = self._made.get(name)
        if made is None:
            made = self._made.setdefault(name, make())
        return made


def _name(indices: IndexArray) -> Hashable:
    """Indices, for a key; they ascend, so mostly two of them tell all."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first == len(indices) - 1:
        return first, last
    return hashlib.sha256(np.ascontiguousarray(indices).data).digest()


def _size(basis: Basis) -> int:
    return 8 * basis.n * basis.rank if basis.vectors is not None else 0
