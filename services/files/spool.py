"""Numbers on their way from a reader to the store, in a temporary file.

Text comes row by row and a dataset is stored curve by curve, so tables have to be transposed. Here
this takes disk instead of memory: rows are written in pieces, each column by column, and a few
columns of all pieces are read at a time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, Protocol

import numpy as np

from services.errors import Fact, TooLarge
from services.fingerprint import canonicalize
from services.scratch import scratch
from services.tables import FloatArray

MEMORY_BYTES = 16 << 20
"""Bytes that a spool keeps in memory; the rest is written to a file."""

PIECE_BYTES = 4 << 20
"""Bytes of rows that a spool collects before it writes them."""


class Spool:
    """Columns that come row by row.

    Parameters
    ----------
    columns : int
        Number of columns.
    most_bytes : int
        Most bytes of numbers, eight each.
    memory_bytes : int
        Bytes that are kept in memory.
    piece_bytes : int
        Bytes of rows that are collected before they are written.
    """

    def __init__(
        self,
        columns: int,
        most_bytes: int = 8 << 30,
        *,
        memory_bytes: int = MEMORY_BYTES,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self.columns = columns
        self.rows = 0
        self._most_rows = most_bytes // (8 * columns)
        self._memory_bytes = memory_bytes
        self._kept: list[FloatArray] = []
        self._file: IO[bytes] | None = None
        self._written: list[int] = []  # rows of each piece in the file
        self._waiting = np.empty((columns, max(1, piece_bytes // (8 * columns))))
        self._wait = 0  # rows that are not written yet
        self._closed = False
        self._lock = threading.Lock()  # several threads may read

    def append(self, values: FloatArray) -> None:
        """Append rows.

        Parameters
        ----------
        values : ndarray of shape (columns, rows)
            Their numbers, float64, in any memory order; NaN is a gap. They are copied.

        Raises
        ------
        TooLarge
            There are more numbers than allowed.
        """
        rows = values.shape[1]
        self.rows += rows
        if self.rows > self._most_rows:
            most = 8 * self.columns * self._most_rows
            detail = f"The numbers take more than {most} bytes, eight bytes each."
            raise TooLarge(detail, [Fact(detail, "too_many_values")])
        taken = 0
        while taken < rows:
            take = min(rows - taken, self._waiting.shape[1] - self._wait)
            self._waiting[:, self._wait : self._wait + take] = values[:, taken : taken + take]
            self._wait += take
            taken += take
            if self._wait == self._waiting.shape[1]:
                self._write()

    def _write(self) -> None:
        values = canonicalize(self._waiting[:, : self._wait])
        if self._file is None and sum(piece.nbytes for piece in self._kept) < self._memory_bytes:
            self._kept.append(values.copy())
        else:
            # Closed by `close`; a file without a name is gone with it, and with the process.
            self._file = self._file or scratch.file()
            self._file.seek(0, 2)
            self._file.write(values.data)
            self._file.flush()
            self._written.append(self._wait)
        self._wait = 0

    def read(self, start: int, stop: int) -> FloatArray:
        """Read some columns, all rows.

        Parameters
        ----------
        start, stop : int
            Positions of the first column, and of the first that is not read.

        Returns
        -------
        ndarray of shape (stop - start, rows)
            C-contiguous, every gap the one NaN of `canonicalize`.
        """
        if self._closed:
            raise ValueError("The spool is closed.")
        with self._lock:
            if self._wait:
                self._write()
        values = np.empty((stop - start, self.rows))
        row = 0
        for piece in self._pieces(start, stop):
            values[:, row : row + piece.shape[1]] = piece
            row += piece.shape[1]
        return values

    def _pieces(self, start: int, stop: int) -> Iterator[FloatArray]:
        """Yield the same columns of every piece, shape (stop - start, rows of the piece)."""
        yield from (piece[start:stop] for piece in self._kept)
        if self._file is None:
            return
        place = 0
        for rows in self._written:
            yield _read_columns(self._file, place + 8 * start * rows, (stop - start, rows))
            place += 8 * self.columns * rows

    def close(self) -> None:
        """Release memory and disk."""
        self._closed = True
        self._kept.clear()
        if self._file is not None:
            self._file.close()


def _read_columns(file: IO[bytes], offset: int, shape: tuple[int, int]) -> FloatArray:
    """Read numbers without moving the file's position, so that several threads may read."""
    values = np.empty(shape)
    rest = values.data.cast("B") if values.size else memoryview(b"")
    while rest:
        count = os.preadv(file.fileno(), [rest], offset)
        if not count:
            raise OSError("The temporary file is shorter than its numbers.")
        rest, offset = rest[count:], offset + count
    return values


