"""Writers of CSV, Parquet and Arrow.

They take blocks of columns or Arrow record batches (`services.export.batches`) one after the other,
and yield bytes. Memory holds one piece at a time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, assert_never

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services.files.formats import WrittenFormat
from services.tables import FloatArray

CSV_ROWS = 65_536
"""Rows of one piece of CSV."""

GROUP_ROWS, GROUP_BYTES = 1 << 18, 16 << 20
"""Rows and bytes that fill a row group of Parquet; each group takes room in the footer."""

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that spreadsheets take for a formula."""

_COMMA, _LINE = b",", b"\n"


def write_rows(
    format: WrittenFormat,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    as_text: bool = False,
) -> Iterator[bytes]:
    """Write rows of numbers and words in any format.

    Parameters
    ----------
    format : WrittenFormat
        Format of the file.
    schema : Schema
        Names and types of the columns.
    batches : iterable of RecordBatch
        Some rows at a time; null is a gap.
    as_text : bool
        For CSV only, see `csv_rows`.

    Returns
    -------
    iterator of bytes
        The file, a piece at a time.
    """
    match format:
        case "csv":
            return csv_rows(schema, batches, as_text=as_text)
        case "parquet":
            return parquet_file(schema, batches)
        case "arrow":
            return arrow_stream(schema, batches)
        case _:
            assert_never(format)


def csv_values(
    names: Sequence[str], blocks: Iterable[FloatArray], *, as_text: bool = False
) -> Iterator[bytes]:
    """Write columns of numbers as CSV (RFC 4180, lines ended by a line feed, UTF-8).

    Parameters
    ----------
    names : sequence of c str
        Names of the columns.
    blocks : iterable of ndarray of shape (c, rows)
        Some rows at a time; NaN is a gap and becomes an empty cell.
    as_text : bool
        Whether to put a `'` before names that look like formulas.

    Yields
    ------
    bytes
        Whole lines: the names, then the rows of each block. A number is the shortest text that
        gives the same bits.
    """
    yield _write_line(_escape(names) if as_text else names)
    gap = _empty_cell(len(names))
    for block in blocks:
        if block.shape[1]:
            rows = orjson.dumps(np.ascontiguousarray(block.T), option=orjson.OPT_SERIALIZE_NUMPY)
            yield rows[2:-2].replace(b"],[", _LINE).replace(b"null", gap) + _LINE


def csv_rows(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    header: bool = True,
    as_text: bool = False,
) -> Iterator[bytes]:
    """Write rows of numbers and words as CSV, numbers as `csv_values` does.

    Parameters
    ----------
    schema : Schema
        Names and types: float64 and integers, strings plain or as dictionaries,
        lists of codes, which a space joins.
    batches : iterable of RecordBatch
        Of that schema; null is an empty cell.
    header : bool
        Whether the names come first.
    as_text : bool
        Whether to put a `'` before words that look like formulas.

    Yields
    ------
    bytes
        Whole lines.
    """
    if header:
        yield _write_line(_escape(schema.names) if as_text else schema.names)
    ends = [*[_COMMA] * (len(schema) - 1), _LINE]
    for batch in batches:
        if batch.num_rows:
            gap = _empty_cell(batch.num_columns)
            columns = zip(batch.columns, ends, strict=True)
            cells = [_write_cells(column, gap, end, as_text=as_text) for column, end in columns]
            lines = pc.binary_join_element_wise(*cells, "")
            # The buffer holds the text of all lines, one after the other.
            yield lines.buffers()[2].to_pybytes()


def csv_lines(
    names: Sequence[str],
    columns: Sequence[Sequence[object] | NDArray[np.generic]],
    *,
    header: bool = True,
) -> Iterator[bytes]:
    """Write columns in memory as CSV, as `csv_rows` does.

    Parameters
    ----------
    names : sequence of c str
        Names of the columns.
    columns : sequence of c sequences or arrays of n values
        Numbers or words; None and NaN are gaps.
    header : bool
        Whether the names come first.

    Yields
    ------
    bytes
        Whole lines: the names, then up to `CSV_ROWS` rows at a time.
    """
    if header:
        yield _write_line(names)
    count = len(columns[0]) if names else 0
    for start in range(0, count, CSV_ROWS):
        some = [pa.array(c[start : start + CSV_ROWS], from_pandas=True) for c in columns]
        batch = pa.RecordBatch.from_arrays(some, names=list(names))
        yield from csv_rows(batch.schema, [batch], header=False)


