"""Places for the processes that read binary files: a machine has as many as processors.

A place is a locked file, because the system itself unlocks it when its holder dies, however that
happens. The reading process inherits the lock: it holds the place when only it is left.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.errors import Busy

WAIT_SECONDS = 10.0
"""How long a file waits for a place."""

LOOK_SECONDS = 0.02


@contextmanager
def reading_place(places: int, seconds: float | None = None) -> Iterator[int]:
    """Hold one of the places of this user on this machine.

    Parameters
    ----------
    places : int
        How many there are.
    seconds : float or None
        How long to wait for one; `WAIT_SECONDS` unless it is said.

    Yields
    ------
    int
        Descriptor of the lock, for the reading process to inherit.

    Raises
    ------
    Busy
        None was free in that time.
    """
    folder = _folder()
    deadline = time.monotonic() + (WAIT_SECONDS if seconds is None else seconds)
    while (lock := _free_place(folder, places)) is None:
        if time.monotonic() >= deadline:
            raise Busy("Try again in a moment; too many binary files are being read.")
        time.sleep(LOOK_SECONDS)
    try:
        yield lock
    finally:
        # Not unlocked: the reading process may outlive this one's interest in it.
        os.close(lock)


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"idealfit-readers-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to someone else; remove it or set TMPDIR.")
    return folder


def _free_place(folder: Path, places: int) -> int | None:
    """Lock the first place that is free; None if all are taken."""
    for place in range(places):
        lock = os.open(folder / str(place), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return lock
    return None
