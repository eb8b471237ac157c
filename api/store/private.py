"""The folder of the data is for its owner only."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

FOR_OTHERS = 0o077


def keep_private(folder: Path) -> None:
    """Take a folder of ours from the group and from others, or warn that they can enter it.

    Ours is a folder of this user with nothing in it but our files: one that is used for more, such
    as a home directory or /tmp, may be open on purpose.
    """
    status = folder.stat()
    if not status.st_mode & FOR_OTHERS:
        return
    ours = status.st_uid == os.geteuid()
    if ours and all(path.name.startswith("idealfit") for path in folder.iterdir()):
        folder.chmod(status.st_mode & 0o700)
        return
    log.warning(
        "others can enter the data folder %s (mode %o); use a folder of its own, or: chmod 700 %s",
        folder,
        status.st_mode & 0o777,
        folder,
    )
