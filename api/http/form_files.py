"""The files of a form, one after the other in one temporary file.

A form may have ten thousand files, more than a process may have open, and each kept in memory up to
some size would take gigabytes.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from services.scratch import SpooledFile, scratch

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_IN_MEMORY = 1 << 19
"""Bytes of all files of a form that are kept in memory; beyond that they are on the disk."""


class FormFiles:
    """The temporary file of a form."""

    def __init__(self) -> None:
        self._file = scratch.spooled(_IN_MEMORY)

    def begin(self) -> IO[bytes]:
        """Begin a file; the one before is complete."""
        return cast("IO[bytes]", FormFile(self._file))

    def close(self) -> None:
        """Close all files."""
        self._file.close()


class FormFile(io.RawIOBase):
    """One of the files of a form."""

    def __init__(self, file: SpooledFile) -> None:
        super().__init__()
        self._file = file
        self._start = file.seek(0, io.SEEK_END)
        self._size = 0
        self._at = 0

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._size

    def detach(self) -> BinaryIO:
        """Return the temporary file itself where it holds nothing else, from its beginning."""
        if self._size == self._file.seek(0, io.SEEK_END):
            self._file.seek(0)
            return cast("BinaryIO", self._file)
        self.seek(0)
        return cast("BinaryIO", self)

    def write(self, data: ReadableBuffer, /) -> int:
        """Append bytes, as the parser of forms does."""
        count = self._file.write(data)
        self._size += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read bytes of this file alone."""
        target = memoryview(buffer).cast("B")
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(target), self._size - self._at)))
        target[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True
