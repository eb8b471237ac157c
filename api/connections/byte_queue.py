"""Queued bytes: a body until it is complete, a reply until its client takes it."""

from __future__ import annotations

import errno
import os
import threading
from typing import IO

from api.problems import FULL
from services.scratch import scratch

IN_MEMORY = 1 << 16
"""Bytes of one body or reply that are kept in memory; the rest is in a file."""

WAITING_BYTES = 1 << 30
"""Most bytes in files of queued bodies of one process; the same again for replies."""

NO_ROOM = FULL | {errno.EMFILE, errno.ENFILE}
"""Errors of the system when a temporary file cannot be made or written."""


class ByteBudget:
    """Budget of bytes for the files of all connections of a process."""

    def __init__(self, most: int = WAITING_BYTES) -> None:
        self.most = most
        self.used = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Take `count` bytes if they are free; tell whether they were."""
        with self._lock:
            if self.used + count > self.most:
                return False
            self.used += count
        return True

    def is_full(self) -> bool:
        """Tell whether there may be no room for another piece."""
        return self.used + IN_MEMORY > self.most

    def give(self, count: int) -> None:
        """Give back bytes."""
        with self._lock:
            self.used -= count


class ByteQueue:
    """A queue of bytes; OSError if there is no room, without a change of the queue."""

    def __init__(self, room: ByteBudget) -> None:
        self._room = room
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def append(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        if self._file is None and self._end + len(data) <= IN_MEMORY:
            self._memory += data
        else:
            self._write(memoryview(data))
        self._end += len(data)

    def _write(self, data: memoryview) -> None:
        if not self._room.take(len(data)):
            raise OSError(errno.ENOSPC, "no room for what slow clients send or take")
        taken, place = len(data), self._end - len(self._memory)
        try:
            if self._file is None:
                self._file = scratch.file()
            while data:
                written = os.pwrite(self._file.fileno(), data, place)
                data, place = data[written:], place + written
        except OSError:
            self._room.give(taken)
            raise

    def peek(self, size: int) -> bytes:
        """Return the next bytes without removing them."""
        size = min(size, len(self))
        if self._begin < len(self._memory):
            return bytes(self._memory[self._begin : self._begin + size])
        if self._file is None:
            return b""
        return os.pread(self._file.fileno(), size, self._begin - len(self._memory))

    def skip(self, count: int) -> None:
        """Remove the next bytes."""
        self._begin += count

    def take(self, size: int) -> bytes:
        """Remove and return the next bytes."""
        data = self.peek(size)
        self.skip(len(data))
        return data

    def close(self) -> None:
        """Give back the bytes and close the file."""
        self._room.give(self._end - len(self._memory))
        self._memory, self._begin, self._end = bytearray(), 0, 0
        if self._file is not None:
            self._file.close()
            self._file = None


class FilePart:
    """A part of a file of the application, which may close its own handle early."""

    def __init__(self, file: int, begin: int, end: int) -> None:
        self._file = os.dup(file)
        self._begin, self._end = begin, end

    def peek(self, size: int) -> bytes:
        """Return the next bytes without removing them."""
        return os.pread(self._file, min(size, self._end - self._begin), self._begin)

    def skip(self, count: int) -> None:
        """Remove the next bytes."""
        self._begin += count

    def close(self) -> None:
        """Close the handle."""
        os.close(self._file)


class MemoryPart:
    """Bytes that a thread holds while it waits for the client to take them."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def peek(self, size: int) -> memoryview:
        """Return the next bytes without removing them."""
        return self._data[:size]

    def skip(self, count: int) -> None:
        """Remove the next bytes."""
        self._data = self._data[count:]

    def close(self) -> None:
        """Drop the bytes."""
        self._data = self._data[:0]
