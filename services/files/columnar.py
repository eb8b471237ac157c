"""Parquet and Arrow become columns of float64, a few columns at a time.

Nothing of a file is believed before it is checked: its sizes are what it says of itself, so they
are compared with the limits first, and what is read then may still not be more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from services.errors import (
    MOST_FACTS,
    CurveError,
    Fact,
    InvalidTable,
    TooLarge,
    UnreadableFile,
    error_from,
    error_from_all,
)
from services.files.columnar_cells import (
    as_mask,
    describe_other,
    is_list,
    is_number,
    read_numbers,
)
from services.files.columnar_sources import ArrowSource, ParquetSource, check_rows
from services.files.common import Found, ReadOptions, Source, x_position
from services.files.library_rows import LibraryRows
from services.files.spool import ColumnFile
from services.tables import clean_names

_LIBRARY = {"name", "y"}
"""Columns of a file that holds one curve a row."""


def read_parquet(data: Any, into: ColumnFile, options: ReadOptions) -> Found:
    """Read a Parquet file.

    Parameters
    ----------
    data : bytes-like
        The file.
    into : ColumnFile
        Gets the numbers.
    options : ReadOptions
        What may be in it.

    Returns
    -------
    Found
        What was in it.

    Raises
    ------
    UnreadableFile
        It is damaged.
    InvalidTable
        It holds no curves.
    TooLarge
        It holds more than the limits allow.
    """
    with _as_unreadable("Parquet"):
        return _read(ParquetSource(data), into, options, "parquet")


def read_arrow(data: Any, into: ColumnFile, options: ReadOptions) -> Found:
    """Read an Arrow stream or an Arrow file (Feather).

    Parameters
    ----------
    data : bytes-like
        The file.
    into : ColumnFile
        Gets the numbers.
    options : ReadOptions
        What may be in it.

    Returns
    -------
    Found
        What was in it.

    Raises
    ------
    UnreadableFile
        It is damaged.
    InvalidTable
        It holds no curves.
    TooLarge
        It holds more than the limits allow.
    """
    with _as_unreadable("Arrow"):
        return _read(ArrowSource(data, options), into, options, "arrow")


@contextmanager
def _as_unreadable(what: str) -> Iterator[None]:
    """All that the library may say of a damaged file is one error here."""
    try:
        yield
    except CurveError:
        raise
    except MemoryError:
        detail = f"The {what} file needs more memory than one file may have."
        raise error_from(
            TooLarge, Fact(f"{detail} Write smaller batches.", "too_much_memory")
        ) from None
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]
        raise error_from(
            UnreadableFile, Fact(f"The {what} file cannot be read: {why}", "damaged")
        ) from None


# Two formats that are read alike


def _read(
    source: ParquetSource | ArrowSource, into: ColumnFile, options: ReadOptions, name: str
) -> Found:
    how = Source(name, None, None, None, None)
    fields = list(source.schema)
    if {f.name.strip() for f in fields} == _LIBRARY and len(fields) == len(_LIBRARY):
        by_name = {f.name.strip(): position for position, f in enumerate(fields)}
        if is_list(fields[by_name["y"]].type):
            return LibraryRows(source, by_name, into, options).read(how)
    columns = _columns(source, options)
    names = tuple(column.name for column in columns)
    x = x_position(names, options.x_column, options.usual_x)
    _check_size(source, len(columns), options)
    _read_columns(source, columns, into)
    return Found(names, source.rows, how, x)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a file that is wanted."""

    name: str
    position: int


def _columns(source: ParquetSource | ArrowSource, options: ReadOptions) -> list[_Column]:
    """The columns of the table in their order; what cannot be numbers is refused at once."""
    if max(source.leaves, len(source.schema)) > options.limits.max_columns:
        detail = f"There are {source.leaves} columns; the limit is {options.limits.max_columns}."
        raise error_from(TooLarge, Fact(detail, "too_many_columns"))
    fields = list(source.schema)
    order = _order(source.schema, options)
    names = clean_names([fields[at].name for at in order])
    columns = [_Column(name, at) for name, at in zip(names, order, strict=True)]
    nested = [column for column in columns if pa.types.is_nested(fields[column.position].type)]
    facts = [describe_other(column.name, fields[column.position].type, None) for column in nested]
    if facts:
        raise error_from_all(facts[:MOST_FACTS])
    suspects = [c for c in columns if not is_number(fields[c.position].type)]
    for column in suspects:
        row = _first_value(source, column)
        if row is not None:
            facts.append(describe_other(column.name, fields[column.position].type, row))
        if len(facts) == MOST_FACTS:
            break
    if facts:
        raise error_from_all(facts)
    return columns


def _order(schema: pa.Schema, options: ReadOptions) -> list[int]:
    """Positions of the columns; the index of pandas first, where it has a name, as in CSV."""
    index = _pandas_index(schema)
    unnamed = [name for name in index if name.startswith("__index_level_")]
    others = {name.strip() for name in schema.names} - set(index)
    known = (options.x_column.strip(),) if options.x_column else options.usual_x
    if unnamed and not others & set(known):
        detail = "The file holds an index of pandas that has no name. If it is x, name it with"
        detail += " df.rename_axis('x'); if not, leave it out with df.reset_index(drop=True)."
        raise error_from(InvalidTable, Fact(detail, "unnamed_index", column=unnamed[0]))
    places = range(len(schema.names))
    first = [at for at in places if schema.names[at] in index]
    kept = [at for at in first if schema.names[at] not in unnamed]
    return kept + [at for at in places if at not in set(first)]


def _pandas_index(schema: pa.Schema) -> list[str]:
    """Names of the columns that were the index of a DataFrame."""
    try:
        described = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return [name for name in described if isinstance(name, str)]
    except (KeyError, ValueError, TypeError, RecursionError):
        return []


def _check_size(source: ParquetSource | ArrowSource, columns: int, options: ReadOptions) -> None:
    check_rows(source.rows, options)
    numbers = 8 * source.rows * columns
    options.limits.check_expansion(source.size, max(numbers, source.declared))


def _first_value(source: ParquetSource | ArrowSource, column: _Column) -> int | None:
    """Row of the first cell of a column that is no gap."""
    row = 0
    for batch in source.batches([column.position], 1 << 16):
        cells = batch.column(0)
        if cells.null_count < len(cells):
            return row + int(np.flatnonzero(as_mask(cells.is_valid()))[0])
        row += len(cells)
    return None


def _read_columns(
    source: ParquetSource | ArrowSource, columns: Sequence[_Column], into: ColumnFile
) -> None:
    into.rows = source.rows
    width = source.width() if isinstance(source, ArrowSource) else 1
    for start in range(0, len(columns), width):
        some = dict(enumerate(columns[start : start + width], start))
        row = 0
        # The library gives columns in the order of the file, whatever the order asked for.
        by_position = sorted(some.items(), key=lambda item: item[1].position)
        for batch in source.batches(sorted(c.position for c in some.values()), 1 << 16):
            if row + batch.num_rows > source.rows:
                break
            for cells, (at, column) in zip(batch.columns, by_position, strict=True):
                into.write(at, row, read_numbers(cells, column.name, row))
            row += batch.num_rows
        if row != source.rows:
            detail = f"The file has other rows than the {source.rows} it speaks of."
            raise error_from(UnreadableFile, Fact(detail, "damaged"))


# One curve a row


# Cells to numbers
