"""Closes the data folder to other users."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

FOR_OTHERS = 0o077
"""Permission bits of the group and of others."""


def keep_private(folder: Path) -> None:
    """Close a folder to the group and others if it is ours; otherwise warn if they can enter.

    A folder is ours if it belongs to this user and holds only files of Idealfit. A folder with
    other files, such as a home directory or /tmp, may be open on purpose.
    """
    status = folder.stat()
    if not status.st_mode & FOR_OTHERS:
        return
    ours = status.st_uid == os.geteuid()
    if ours and all(path.name.startswith("idealfit") for path in folder.iterdir()):
        folder.chmod(status.st_mode & 0o700)
        return
    log.warning(
        "others can enter the data folder %s (mode %o); use a separate folder, or: chmod 700 %s",
        folder,
        status.st_mode & 0o777,
        folder,
    )
