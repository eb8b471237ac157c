"""The fields of a match. NumPy, Arrow, SQL and JSON follow the list that stands here."""

from __future__ import annotations

from types import NoneType
from typing import NamedTuple, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray


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


class MatchField(NamedTuple):
    """A field of a match as others see it.

    Parameters
    ----------
    name : str
        Its name everywhere: in NumPy, Arrow, SQL and JSON.
    kind : type
        ``str``, ``int`` or ``float``.
    may_be_null : bool
        Whether there may be no number.
    """

    name: str
    kind: type[str | int | float]
    may_be_null: bool


def _list_fields() -> list[MatchField]:
    """List the fields of `Match`, with the name of a curve before each position of a curve."""
    fields = []
    for name, hint in get_type_hints(Match).items():
        if name.endswith("_index"):
            fields.append(MatchField(name.removesuffix("_index"), str, may_be_null=False))
        kinds = get_args(hint) or (hint,)
        fields.append(MatchField(name, kinds[0], NoneType in kinds))
    return fields


MATCH_FIELDS = tuple(_list_fields())
"""Fields of a match in the order of the contract."""

_DTYPES = {int: "<i8", float: "<f8"}

FIGURES = np.dtype(
    [
        (field.name, _DTYPES[field.kind])
        for field in MATCH_FIELDS
        if field.kind is not str and field.name not in {"training_index", "rank"}
    ]
)
"""One library curve in a ranking: the fields of `Match` that its place does not tell.

r2 is NaN where y is constant, and no zero has a sign.
"""

Figures = NDArray[np.void]
"""Array of FIGURES."""
