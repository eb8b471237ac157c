"""Limits of what a reader takes."""

from __future__ import annotations

from dataclasses import dataclass

from services.errors import Fact, TooLarge, error_from


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How large a table may be.

    Parameters
    ----------
    max_columns : int
        Columns, x among them.
    max_rows : int
        Data rows. A blank line of a text counts too, unless it is empty or of spaces alone.
    max_curves : int
        Curves of a file that holds one a row.
    max_bytes : int
        Numbers of a binary file as float64, and what a body is unpacked to. [bytes]
    expansion : int
        How many times larger than what was sent it may become, beyond `GENEROUS` bytes.
    max_sheet_bytes : int
        An unpacked workbook. [bytes]
    memory_bytes : int
        Memory for reading one binary file. [bytes]
    seconds : int
        Processor time for reading one binary file. [s]
    processes : int
        Binary files that are read at once on this machine.
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

    def check_expansion(self, received: int, unpacked: int) -> None:
        """Refuse what is much larger than it was when it was sent.

        Parameters
        ----------
        received : int
            As it was sent. [bytes]
        unpacked : int
            As it is read. [bytes]

        Raises
        ------
        TooLarge
            It would have to be unpacked too far.
        """
        if unpacked > self.max_bytes:
            detail = f"Unpacked, the file has more than {self.max_bytes} bytes."
            raise error_from(TooLarge, Fact(detail, "too_many_bytes"))
        if unpacked > max(GENEROUS, self.expansion * received):
            detail = f"Unpacked, the file is more than {self.expansion} times as large."
            raise error_from(TooLarge, Fact(detail, "expansion"))


GENEROUS = 8 << 20
"""Bytes to which anything may be unpacked."""


DEFAULT_LIMITS = ReadLimits()
