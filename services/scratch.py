"""Temporary files: without a name, counted, and asked about while they grow.

Whoever runs a service sets `Scratch.ask`, which is called with the number of bytes by which a file
is about to grow, and may refuse with an OSError (api/disk.py does). Without it only the system
says no.
"""

from __future__ import annotations

import io
import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, TypeVar, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")

BLOCK = 512
"""Bytes of what the system calls a block."""

PIECE = 4 << 20
"""Bytes by which a file may grow before it is asked about."""


def allow_all(_nbytes: int) -> None:
    """Refuse nothing."""


class Scratch:
    """What this process has in temporary files."""

    def __init__(self) -> None:
        self.ask: Callable[[int], None] = allow_all
        self._files: weakref.WeakValueDictionary[int, _Raw] = weakref.WeakValueDictionary()

    @property
    def nbytes(self) -> int:
        """Room on the disk that the files of this process take, as the system counts it."""
        return sum(raw.room for known in self._files.valuerefs() if (raw := known()))

    def file(self) -> BinaryIO:
        """A file that is gone with the process, however it ends."""
        self.ask(0)
        with tempfile.TemporaryFile() as made:
            raw = self._counted(os.dup(made.fileno()))
        return cast("BinaryIO", io.BufferedRandom(raw))

    def spooled(self, most: int) -> SpooledFile:
        """Bytes in memory that become a file when they are more than `most`."""
        return SpooledFile(self, most)

    def opened(self, opener: Callable[[str], T]) -> tuple[BinaryIO, T]:
        """A file and what a library makes of it by its name, which is gone at once."""
        self.ask(0)
        descriptor, name = tempfile.mkstemp()
        try:
            raw = self._counted(descriptor)
            return cast("BinaryIO", io.BufferedRandom(raw)), opener(name)
        finally:
            Path(name).unlink()

    def _counted(self, descriptor: int) -> _Raw:
        raw = _Raw(self, descriptor)
        self._files[id(raw)] = raw
        return raw


class _Raw(io.FileIO):
    """A file that asks before it grows by another piece."""

    def __init__(self, scratch: Scratch, descriptor: int) -> None:
        super().__init__(descriptor, "r+b")
        self._scratch = scratch
        self._unasked = 0

    @property
    def room(self) -> int:
        try:
            return os.fstat(self.fileno()).st_blocks * BLOCK
        except (OSError, ValueError):  # closed meanwhile
            return 0

    def write(self, data: ReadableBuffer, /) -> int:
        nbytes = memoryview(data).nbytes
        self._unasked += nbytes
        if self._unasked >= PIECE:
            self._unasked = 0
            self._scratch.ask(nbytes)
        return super().write(data)


class SpooledFile(tempfile.SpooledTemporaryFile[bytes]):
    """A spooled file of the library whose file is ours."""

    def __init__(self, scratch: Scratch, most: int) -> None:
        super().__init__(max_size=most)
        self._scratch = scratch

    def rollover(self) -> None:
        """Go on as a file."""
        if self._rolled:  # type: ignore[has-type] # the library sets it
            return
        memory = cast("io.BytesIO", self._file)
        file = self._scratch.file()
        try:
            file.write(memory.getbuffer())
        except BaseException:
            file.close()
            raise
        file.seek(memory.tell())
        self._file = cast("IO[bytes]", file)
        self._rolled = True


scratch = Scratch()
"""That of this process: temporary files belong to a process as open files do."""