@contextmanager
def closed_on_error(spool: Spool) -> Iterator[Spool]:
    """Close a spool if the block fails.

    Parameters
    ----------
    spool : Spool
        A new spool.

    Yields
    ------
    Spool
        The same spool.
    """
    try:
        yield spool
    except BaseException:
        spool.close()
        raise


class ColumnSource(Protocol):
    """Columns that can be read: a spool, some of its columns, or a file."""

    def read(self, start: int, stop: int) -> FloatArray:
        """Read some columns, all rows; see `Spool.read`."""

    def close(self) -> None:
        """Release memory and disk."""


class SpooledTable:
    """Curves that lie in a spool; see `services.tables.Curves`.

    Parameters
    ----------
    spool : ColumnSource
        At least two columns; closed with the table.
    columns : tuple of str
        Their names.
    x_position : int or None
        Position of the x column; None if x is `grid`.
    grid : tuple of str and ndarray of shape (n,), or None
        Name and values of an x column that is not in the spool.
    """

    def __init__(
        self,
        spool: ColumnSource,
        columns: tuple[str, ...],
        x_position: int | None,
        grid: tuple[str, FloatArray] | None = None,
    ) -> None:
        self._spool = spool
        # A position behind all columns if none of them is x.
        self._at = len(columns) if x_position is None else x_position
        if x_position is not None:
            grid = columns[x_position], spool.read(x_position, x_position + 1)[0]
        elif grid is None:
            raise ValueError("There is no x.")
        self.x_name, self.x = grid
        self.names = columns[: self._at] + columns[self._at + 1 :]

    def read_parts(self, most_bytes: int) -> Iterator[FloatArray]:
        """Yield all curves in their order, some at a time.

        Parameters
        ----------
        most_bytes : int
            Size of a piece, unless a single curve is longer.

        Yields
        ------
        ndarray of shape (m, n)
            C-contiguous and canonical.
        """
        step = max(1, most_bytes // self.x.nbytes)
        for start in range(0, len(self.names), step):
            # No name keeps the piece, so that it is freed before the next one is read.
            yield self._piece(start, min(start + step, len(self.names)))

    def _piece(self, start: int, stop: int) -> FloatArray:
        before, behind = start < self._at, stop > self._at
        y = self._spool.read(start + (not before), stop + behind)
        return np.delete(y, self._at - start, axis=0) if before and behind else y

    def close(self) -> None:
        """Release memory and disk."""
        self._spool.close()


class ColumnFile:
    """Columns one after the other in a file.

    Parameters
    ----------
    file : BinaryIO
        The file, of canonical float64; closed with this.
    rows : int
        Length of each column.
    offset : int
        Numbers in the file before the first column.
    """

    def __init__(self, file: BinaryIO, rows: int, offset: int = 0) -> None:
        self._file = file
        self.rows = rows
        self.offset = offset

    def write(self, column: int, row: int, values: FloatArray) -> None:
        """Write numbers at their place.

        Parameters
        ----------
        column, row : int
            Position of the first number.
        values : ndarray
            Numbers of a column, or of several columns one after the other; NaN is a gap.
        """
        self._file.seek(8 * (self.offset + column * self.rows + row))
        self._file.write(canonicalize(values).data)

    def read(self, start: int, stop: int) -> FloatArray:
        """Read some columns, all rows.

        Parameters
        ----------
        start, stop : int
            Positions of the first column, and of the first that is not read.

        Returns
        -------
        ndarray of shape (stop - start, rows)
            C-contiguous.
        """
        place = 8 * (self.offset + start * self.rows)
        return _read_columns(self._file, place, (stop - start, self.rows))

    def append_report(self, text: bytes) -> None:
        """Append a text, and then its length in eight bytes.

        Parameters
        ----------
        text : bytes
            The text.
        """
        self._file.seek(0, 2)
        self._file.write(text + len(text).to_bytes(8, "little"))
        self._file.flush()

    def close(self) -> None:
        """Release the disk."""
        self._file.close()
