"""Parquet and Arrow files as batches of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.errors import Fact, TooLarge, UnreadableFile, error_from
from services.files.common import ReadOptions

_BATCH_BYTES = 8 << 20
"""Size of the numbers that are converted at once."""

_MOST_FOOTER_BYTES = 64 << 20
"""Largest metadata of a Parquet file: about those of 10 000 columns in 40 row groups."""


class ParquetSource:
    """A Parquet file that gives any of its columns in batches."""

    def __init__(self, data: Any) -> None:
        self.size = len(data)
        footer = int.from_bytes(bytes(data[-8:-4]), "little")
        if self.size < 12 or bytes(data[-4:]) != b"PAR1" or footer > self.size - 12:  # noqa: PLR2004 - two marks and a length
            detail = "The Parquet file ends early or is damaged: its last bytes are not PAR1."
            raise error_from(UnreadableFile, Fact(detail, "damaged"))
        if footer > _MOST_FOOTER_BYTES:
            detail = f"The metadata of the Parquet file has more than {_MOST_FOOTER_BYTES} bytes."
            raise error_from(TooLarge, Fact(detail, "too_many_bytes"))
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
        """Yield batches of at most `rows` rows, of the leaves at these positions."""
        return self._file.reader.iter_batches(  # type: ignore[no-any-return] # pyarrow has no types
            rows,
            row_groups=range(self._file.metadata.num_row_groups),
            column_indices=list(columns),
            use_threads=False,
        )

    def group(self, columns: Sequence[int]) -> Iterator[list[int]]:
        """Part columns into groups whose numbers take about `_BATCH_BYTES` bytes.

        The library looks at all columns for each group, so that one column each takes long.
        """
        metadata = self._file.metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        some: list[int] = []
        room = _BATCH_BYTES
        for column in columns:
            declared = sum(max(0, group.column(column).total_uncompressed_size) for group in groups)
            size = max(8 * self.rows, declared)
            if some and size > room:
                yield some
                some, room = [], _BATCH_BYTES
            some.append(column)
            room -= size
        if some:
            yield some

    def library_batches(self, columns: Sequence[int], length: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of curves, each of about `_BATCH_BYTES` bytes."""
        del columns
        return self.batches(range(self.leaves), max(1, _BATCH_BYTES // (8 * max(1, length))))

    def estimate_length(self, column: int) -> int:
        """Return the mean length of the curves by the metadata."""
        del column
        metadata = self._file.metadata
        values = [
            metadata.row_group(i).column(j).num_values
            for i in range(metadata.num_row_groups)
            for j in range(self.leaves)
        ]
        groups = max(1, int(metadata.num_row_groups))
        return int(max(values, default=0)) * groups // max(1, self.rows)


class ArrowSource:
    """An Arrow stream or file that gives any of its columns in batches."""

    def __init__(self, data: Any, options: ReadOptions) -> None:
        self.size = len(data)
        self._buffer = pa.py_buffer(data)
        self._is_file = bytes(data[:6]) == b"ARROW1"
        self.schema: pa.Schema = self._open(None).schema
        self.leaves = len(self.schema)
        self._longest = self.rows = 0
        # Counting the rows is cheap, because columns that are not asked for are not unpacked.
        if self.leaves <= options.limits.max_columns:
            for batch in self._all([0]):
                self.rows += batch.num_rows
                self._longest = max(self._longest, batch.num_rows)
                check_rows(self.rows, options)
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
        """Yield batches of at most `rows` rows, of the columns at these positions."""
        for batch in self._all(columns):
            # From here on nothing is read outside the batch, even if lengths inside it are wrong.
            batch.validate(full=True)
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)

    def library_batches(self, columns: Sequence[int], length: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of curves, each of about `_BATCH_BYTES` bytes."""
        return self.batches(columns, max(1, _BATCH_BYTES // (8 * max(1, length))))

    def estimate_length(self, column: int) -> int:
        """Return the length of the first curve."""
        for batch in self.batches([column], 1):
            first = batch.column(0)[0]
            return len(first) if first.is_valid else 0
        return 0

    def group(self, columns: Sequence[int]) -> Iterator[list[int]]:
        """Part columns into groups whose numbers take about `_BATCH_BYTES` bytes."""
        width = max(1, _BATCH_BYTES // (8 * max(1, self._longest)))
        for start in range(0, len(columns), width):
            yield list(columns[start : start + width])


def check_rows(rows: int, options: ReadOptions) -> None:
    """Refuse more rows than the limits allow."""
    if rows > options.limits.max_rows:
        detail = f"There are more than {options.limits.max_rows} rows."
        raise error_from(TooLarge, Fact(detail, "too_many_rows"))
