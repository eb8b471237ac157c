"""Free space on the disks: a reserve that is kept, and one budget for temporary files.

Storing and computing check first, and again while temporary files grow. Reading, changing and
deleting records does not check, so that room can be made on a full disk.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path

from api.config import Settings
from api.problems import DISK_RESERVE, TEMPORARY_FILES
from api.temp_usage import TempUsage
from services.scratch import Scratch, scratch

RESERVE_BYTES = 2 << 30
"""Bytes that are kept free on a large disk."""

RESERVE_SHARE = 20
"""Denominator of the part of a small disk that is kept free."""

FULL_BYTES = 16_384
"""Free bytes below which the disk counts as full; then the write itself fails."""

WRITTEN_TWICE = 2
"""Factor of what is stored: SQLite writes to its log first, then to the file."""


class NoRoom(OSError):  # noqa: N818 - named for what it is
    """A disk has no more room than its reserve."""

    kind = DISK_RESERVE
    number = errno.ENOSPC

    def __init__(self, detail: str) -> None:
        super().__init__(self.number, detail)
        self.detail = detail


class TooManyFiles(NoRoom):
    """The temporary files of all processes have reached their limit."""

    kind = TEMPORARY_FILES
    number = errno.EDQUOT


class Disk:
    """The disks that this process writes to.

    The data folder counts if the database is a file in it; the folder of temporary files always
    counts. A check takes some microseconds and happens every 4 MiB of a temporary file.
    """

    def __init__(self, settings: Settings, files: Scratch = scratch) -> None:
        self._reserve = settings.disk_reserve_bytes
        self._temp_bytes = settings.temp_bytes
        self._data = _folder_of(settings)
        self._files = files
        self._temp_usage = TempUsage(settings.url)
        self._lock = threading.Lock()

    def watch_files(self) -> None:
        """Check the temporary files of this process from now on."""
        self._files.ask = self._check_files

    def require(self, data: int = 0) -> None:
        """Raise NoRoom unless `data` bytes can be stored without the reserve."""
        if self._data:
            self._check(self._data, WRITTEN_TWICE * data)
        self._check(Path(tempfile.gettempdir()), 0)

    def shortage(self) -> NoRoom | None:
        """Return the reason why no work may begin, None if it may."""
        try:
            self.require()
            self._check_files(0)
        except NoRoom as error:
            return error
        return None

    def _check(self, folder: Path, wanted: int) -> None:
        try:
            found = os.statvfs(folder)
        except OSError:
            # The folder is gone: whatever is written there says so better.
            return
        size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        reserve = self._reserve
        if reserve is None:
            reserve = min(RESERVE_BYTES, size // RESERVE_SHARE)
        if free < FULL_BYTES or free - wanted >= reserve:
            return
        detail = f"The disk has {free} bytes left, of which {reserve} are kept in reserve."
        if wanted:
            detail = f"{detail} Storing this takes up to {wanted}."
        raise NoRoom(f"{detail} Delete what is not needed any more, then try again.")

    def _check_files(self, more: int) -> None:
        """Raise NoRoom unless the temporary files of this process may grow by `more` bytes."""
        self._check(Path(tempfile.gettempdir()), more)
        mine = self._files.nbytes + more
        with self._lock:
            together = self._temp_usage.tell(mine)
        if together > self._temp_bytes:
            detail = (
                f"Temporary files of this service would take {together} bytes; {self._temp_bytes}"
            )
            raise TooManyFiles(
                f"{detail} are allowed. Try again when others have ended, or send less."
            )


def _folder_of(settings: Settings) -> Path | None:
    """Return the folder of the database, None if it is not a file on this machine."""
    scheme, _, path = settings.url.partition("///")
    return Path(path).parent if scheme == "sqlite:" else None
