"""Places for the processes that read binary files, counted over the whole machine.

A place is a locked file, because the system unlocks it when its holder dies, however that
happens. The reading process inherits the lock, and holds the place if its parent dies first.
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

_POLL_SECONDS = 0.02
"""Time between two looks for a free place."""


@contextmanager
def hold_place(places: int, seconds: float) -> Iterator[int]:
    """Hold one of the places of this user on this machine.

    Parameters
    ----------
    places : int
        Number of places.
    seconds : float
        How long to wait for one. [s]

    Yields
    ------
    int
        Descriptor of the lock, for the reading process to inherit.

    Raises
    ------
    Busy
        No place was free in that time.
    """
    folder = _make_folder()
    deadline = time.monotonic() + seconds
    while (lock := _lock_free_place(folder, places)) is None:
        if time.monotonic() >= deadline:
            raise Busy("Try again in a moment; too many binary files are being read.")
        time.sleep(_POLL_SECONDS)
    try:
        yield lock
    finally:
        # Closed but not unlocked: the reading process may still hold it.
        os.close(lock)


def _make_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"idealfit-readers-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to someone else; remove it or set TMPDIR.")
    return folder


def _lock_free_place(folder: Path, places: int) -> int | None:
    """Lock the first free place, and return its descriptor; None if all are taken."""
    for place in range(places):
        lock = os.open(folder / str(place), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return lock
    return None
