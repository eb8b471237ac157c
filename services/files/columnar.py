"""Parquet and Arrow files as columns of float64, a few columns at a time.

A file states its sizes itself, so they are compared with the limits first, and reading stops
where there is more than stated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, assert_never

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
from services.files.axis import warn_of_axis
from services.files.columnar_cells import (
    as_mask,
    describe_other,
    is_list,
    is_number,
    read_numbers,
)
from services.files.columnar_sources import ArrowSource, ParquetSource, check_rows
from services.files.common import ReadOptions, Source, TableHead, find_x
from services.files.formats import ColumnarFormat
from services.files.library_rows import LibraryRows
from services.files.spool import ColumnFile
from services.files.stored_labels import ATTRIBUTES, UNIT, read_field_labels
from services.tables import clean_names

_BATCH_ROWS = 1 << 16
"""Rows that are read at once."""

_LIBRARY = {"name", "y"}
"""Columns of a file that holds one curve a row."""

_LABELS = {UNIT, ATTRIBUTES}
"""Columns that it may have, too."""


def read_columnar(
    data: Any, format: ColumnarFormat, into: ColumnFile, options: ReadOptions
) -> TableHead:
    """Read a Parquet file, an Arrow stream or an Arrow file (Feather).

    Parameters
    ----------
    data : bytes-like
        The file.
    format : ColumnarFormat
        Format of the file.
    into : ColumnFile
        Gets the numbers.
    options : ReadOptions
        Options of the client, and the limits.

    Returns
    -------
    TableHead
        Everything else.

    Raises
    ------
    UnreadableFile
        The file is damaged.
    InvalidTable
        It holds no curves.
    TooLarge
        It holds more than the limits allow.
    """
    with _as_unreadable(format.capitalize()):
        return _read(_open_source(data, format, options), into, options, format)


def _open_source(
    data: Any, format: ColumnarFormat, options: ReadOptions
) -> ParquetSource | ArrowSource:
    match format:
        case "parquet":
            return ParquetSource(data)
        case "arrow":
            return ArrowSource(data, options)
        case _:
            assert_never(format)


@contextmanager
def _as_unreadable(name: str) -> Iterator[None]:
    """Raise one error for all that the library raises for a damaged file."""
    try:
        yield
    except CurveError:
        raise
    except MemoryError:
        detail = f"The {name} file needs more memory than one file may have."
        raise error_from(
            TooLarge, Fact(f"{detail} Write smaller batches.", "too_much_memory")
        ) from None
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]
        raise error_from(
            UnreadableFile, Fact(f"The {name} file cannot be read: {why}", "damaged")
        ) from None


def _read(
    source: ParquetSource | ArrowSource,
    into: ColumnFile,
    options: ReadOptions,
    format: ColumnarFormat,
) -> TableHead:
    how = Source(format)
    fields = list(source.schema)
    by_name = {f.name.strip(): position for position, f in enumerate(fields)}
    are_known = _LIBRARY <= by_name.keys() <= _LIBRARY | _LABELS and len(by_name) == len(fields)
    if are_known and is_list(fields[by_name["y"]].type):
        return LibraryRows(source, by_name, into, options).read(how)
    columns = _columns(source, options)
    names = tuple(column.name for column in columns)
    x = find_x(names, options.x_column, options.usual_x)
    _check_size(source, len(columns), options)
    _read_columns(source, columns, into)
    labels, warnings = read_field_labels((fields[c.position] for c in columns), names, x)
    doubts = warn_of_axis(names, x, options.x_column)
    return TableHead(names, source.rows, how, x, labels, (*warnings, *doubts))


@dataclass(frozen=True, slots=True)
class _Column:
    """A column to read: its cleaned name and its position in the file."""

    name: str
    position: int


def _columns(source: ParquetSource | ArrowSource, options: ReadOptions) -> list[_Column]:
    """List the columns of the table in their order; refuse those that cannot hold numbers."""
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
    cleaned = {column.position: column.name for column in suspects}
    for position, row in islice(_first_values(source, sorted(cleaned)), MOST_FACTS):
        facts.append(describe_other(cleaned[position], fields[position].type, row))
    if facts:
        raise error_from_all(facts)
    return columns


def _order(schema: pa.Schema, options: ReadOptions) -> list[int]:
    """Order the columns: a named index of pandas first, as pandas itself writes CSV."""
    index, names = dict.fromkeys(_pandas_index(schema)), schema.names
    unnamed = {name: None for name in index if name.startswith("__index_level_")}
    others = {name.strip() for name in names} - set(index)
    known = (options.x_column.strip(),) if options.x_column else options.usual_x
    if unnamed and not others & set(known):
        detail = "The file holds an index of pandas that has no name. If it is x, name it with"
        detail += " df.rename_axis('x'); if not, leave it out with df.reset_index(drop=True)."
        raise error_from(InvalidTable, Fact(detail, "unnamed_index", column=next(iter(unnamed))))
    places = range(len(names))
    first = [at for at in places if names[at] in index]
    kept = [at for at in first if names[at] not in unnamed]
    return kept + [at for at in places if at not in set(first)]


def _pandas_index(schema: pa.Schema) -> list[str]:
    """Return the names of the columns that were the index of a DataFrame."""
    try:
        described = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return [name for name in described if isinstance(name, str)]
    except (KeyError, ValueError, TypeError, RecursionError):
        return []


def _check_size(source: ParquetSource | ArrowSource, columns: int, options: ReadOptions) -> None:
    check_rows(source.rows, options)
    numbers = 8 * source.rows * columns
    options.limits.check_expansion(source.size, max(numbers, source.declared))


def _first_values(
    source: ParquetSource | ArrowSource, positions: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Yield the columns that have a cell which is not a gap, and the row of the first such cell."""
    for group in source.group(positions):
        row, found = 0, dict[int, int]()
        for batch in source.batches(group, _BATCH_ROWS):
            for cells, position in zip(batch.columns, group, strict=True):
                if position not in found and cells.null_count < len(cells):
                    found[position] = row + int(np.flatnonzero(as_mask(cells.is_valid()))[0])
            row += batch.num_rows
            if len(found) == len(group):
                break
        yield from sorted(found.items())


def _read_columns(
    source: ParquetSource | ArrowSource, columns: Sequence[_Column], into: ColumnFile
) -> None:
    into.rows = source.rows
    by_position = {column.position: (at, column) for at, column in enumerate(columns)}
    for group in source.group(sorted(by_position)):
        row = 0
        for batch in source.batches(group, _BATCH_ROWS):
            if row + batch.num_rows > source.rows:
                break
            for cells, position in zip(batch.columns, group, strict=True):
                at, column = by_position[position]
                into.write(at, row, read_numbers(cells, column.name, row))
            row += batch.num_rows
        if row != source.rows:
            detail = f"The file has other rows than the {source.rows} it speaks of."
            raise error_from(UnreadableFile, Fact(detail, "damaged"))
