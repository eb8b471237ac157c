"""Bytes of temporary files of all processes of a service.

Each process locks a file and writes its number there. A sum leaves out files that nobody has
locked, so a process that was killed no longer counts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

WIDTH = 20
"""Digits of a number in a file; they are fixed so that a new number overwrites the old one."""


class TempUsage:
    """Bytes used by the processes on this machine that work on one database."""

    def __init__(self, url: str) -> None:
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._folder = Path(tempfile.gettempdir()) / f"idealfit-{os.getuid()}-{name}"
        self._pid = 0
        self._path = Path()
        self._file = -1

    def tell(self, mine: int) -> int:
        """Report the bytes of this process, and return those of all processes together."""
        try:
            self._open()
            os.pwrite(self._file, f"{mine:{WIDTH}d}".encode(), 0)
            return mine + sum(map(self._of_other, self._folder.iterdir()))
        except OSError:
            # Where the folder cannot be made, only the own number is known.
            return mine

    def _open(self) -> None:
        """Open and lock the file of this process; again after a fork, or if it was removed."""
        if self._file >= 0:
            if self._pid == os.getpid() and os.fstat(self._file).st_nlink:
                return
            os.close(self._file)
            self._file = -1
        self._folder.mkdir(mode=0o700, exist_ok=True)
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError(f"{self._folder} belongs to somebody else.")
        # Processes in containers may have equal pids.
        self._path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file, self._pid = os.open(self._path, flags, 0o600), os.getpid()
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def _of_other(self, path: Path) -> int:
        if path == self._path:
            return 0
        with suppress(OSError), path.open("rb", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read(WIDTH) or 0)
            # Nobody holds it: its process has ended.
            path.unlink()
        return 0
