"""Limits on files and on the tables in them."""

from __future__ import annotations

from dataclasses import dataclass

from services.errors import Fact, TooLarge, error_from

ALWAYS_ALLOWED_BYTES = 8 << 20
"""Size to which any file may be unpacked."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Limits on a file and on the table in it.

    Parameters
    ----------
    max_columns : int
        Columns, x among them.
    max_rows : int
        Data rows. A blank line of text counts too, unless it is empty or holds only spaces.
    max_curves : int
        Curves of a file that holds one curve a row.
    max_bytes : int
        Numbers of a binary file as float64, and an unpacked body. [bytes]
    expansion : int
        How many times larger a file may become than it was sent, beyond `ALWAYS_ALLOWED_BYTES`.
    max_sheet_bytes : int
        An unpacked workbook. [bytes]
    memory_bytes : int
        Memory for reading one binary file. [bytes]
    seconds : int
        Processor time for reading one binary file. [s]
    processes : int
        Binary files that are read at the same time on this machine.
    wait_seconds : float
        How long a binary file waits for its turn. [s]
    max_files : int
        Files of one upload.
    files_seconds : int
        Time for reading many files. [s]
    """

    max_columns: int = 10_000
    max_rows: int = 20_000_000
    max_curves: int = 1_000_000
    max_bytes: int = 8 << 30
    expansion: int = 200
    max_sheet_bytes: int = 256 << 20
    memory_bytes: int = 1 << 30
    seconds: int = 120
    processes: int = 2
    wait_seconds: float = 10.0
    max_files: int = 10_000
    files_seconds: int = 600

    def check_expansion(self, received: int, unpacked: int) -> None:
        """Refuse a file that is much larger unpacked than it was sent.

        Parameters
        ----------
        received : int
            Size as it was sent. [bytes]
        unpacked : int
            Size as it is read. [bytes]

        Raises
        ------
        TooLarge
            The file is unpacked too far.
        """
        if unpacked > self.max_bytes:
            detail = f"Unpacked, the file has more than {self.max_bytes} bytes."
            raise error_from(TooLarge, Fact(detail, "too_many_bytes"))
        if unpacked > max(ALWAYS_ALLOWED_BYTES, self.expansion * received):
            detail = f"Unpacked, the file is more than {self.expansion} times as large."
            raise error_from(TooLarge, Fact(detail, "expansion"))


DEFAULT_LIMITS = ReadLimits()
"""Limits of a reader that is told no others."""