def _write_line(names: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(names)
    return text.getvalue().encode()


def _escape(words: Iterable[str]) -> list[str]:
    return [f"'{word}" if word.startswith(FORMULA_BEGINS) else word for word in words]


def _empty_cell(columns: int) -> bytes:
    """Return the text of an empty cell, quoted in a line of one: readers skip blank lines."""
    return b'""' if columns == 1 else b""


def _write_cells(values: pa.Array, gap: bytes, end: bytes, *, as_text: bool) -> pa.Array:
    """Write each value, with the comma or line feed behind it."""
    if pa.types.is_floating(values.type):
        return _write_numbers(values, gap, end)
    if pa.types.is_integer(values.type):
        text = pc.fill_null(values.cast(pa.string()), gap.decode())
        return pc.binary_join_element_wise(text, end.decode(), "")
    if pa.types.is_list(values.type):
        text = pc.binary_join(values, " ")
        values = pc.if_else(pc.equal(text, ""), None, text)
    if not pa.types.is_dictionary(values.type):
        values = values.cast(pa.string()).dictionary_encode()
    words = values.dictionary.to_pylist()
    words = [_write_line([word])[:-1] + end for word in (_escape(words) if as_text else words)]
    texts = pa.array([word.decode() for word in (*words, gap + end)], pa.string())
    return texts.take(values.indices.fill_null(len(words)))


def _write_numbers(values: pa.Array, gap: bytes, end: bytes) -> pa.Array:
    """Write float64 values; the text of orjson itself is the buffer of the array."""
    numbers = np.ascontiguousarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    text = orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)
    text = text[1:-1].replace(b"null", gap) + _COMMA
    offsets = np.zeros(len(numbers) + 1, dtype=np.int32)
    offsets[1:] = np.flatnonzero(np.frombuffer(text, np.uint8) == _COMMA[0]) + 1
    buffers = pa.py_buffer(offsets), pa.py_buffer(text.replace(_COMMA, end))
    return pa.StringArray.from_buffers(len(numbers), *buffers)


def arrow_stream(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Write an Arrow IPC stream.

    Parameters
    ----------
    schema : Schema
        Of all batches.
    batches : iterable of RecordBatch
        All with the same dictionaries, if any.

    Yields
    ------
    bytes
        The schema, then a piece for each batch, then the end.
    """
    sink = _Sink()
    with pa.ipc.new_stream(sink, schema) as writer:
        yield sink.take()
        for batch in batches:
            writer.write_batch(batch)
            yield sink.take()
    yield sink.take()


def parquet_file(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Write a Parquet file, compressed with snappy, which every reader supports.

    Parameters
    ----------
    schema : Schema
        Of all batches.
    batches : iterable of RecordBatch
        Joined to row groups of about `GROUP_ROWS` rows or `GROUP_BYTES` bytes.

    Yields
    ------
    bytes
        A piece for each row group, then the footer.
    """
    sink = _Sink()
    # For numbers a dictionary would be built and thrown away.
    words = [field.name for field in schema if not pa.types.is_primitive(field.type)]
    with pq.ParquetWriter(sink, schema, use_dictionary=words) as writer:
        for group in _join_batches(batches):
            writer.write_table(group, row_group_size=group.num_rows)
            yield sink.take()
    yield sink.take()


def _join_batches(batches: Iterable[pa.RecordBatch]) -> Generator[pa.Table, None, None]:
    """Join batches to row groups."""
    some: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue  # a row group has rows
        some.append(batch)
        full = sum(b.num_rows for b in some) >= GROUP_ROWS or (
            sum(b.nbytes for b in some) >= GROUP_BYTES
        )
        if full:
            yield pa.Table.from_batches(some)
            some = []
    if some:
        yield pa.Table.from_batches(some)


class _Sink:
    """A file that is only written to, and whose bytes are taken from it."""

    closed = False

    def __init__(self) -> None:
        self._held = bytearray()
        self._taken = 0

    def write(self, data: Any) -> int:
        size = len(data)
        self._held += data
        return size

    def tell(self) -> int:
        return self._taken + len(self._held)

    def flush(self) -> None:
        """Do nothing: no bytes are buffered elsewhere."""

    def close(self) -> None:
        """Do nothing: the bytes can still be taken."""

    def take(self) -> bytes:
        held = bytes(self._held)
        self._taken += len(held)
        self._held.clear()
        return held
