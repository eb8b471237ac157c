"""Both sides of the products of a fit: each is made once, and some are kept for other fits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import numpy as np

from services.bounds.gaps import GapSide, make_gap_library_side, make_gap_side
from services.bounds.masks import MaskSide, make_mask_side
from services.bounds.product import (
    CompleteSide,
    LibrarySide,
    join_sides,
    make_complete_side,
    make_library_side,
)
from services.bounds.sketch import Basis, make_basis, make_plain_basis
from services.fitting.cache import Cache, Key
from services.fitting.library import BlockPiece, Piece
from services.grids import IndexArray
from services.scoring.options import FitOptions
from services.scoring.training import Group
from services.tables import FloatArray

_WORTH_A_BASIS = 128
"""Training curves from which on learning a basis pays though no cache keeps the descriptions."""

T = TypeVar("T")


class PreparedSides:
    """Bases, training sides and library sides of one fit.

    Parameters
    ----------
    groups : tuple of Group
        The training curves.
    options : FitOptions
    learns : bool
        Whether a basis may be learned, which pays unless sketches have not helped.
    cache : Cache or None
        Keeps bases and library sides for other fits.
    key : str
        Fingerprint of the library for the cache; empty if there is none.
    """

    def __init__(
        self,
        groups: tuple[Group, ...],
        options: FitOptions,
        cache: Cache | None,
        key: str,
        *,
        learns: bool,
    ) -> None:
        self._groups = groups
        self._options = options
        self._cache = cache if key else None
        self._key = key
        self._learns = learns
        self._basis: Basis | None = None
        self._plain_basis: Basis | None = None
        self._made: dict[Hashable, Any] = {}

    def get_basis(self, piece: Piece) -> Basis | None:
        """Get the basis for curves as they are stored.

        Parameters
        ----------
        piece : Piece
            Curves to learn a basis from, if there is none yet.

        Returns
        -------
        Basis or None
            None while no piece has had a complete curve.
        """
        if self._basis is None and self._cache is not None:
            self._basis = self._cache.get((self._key, "basis"))
        if self._basis is None:
            basis = self._learn_basis(piece.load().take_sample())
            if basis is not None and self._cache is not None:
                basis = self._cache.keep((self._key, "basis"), basis, _count_bytes(basis))
            self._basis = basis
        return self._basis

    def _learn_basis(self, sample: FloatArray) -> Basis | None:
        are_many = sum(len(group.y) for group in self._groups) >= _WORTH_A_BASIS
        is_used_again = are_many or self._cache is not None
        learned = make_basis(sample) if self._learns and is_used_again else None
        return learned or make_plain_basis(sample)

    def get_library_side(self, piece: Piece, basis: Basis) -> LibrarySide:
        """Get the library side of a piece, its curves as they are stored.

        Parameters
        ----------
        piece : Piece
            Some curves of the library.
        basis : Basis
            From `get_basis`.
        """
        transform = self._options.transform
        return self._keep_sides(
            piece, basis, transform, lambda y: make_library_side(y, basis, transform)
        )

    def has_library_sides(self, cuts: Iterable[IndexArray]) -> bool:
        """Tell whether the cache has the library sides of all these blocks."""
        basis: Basis | None = self._cache.get((self._key, "basis")) if self._cache else None
        return basis is not None and all(
            self._cache.get(self._name_side(basis, cut, self._options.transform)) is not None
            for cut in cuts
            if self._cache and len(cut)
        )

    def get_gap_library_side(self, piece: BlockPiece, basis: Basis) -> LibrarySide:
        """Get the library side of curves with gaps.

        Parameters
        ----------
        piece : BlockPiece
            Some curves of the library.
        basis : Basis
            Basis of the `GapSide`.
        """
        kind = f"gaps {self._options.min_overlap < 1}"
        return self._keep_sides(
            piece, basis, kind, lambda y: make_gap_library_side(y, basis, self._options)
        )

    def _keep_sides(
        self, piece: Piece, basis: Basis, kind: str, make: Callable[[FloatArray], LibrarySide]
    ) -> LibrarySide:
        """Make sides block by block, since the next fit may join the blocks to other pieces."""
        found = []
        for number, cut in enumerate(piece.cuts):
            made: LibrarySide | None = None
            key = self._name_side(basis, cut, kind)
            if self._cache is not None:
                made = self._cache.get(key)
            if made is None:
                made = make(piece.read_block(number))
                if self._cache is not None:
                    made = self._cache.keep(key, made, made.nbytes)
            found.append(made)
        return join_sides(found)

    def _name_side(self, basis: Basis, cut: IndexArray, kind: str) -> Key:
        return self._key, basis.digest, name_indices(cut), kind

    def get_complete_side(self, number: int, basis: Basis) -> CompleteSide:
        """Get the side of a group of training curves that have numbers at all of the grid.

        Parameters
        ----------
        number : int
            Number of the group.
        basis : Basis
            From `get_basis`.
        """
        y = self._groups[number].on_grid
        assert y is not None  # noqa: S101 - for the type checker: callers have asked
        return self._make_once(
            ("complete", number), lambda: make_complete_side(y, basis, self._options)
        )

    def get_mask_side(self, basis: Basis) -> MaskSide | None:
        """Get the side of all training curves, at any x of the grid.

        Parameters
        ----------
        basis : Basis
            From `get_basis`.

        Returns
        -------
        MaskSide or None
            None if it does not help.
        """
        return self._make_once(
            "masks", lambda: make_mask_side(self._put_on_grid(), basis, self._options)
        )

    def get_gap_side(self, piece: BlockPiece) -> GapSide | None:
        """Get the side of all training curves, at any x of the grid, without descriptions.

        Parameters
        ----------
        piece : BlockPiece
            Curves that give unit and centre, if there are none yet.

        Returns
        -------
        GapSide or None
            None while no piece has had a number.
        """
        if self._plain_basis is None and self._cache is not None:
            self._plain_basis = self._cache.get((self._key, "unit"))
        if self._plain_basis is None:
            # Gaps of the sample are filled: it serves only to choose a unit and a centre.
            sample = piece.take_sample()
            sample = sample[~np.isnan(sample).all(axis=1)]
            with np.errstate(all="ignore"):
                sample = np.where(np.isnan(sample), np.nanmean(sample, axis=1)[:, None], sample)
            plain = make_plain_basis(sample)
            if plain is None:
                return None
            if self._cache is not None:
                plain = self._cache.keep((self._key, "unit"), plain, 0)
            self._plain_basis = plain
        basis = self._plain_basis
        return self._make_once(
            "gaps", lambda: make_gap_side(self._put_on_grid(), basis, self._options)
        )

    def _put_on_grid(self) -> FloatArray:
        return put_on_grid(self._groups)

    def _make_once(self, name: Hashable, make: Callable[[], T]) -> T:
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made


def put_on_grid(groups: tuple[Group, ...]) -> FloatArray:
    """Put all training curves on the library's grid, NaN where they have no pair."""
    y = np.full((sum(len(group.y) for group in groups), groups[0].grid_size), np.nan)
    for group in groups:
        y[group.positions[:, np.newaxis], group.alignment.left] = group.y
    return y


def name_indices(indices: IndexArray) -> Hashable:
    """Name ascending indices for a key; without a gap, the first and the last tell all."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first == len(indices) - 1:
        return first, last
    return hashlib.sha256(np.ascontiguousarray(indices).data).digest()


def _count_bytes(basis: Basis) -> int:
    return 8 * basis.n * basis.n_coordinates if basis.vectors is not None else 0
