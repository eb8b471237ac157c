"""Cells of Arrow arrays as float64."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.errors import MOST_FACTS, Fact, error_from_all, quote
from services.tables import FloatArray

_EXACT_DIGITS = 15
"""Digits of a decimal that float64 always keeps."""


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column holds text."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    views = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_one(kind) for is_one in views)


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a column holds lists of numbers."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(kind) for is_one in lists) and is_number(kind.value_type)


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a column holds numbers, or nothing but gaps."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null)
    return any(is_one(kind) for is_one in numbers)


_WORDS = {
    "text": is_text,
    "true and false": pa.types.is_boolean,
    "dates or times": pa.types.is_temporal,
    "lists or structures": pa.types.is_nested,
}


def describe_other(name: str, kind: pa.DataType, row: int | None) -> Fact:
    """Make the fact that a column does not hold numbers."""
    what = next((word for word, is_one in _WORDS.items() if is_one(kind)), "no numbers")
    where = "" if row is None else f", first in row {row}"
    detail = f"Column {quote(name)} holds {what} ({str(kind)[:60]}){where}; numbers are needed."
    return Fact(detail, "not_a_number", row, column=name)


def decode(cells: pa.Array) -> pa.Array:
    """Return the values of a dictionary array, or the array itself."""
    return cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells


def read_numbers(
    cells: pa.Array, names: str | Sequence[str], row: int, length: int | None = None
) -> FloatArray:
    """Read cells as float64, with NaN for null; refuse those that float64 does not hold.

    They are the cells of one column from `row` on, or of curves of `length` numbers each, the
    first of which is in `row`.
    """
    cells = decode(cells)
    kind = cells.type
    if cells.null_count == len(cells):
        return np.full(len(cells), np.nan)
    if pa.types.is_integer(kind):
        values, bad = _read_integers(cells)
    elif pa.types.is_decimal(kind):
        values, bad = _read_decimals(cells)
    elif pa.types.is_floating(kind):
        values = cells.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
        bad = np.isinf(values)
    else:
        values, bad = np.empty(0), as_mask(cells.is_valid())
    if bad.any():
        places = np.flatnonzero(bad)[:MOST_FACTS].tolist()
        raise error_from_all([_explain(cells[at], at, names, row, length) for at in places])
    return values


def _read_integers(cells: pa.Array) -> tuple[FloatArray, NDArray[np.bool_]]:
    whole = cells.fill_null(0).to_numpy()
    values = whole.astype(np.float64)
    top = 2.0 ** (8 * whole.itemsize - (whole.dtype.kind == "i"))
    # Rounded up to one more than the type holds, it could not be compared as a whole number.
    bad = values >= top
    bad[~bad] = values[~bad].astype(whole.dtype) != whole[~bad]
    if cells.null_count:
        values[as_mask(cells.is_null())] = np.nan
    return values, bad


def as_mask(flags: pa.BooleanArray) -> NDArray[np.bool_]:
    """Convert an Arrow array of booleans to NumPy."""
    mask: NDArray[np.bool_] = flags.to_numpy(zero_copy_only=False)
    return mask


def _read_decimals(cells: pa.Array) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Read the nearest float64; a decimal is bad if the shortest text of that is another one."""
    values = cells.cast(pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    bad = np.zeros(len(values), dtype=np.bool_)
    if cells.type.precision > _EXACT_DIGITS:
        exact = zip(cells.to_pylist(), values.tolist(), strict=True)
        bad[:] = [cell is not None and Decimal(repr(value)) != cell for cell, value in exact]
    return values, bad | np.isinf(values)


def _explain(
    cell: pa.Scalar, at: int, names: str | Sequence[str], row: int, length: int | None
) -> Fact:
    if isinstance(names, str):
        at, name, within = row + at, names, ""
    else:
        curve, number = divmod(at, length or 1)
        at, name, within = row + curve, names[curve], f", number {number}"
    what, code = "is not a number", "not_a_number"
    if pa.types.is_floating(cell.type):
        what, code = "is not finite", "not_finite"
    elif pa.types.is_integer(cell.type) or pa.types.is_decimal(cell.type):
        what, code = "has more digits than float64 holds", "inexact"
    detail = f"Column {quote(name)}, row {at}{within}: {quote(str(cell.as_py()))} {what}."
    return Fact(detail, code, at, column=name)
