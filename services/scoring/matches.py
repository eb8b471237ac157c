"""The fields of a match. NumPy, Arrow, SQL and JSON follow the list that stands here."""

from __future__ import annotations

import functools
from types import NoneType
from typing import NamedTuple, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from services.choices import MatchWarning

WARNINGS: tuple[MatchWarning, ...] = get_args(MatchWarning)
"""Reasons to doubt a match, in the order in which they are listed."""


class Match(NamedTuple):
    """One library curve in the ranking of one training curve.

    Statistics that float64 cannot hold are None; `score` is as computed and may be infinite
    or NaN (see `fitting.fit.require_finite`).

    Parameters
    ----------
    training_index, ideal_index : int
        Positions in the two datasets.
    rank : int
        From 1.
    score : float
        The figure that ranks, smaller is better.
    sse, rmse, mae, max_deviation : float or None
        Of the residuals r = y - (scale·f + offset). [unit of y, squared for sse]
    r2 : float or None
        1 - sse / Σ(y - ȳ)², None where y is constant.
    n : int
        Pairs.
    scale, offset : float
        The member of the family that stands for f.
    correlation : float or None
        Pearson's correlation of y and f, None where one is constant.
    cosine : float or None
        Σyf / √(Σy²·Σf²), None where one is 0 everywhere.
    margin : float or None
        (next - score) / next, where next is the score of the next curve of the ranking; 0 if they
        are equal, None without a next one.
    warnings : tuple of str
        Reasons to doubt the match.
    """

    training_index: int
    rank: int
    ideal_index: int
    score: float
    sse: float | None
    rmse: float | None
    mae: float | None
    max_deviation: float | None
    r2: float | None
    n: int
    scale: float
    offset: float
    correlation: float | None
    cosine: float | None
    margin: float | None
    warnings: tuple[MatchWarning, ...]


class MatchField(NamedTuple):
    """A field of a match as others see it.

    Parameters
    ----------
    name : str
        Its name everywhere: in NumPy, Arrow, SQL and JSON.
    kind : type
        ``str``, ``int``, ``float``, or ``list`` of words.
    may_be_null : bool
        Whether there may be no number.
    """

    name: str
    kind: type
    may_be_null: bool


def _list_fields() -> list[MatchField]:
    """List the fields of `Match`, with the name of a curve before each position of a curve."""
    fields = []
    for name, hint in get_type_hints(Match).items():
        if name.endswith("_index"):
            fields.append(MatchField(name.removesuffix("_index"), str, may_be_null=False))
        # Matches that an older version has stored have no warnings.
        kinds = (list, NoneType) if name == "warnings" else get_args(hint) or (hint,)
        fields.append(MatchField(name, kinds[0], NoneType in kinds))
    return fields


MATCH_FIELDS = tuple(_list_fields())
"""Fields of a match in the order of the contract."""

_DTYPES = {int: "<i8", float: "<f8"}

FIGURES = np.dtype(
    [
        (field.name, _DTYPES[field.kind])
        for field in MATCH_FIELDS
        if field.kind in _DTYPES and field.name not in {"training_index", "rank", "margin"}
    ]
    + [("doubts", "<i8")]
)
"""One library curve in a ranking: the fields of `Match` that its place does not tell.

`doubts` are the warnings that the pair alone gives, each one bit, see `bit_of`. NaN stands for
None, and no zero has a sign.
"""

Figures = NDArray[np.void]
"""Array of FIGURES."""


def bit_of(word: MatchWarning) -> int:
    """Return the bit that stands for a warning in a set of them."""
    return 1 << WARNINGS.index(word)


@functools.lru_cache
def list_warnings(bits: int) -> tuple[MatchWarning, ...]:
    """List the warnings of a set of them."""
    return tuple(word for word in WARNINGS if bits & bit_of(word))
