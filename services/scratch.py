"""Temporary files without names, whose size is counted and can be limited.

A service sets `Scratch.ask`, which is called with the number of bytes by which a file is about to
grow, and may raise an OSError (api/disk.py does). Without it, only the system sets a limit.
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
"""Bytes of a block, in which the system counts."""

PIECE = 4 << 20
"""Bytes by which a file may grow without asking."""


def allow_all(_nbytes: int) -> None:
    """Allow any growth."""


class Scratch:
    """The temporary files of this process."""

    def __init__(self) -> None:
        self.ask: Callable[[int], None] = allow_all
        self._files: weakref.WeakValueDictionary[int, _Raw] = weakref.WeakValueDictionary()

    @property
    def nbytes(self) -> int:
        """Room that the files of this process take on the disk."""
        return sum(raw.room for known in self._files.valuerefs() if (raw := known()))

    def file(self) -> BinaryIO:
        """Make a file that is gone with the process, however it ends."""
        self.ask(0)
        with tempfile.TemporaryFile() as made:
            raw = self._counted(os.dup(made.fileno()))
        return cast("BinaryIO", io.BufferedRandom(raw))

    def spooled(self, most: int) -> SpooledFile:
        """Make a file in memory that moves to the disk beyond `most` bytes."""
        return SpooledFile(self, most)

    def opened(self, opener: Callable[[str], T]) -> tuple[BinaryIO, T]:
        """Make a file and open it with a library by its name; then the name is removed."""
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
    """A file that asks before it grows by another `PIECE`."""

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
    """A spooled file of the standard library that moves to a file of ours."""

    def __init__(self, scratch: Scratch, most: int) -> None:
        super().__init__(max_size=most)
        self._scratch = scratch

    def rollover(self) -> None:
        """Move to the disk."""
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
"""The one of this process, to which temporary files belong as open files do."""
