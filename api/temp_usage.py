"""What each process of a service has in temporary files, for the others to see.

Each process holds a lock on a file of its own and writes its number there. Whoever adds them up
leaves out the files that nobody holds, so a process that was killed counts no more.
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
"""Digits of a number in a file, so that a new one overwrites all of the old one."""


class TempUsage:
    """The numbers of all processes on this machine that work on one database."""

    def __init__(self, url: str) -> None:
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._folder = Path(tempfile.gettempdir()) / f"idealfit-{os.getuid()}-{name}"
        self._pid = 0
        self._path = Path()
        self._file = -1

    def tell(self, mine: int) -> int:
        """Say what this process has; what all have together."""
        try:
            self._open()
            os.pwrite(self._file, f"{mine:{WIDTH}d}".encode(), 0)
            return mine + sum(map(self._of_other, self._folder.iterdir()))
        except OSError:
            # Not even the folder can be made: what there is to know is the own number.
            return mine

    def _open(self) -> None:
        """Hold the file of this process, also after a fork and after somebody cleaned up."""
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
