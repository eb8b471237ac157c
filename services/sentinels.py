"""Numbers that instruments and loggers write where they have none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from services.grids import BoolArray
from services.tables import FloatArray, TableWarning

SENTINELS = np.sort(
    [
        *(-99.9, -99.99, -999.0, -999.9, -999.25, -999.99, -9999.0, -9999.9, -9999.99),
        *(-32768.0, -99999.0, -999999.0, -9999999.0, -1.23e34, -1e30, -1e31, -1e32, -1e34, -1e37),
        *(999.0, 9999.0, 99999.0, 999999.0, 9999999.0, 1e30, 1e31, 1e32, 1e34, 1e37),
        *(1.23e34, 9.9e37, 9.91e37, 1e38),
    ]
)
"""Numbers that often mean that there is none, ascending."""

_FAR = 1.0
"""Distance from all other cells, as a multiple of the largest of them, from which one is far."""


def are_sentinels(values: FloatArray) -> BoolArray:
    """Tell which numbers often mean that there is none.

    Parameters
    ----------
    values : ndarray
        Numbers; NaN is none. [any unit]

    Returns
    -------
    ndarray of the same shape
    """
    places = np.minimum(np.searchsorted(SENTINELS, values), SENTINELS.size - 1)
    found: BoolArray = SENTINELS[places] == values
    return found


def warn_of_sentinels(
    y: FloatArray, names: Sequence[str], least: FloatArray, largest: FloatArray
) -> Iterator[TableWarning]:
    """Warn of numbers that may mean that there is none: far from all other cells of their column.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        One curve a row; NaN is a gap. [unit of y]
    names : sequence of m str
        Names of the curves.
    least, largest : ndarray of shape (m,)
        Least and largest number of each curve, NaN if it has none. [unit of y]

    Yields
    ------
    TableWarning
        One for each such number of each curve.
    """
    # A number far from all others is the least or the largest, so most curves are not searched.
    for curve in np.flatnonzero(are_sentinels(least) | are_sentinels(largest)).tolist():
        values = y[curve]
        suspects = are_sentinels(values)
        others = values[~suspects]
        others = others[~np.isnan(others)]
        low, high = (others.min(), others.max()) if others.size else (0.0, 0.0)
        size = max(abs(low), abs(high))
        for number in np.unique(values[suspects]).tolist():
            if (low - number if number < low else number - high) > _FAR * size:
                rows = np.flatnonzero(values == number)
                yield _warning(names[curve], number, rows.size, int(rows[0]))


def _warning(name: str, number: float, count: int, row: int) -> TableWarning:
    shown = repr(number).removesuffix(".0")
    cells = "1 cell holds" if count == 1 else f"{count} cells hold"
    detail = f"Column {name!r}: {cells} {shown}, far from all others. Say gap={shown} if that"
    detail += " means that there is no number; in JSON, send null."
    return TableWarning("sentinel", detail, name, row, {"gap": [shown]})
