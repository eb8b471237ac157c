"""Items of a mapping: its assignments and its unmapped points."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from services.choices import Reason

MAPPED, DEVIATION, NOT_COVERED, MISSING = 0, 1, 2, 3
"""Codes of the reasons of an item."""

REASONS = (None, *get_args(Reason))
"""Reasons by their code; None for an assignment."""

ITEM = np.dtype(
    [
        ("point", "<i8"),
        ("column", "<i4"),
        ("function", "<i4"),
        ("reason", "<i4"),
        ("x", "<f8"),
        ("y", "<f8"),
        ("deviation", "<f8"),
    ]
)
"""An assignment, or an unmapped point (function -1, deviation NaN).

point is the row in the test dataset, column the position of the y column, function the
position among the chosen functions.
"""

Items = NDArray[np.void]
"""Array of ITEM."""

Row = tuple[int, int, int, int, float, float, float]
"""An item as a tuple of Python numbers, as `tolist` of items gives it."""


STORED = np.dtype([("code", "<u4"), ("deviation", "<f8")])
"""An item without what follows from its test dataset and from its neighbours.

The lowest bit of the code says whether the item is the first of its cell, where a cell is one y of
the test dataset. The other bits are 0 to 2 for an unmapped point, by its reason, and then the
function.
"""

_FIRST_FUNCTION = len(REASONS) - 1
"""Code of the first function."""

StoredItems = NDArray[np.void]
"""Array of STORED."""


def pack_items(items: Items, n_columns: int) -> StoredItems:
    """Pack items of consecutive cells; each cell has at least one.

    Parameters
    ----------
    items : ndarray of ITEM
        All items of some cells.
    n_columns : int
        Number of y columns of the test dataset.

    Returns
    -------
    ndarray of STORED
    """
    cell = items["point"] * n_columns + items["column"]
    function, reason = items["function"], items["reason"]
    code = np.where(function < 0, reason - 1, function + _FIRST_FUNCTION).astype(np.uint32)
    stored = np.empty(items.size, dtype=STORED)
    stored["code"] = code << 1 | (np.diff(cell, prepend=-1) != 0)
    stored["deviation"] = items["deviation"]
    return stored


def find_cells(stored: StoredItems, cell: int) -> NDArray[np.int64]:
    """Find the cell of each item, where the first one is of `cell`.

    Parameters
    ----------
    stored : ndarray of STORED
        Consecutive items.
    cell : int
        Test row × number of y columns + position of the y column.

    Returns
    -------
    ndarray of int64
    """
    is_first = (stored["code"] & 1).astype(np.int64)
    return is_first.cumsum() + (cell - int(is_first[0]) if stored.size else 0)


def find_functions(stored: StoredItems) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Find the function and the reason of each item, as ITEM has them.

    Parameters
    ----------
    stored : ndarray of STORED

    Returns
    -------
    tuple of two ndarray of int32
    """
    code = (stored["code"] >> 1).astype(np.int32)
    is_mapped = code >= _FIRST_FUNCTION
    function = np.where(is_mapped, code - _FIRST_FUNCTION, -1)
    return function, np.where(is_mapped, MAPPED, code + 1)
