"""Parquet and Arrow become columns of float64, a few columns at a time.

Nothing of a file is believed before it is checked: its sizes are what it says of itself, so they
are compared with the limits first, and what is read then may still not be more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services.errors import CurveError, Fact, InvalidTable, TooLarge, UnreadableFile
from services.readers.base import (
    MOST_FACTS,
    Found,
    ReadOptions,
    Source,
    alone,
    shown,
    together,
    x_position,
)
from services.spool import ColumnFile
from services.tables import FloatArray, clean_names

_BATCH_BYTES = 8 << 20
"""Numbers that are converted in one go."""

_FOOTER_BYTES = 64 << 20
"""Metadata of a Parquet file; 10 000 columns in 40 row groups need about so much."""

_EXACT_DIGITS = 15
"""A decimal of so many digits comes back from float64 as it was."""

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
        return _read(_Parquet(data), into, options, "parquet")


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
        return _read(_Arrow(data, options), into, options, "arrow")


@contextmanager
def _as_unreadable(what: str) -> Iterator[None]:
    """All that the library may say of a damaged file is one error here."""
    try:
        yield
    except CurveError:
        raise
    except MemoryError:
        detail = f"The {what} file needs more memory than one file may have."
        raise alone(TooLarge, Fact(f"{detail} Write smaller batches.", "too_much_memory")) from None
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]
        raise alone(
            UnreadableFile, Fact(f"The {what} file cannot be read: {why}", "damaged")
        ) from None


# Two formats that are read alike


class _Parquet:
    """A Parquet file, any columns of it as batches."""

    def __init__(self, data: Any) -> None:
        self.size = len(data)
        footer = int.from_bytes(bytes(data[-8:-4]), "little")
        if self.size < 12 or bytes(data[-4:]) != b"PAR1" or footer > self.size - 12:  # noqa: PLR2004 - two marks and a length
            detail = "The Parquet file ends early or is damaged: its last bytes are not PAR1."
            raise alone(UnreadableFile, Fact(detail, "damaged"))
        if footer > _FOOTER_BYTES:
            detail = f"The metadata of the Parquet file has more than {_FOOTER_BYTES} bytes."
            raise alone(TooLarge, Fact(detail, "too_many_bytes"))
        self._file = pq.ParquetFile(
            pa.BufferReader(pa.py_buffer(data)), page_checksum_verification=True
        )
        metadata = self._file.metadata
        self.rows: int = metadata.num_rows
        self.leaves: int = metadata.num_columns
        groups = range(metadata.num_row_groups)
        self.declared = sum(max(0, metadata.row_group(i).total_byte_size) for i in groups)

    @property
    def schema(self) -> pa.Schema:
        return self._file.schema_arrow

    def batches(self, columns: Sequence[int], rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of no more rows, of the leaves at these positions."""
        return self._file.reader.iter_batches(  # type: ignore[no-any-return] # pyarrow has no types
            rows,
            row_groups=range(self._file.metadata.num_row_groups),
            column_indices=list(columns),
            use_threads=False,
        )

    def library_batches(self, columns: Sequence[int], length: int) -> Iterator[pa.RecordBatch]:
        """Batches of curves, as many at a time as `_BATCH_BYTES` hold."""
        del columns
        return self.batches(range(self.leaves), max(1, _BATCH_BYTES // (8 * max(1, length))))

    def length_of_lists(self, column: int) -> int:
        """Numbers of a curve on average, as the metadata says."""
        del column
        metadata = self._file.metadata
        values = [
            metadata.row_group(i).column(j).num_values
            for i in range(metadata.num_row_groups)
            for j in range(self.leaves)
        ]
        groups = max(1, int(metadata.num_row_groups))
        return int(max(values, default=0)) * groups // max(1, self.rows)


class _Arrow:
    """An Arrow stream or file, any columns of it as batches."""

    def __init__(self, data: Any, options: ReadOptions) -> None:
        self.size = len(data)
        self._buffer = pa.py_buffer(data)
        self._is_file = bytes(data[:6]) == b"ARROW1"
        self.schema: pa.Schema = self._open(None).schema
        self.leaves = len(self.schema)
        self._longest = self.rows = 0
        # Columns that are not asked for are not unpacked; so the rows cost little to count.
        if self.leaves <= options.limits.max_columns:
            for batch in self._all([0]):
                self.rows += batch.num_rows
                self._longest = max(self._longest, batch.num_rows)
                _check_rows(self.rows, options)
        self.declared = 0

    def _open(self, columns: Sequence[int] | None) -> Any:
        fields = None if columns is None else list(columns)
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        opened = pa.ipc.open_file if self._is_file else pa.ipc.open_stream
        return opened(self._buffer, options=options)

    def _all(self, columns: Sequence[int]) -> Iterator[pa.RecordBatch]:
        reader = self._open(columns)
        if self._is_file:
            yield from map(reader.get_batch, range(reader.num_record_batches))
        else:
            yield from reader

    def batches(self, columns: Sequence[int], rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of no more rows, of the columns at these positions."""
        for batch in self._all(columns):
            # Also where the lengths inside it are absurd, all reading is inside it from here on.
            batch.validate(full=True)
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)

    def library_batches(self, columns: Sequence[int], length: int) -> Iterator[pa.RecordBatch]:
        """Batches of curves, as many at a time as `_BATCH_BYTES` hold."""
        return self.batches(columns, max(1, _BATCH_BYTES // (8 * max(1, length))))

    def length_of_lists(self, column: int) -> int:
        """Numbers of the first curve."""
        for batch in self.batches([column], 1):
            first = batch.column(0)[0]
            return len(first) if first.is_valid else 0
        return 0

    def width(self) -> int:
        """Columns that are unpacked in one go."""
        return max(1, _BATCH_BYTES // (8 * max(1, self._longest)))


def _read(source: _Parquet | _Arrow, into: ColumnFile, options: ReadOptions, name: str) -> Found:
    how = Source(name, None, None, None, None)
    fields = list(source.schema)
    if {f.name.strip() for f in fields} == _LIBRARY and len(fields) == len(_LIBRARY):
        by_name = {f.name.strip(): position for position, f in enumerate(fields)}
        if _is_list(fields[by_name["y"]].type):
            return _Library(source, by_name, into, options).read(how)
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


def _columns(source: _Parquet | _Arrow, options: ReadOptions) -> list[_Column]:
    """The columns of the table in their order; what cannot be numbers is refused at once."""
    if max(source.leaves, len(source.schema)) > options.limits.max_columns:
        detail = f"There are {source.leaves} columns; the limit is {options.limits.max_columns}."
        raise alone(TooLarge, Fact(detail, "too_many_columns"))
    fields = list(source.schema)
    order = _order(source.schema, options)
    names = clean_names([fields[at].name for at in order])
    columns = [_Column(name, at) for name, at in zip(names, order, strict=True)]
    nested = [column for column in columns if pa.types.is_nested(fields[column.position].type)]
    facts = [_not_numbers(column.name, fields[column.position].type, None) for column in nested]
    if facts:
        raise together(facts[:MOST_FACTS])
    suspects = [c for c in columns if not _is_number(fields[c.position].type)]
    for column in suspects:
        row = _first_value(source, column)
        if row is not None:
            facts.append(_not_numbers(column.name, fields[column.position].type, row))
        if len(facts) == MOST_FACTS:
            break
    if facts:
        raise together(facts)
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
        raise alone(InvalidTable, Fact(detail, "unnamed_index", column=unnamed[0]))
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


def _check_rows(rows: int, options: ReadOptions) -> None:
    if rows > options.limits.max_rows:
        detail = f"There are more than {options.limits.max_rows} rows."
        raise alone(TooLarge, Fact(detail, "too_many_rows"))


def _check_size(source: _Parquet | _Arrow, columns: int, options: ReadOptions) -> None:
    _check_rows(source.rows, options)
    numbers = 8 * source.rows * columns
    options.limits.check_expansion(source.size, max(numbers, source.declared))


def _first_value(source: _Parquet | _Arrow, column: _Column) -> int | None:
    """Row of the first cell of a column that is no gap."""
    row = 0
    for batch in source.batches([column.position], 1 << 16):
        cells = batch.column(0)
        if cells.null_count < len(cells):
            return row + int(np.flatnonzero(_mask(cells.is_valid()))[0])
        row += len(cells)
    return None


def _read_columns(source: _Parquet | _Arrow, columns: Sequence[_Column], into: ColumnFile) -> None:
    into.rows = source.rows
    width = source.width() if isinstance(source, _Arrow) else 1
    for start in range(0, len(columns), width):
        some = dict(enumerate(columns[start : start + width], start))
        row = 0
        # The library gives columns in the order of the file, whatever the order asked for.
        by_position = sorted(some.items(), key=lambda item: item[1].position)
        for batch in source.batches(sorted(c.position for c in some.values()), 1 << 16):
            if row + batch.num_rows > source.rows:
                break
            for cells, (at, column) in zip(batch.columns, by_position, strict=True):
                into.write(at, row, _numbers(cells, column.name, row))
            row += batch.num_rows
        if row != source.rows:
            detail = f"The file has other rows than the {source.rows} it speaks of."
            raise alone(UnreadableFile, Fact(detail, "damaged"))


# One curve a row


@dataclass
class _Library:
    """A file with the columns `name` and `y`, where y holds a list: one curve a row."""

    source: _Parquet | _Arrow
    place: dict[str, int]
    into: ColumnFile
    options: ReadOptions
    names: list[str] = field(default_factory=list)

    def read(self, how: Source) -> Found:
        """Curves in their order; the one called as the x column is x."""
        self._check_rows(self.source.rows)
        length = self.source.length_of_lists(self.place["y"])
        self.into.rows = self.options.n_points or 0
        order = sorted(self.place, key=self.place.__getitem__)
        positions = [self.place[word] for word in order]
        for batch in self.source.library_batches(positions, length):
            cells = dict(zip(order, batch.columns, strict=True))
            self._check_rows(len(self.names) + batch.num_rows)
            self._take(cells["name"], cells["y"])
        if not self.names:
            raise alone(InvalidTable, Fact("The file holds no curve.", "no_rows"))
        names = self._cleaned()
        known = (self.options.x_column,) if self.options.x_column else self.options.usual_x
        if self.options.n_points is not None:
            # The dataset knows its x; another curve may well be called so elsewhere.
            known = known[:1]
        x = next((names.index(k.strip()) for k in known if k.strip() in names), None)
        if x is None and self.options.n_points is None:
            detail = "With one curve a row, a row called x has to hold the x values;"
            detail += " without it the curves can only be appended to a dataset."
            raise alone(InvalidTable, Fact(detail, "no_x", column="name"))
        self._check_curves(len(names) - (x is not None))
        if len(names) == 1 and x is not None:
            detail = "There is only the row of x; at least one curve is needed."
            raise alone(InvalidTable, Fact(detail, "one_column", row=0))
        return Found(tuple(names), self.into.rows, how, x)

    def _check_rows(self, rows: int) -> None:
        # One of them may be x.
        self._check_curves(rows - 1)
        self.options.limits.check_expansion(self.source.size, 8 * rows * self.into.rows)

    def _check_curves(self, curves: int) -> None:
        most = self.options.limits.max_curves
        if curves > most:
            detail = f"There are more than {most} curves; append them in batches."
            raise alone(TooLarge, Fact(detail, "too_many_curves"))

    def _take(self, names: pa.Array, lists: pa.Array) -> None:
        row = len(self.names)
        if not _is_text(names.type):
            raise alone(InvalidTable, Fact("The column name holds no text.", "not_text", row=row))
        words = _decoded(names).to_pylist()
        lengths = lists.value_lengths().to_pylist()
        facts = []
        for at, (word, length) in enumerate(zip(words, lengths, strict=True), row):
            if word is None or length is None:
                detail = f"Row {at}: the {'name' if word is None else 'curve'} is missing."
                facts.append(Fact(detail, "missing", at, column=word))
                continue
            self._settle(length)
            if length != self.into.rows:
                detail = f"Row {at}: the curve has {length} numbers instead of {self.into.rows}."
                facts.append(Fact(detail, "ragged_row", at, column=word))
        if facts:
            raise together(facts[:MOST_FACTS])
        self.names += words
        values = _numbers(lists.flatten(), words, row, self.into.rows)
        self.into.write(row, 0, values)

    def _settle(self, length: int) -> None:
        """The first curve says how long all are, unless the dataset does."""
        if self.into.rows == 0:
            if length == 0:
                raise alone(InvalidTable, Fact("Row 0: the curve is empty.", "no_rows", row=0))
            _check_rows(length, self.options)
            self.into.rows = length
            self.options.limits.check_expansion(self.source.size, 8 * length * self.source.rows)

    def _cleaned(self) -> list[str]:
        try:
            return clean_names(self.names)
        except InvalidTable:
            raise together(list(islice(self._bad_names(), MOST_FACTS))) from None

    def _bad_names(self) -> Iterator[Fact]:
        seen: dict[str, int] = {}
        for row, name in enumerate(self.names):
            first = seen.setdefault(name.strip(), row)
            if first != row:
                detail = f"Rows {first} and {row} are both called {shown(name.strip())}."
                yield Fact(detail, "duplicate_name", row, column=name.strip())
                continue
            try:
                clean_names([name])
            except InvalidTable as error:
                fact = error.facts[0]
                detail = fact.detail.partition(": ")[2]
                yield Fact(f"Row {row}: {detail}", fact.code, row, column=fact.column)


# Cells to numbers


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    views = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_one(kind) for is_one in views)


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(kind) for is_one in lists) and _is_number(kind.value_type)


def _is_number(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null)
    return any(is_one(kind) for is_one in numbers)


_WORDS = {
    "text": _is_text,
    "true and false": pa.types.is_boolean,
    "dates or times": pa.types.is_temporal,
    "lists or structures": pa.types.is_nested,
}


def _not_numbers(name: str, kind: pa.DataType, row: int | None) -> Fact:
    what = next((word for word, is_one in _WORDS.items() if is_one(kind)), "no numbers")
    where = "" if row is None else f", first in row {row}"
    detail = f"Column {shown(name)} holds {what} ({str(kind)[:60]}){where}; numbers are needed."
    return Fact(detail, "not_a_number", row, column=name)


def _decoded(cells: pa.Array) -> pa.Array:
    return cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells


def _numbers(
    cells: pa.Array, names: str | Sequence[str], row: int, length: int | None = None
) -> FloatArray:
    """Cells as float64, the same number each, NaN for null.

    They are those of one column from `row` on, or of curves of `length` numbers, the first of
    them in `row`.
    """
    cells = _decoded(cells)
    kind = cells.type
    if cells.null_count == len(cells):
        return np.full(len(cells), np.nan)
    if pa.types.is_integer(kind):
        values, bad = _whole_numbers(cells)
    elif pa.types.is_decimal(kind):
        values, bad = _decimals(cells)
    elif pa.types.is_floating(kind):
        values = cells.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
        bad = np.isinf(values)
    else:
        values, bad = np.empty(0), _mask(cells.is_valid())
    if bad.any():
        places = np.flatnonzero(bad)[:MOST_FACTS].tolist()
        raise together([_refused(cells[at], at, names, row, length) for at in places])
    return values


def _whole_numbers(cells: pa.Array) -> tuple[FloatArray, NDArray[np.bool_]]:
    whole = cells.fill_null(0).to_numpy()
    values = whole.astype(np.float64)
    top = 2.0 ** (8 * whole.itemsize - (whole.dtype.kind == "i"))
    # Rounded up to one more than the type holds, it could not be compared as a whole number.
    bad = values >= top
    bad[~bad] = values[~bad].astype(whole.dtype) != whole[~bad]
    if cells.null_count:
        values[_mask(cells.is_null())] = np.nan
    return values, bad


def _mask(flags: pa.BooleanArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = flags.to_numpy(zero_copy_only=False)
    return mask


def _decimals(cells: pa.Array) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The nearest float64, bad where its shortest text is another decimal."""
    values = cells.cast(pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    bad = np.zeros(len(values), dtype=np.bool_)
    if cells.type.precision > _EXACT_DIGITS:
        exact = zip(cells.to_pylist(), values.tolist(), strict=True)
        bad[:] = [cell is not None and Decimal(repr(value)) != cell for cell, value in exact]
    return values, bad | np.isinf(values)


def _refused(
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
    detail = f"Column {shown(name)}, row {at}{within}: {shown(str(cell.as_py()))} {what}."
    return Fact(detail, code, at, column=name)
