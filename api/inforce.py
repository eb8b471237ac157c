"""The limits in force, for all that checks what a client sends."""

from __future__ import annotations

from flask import current_app

from api.config import Limits
from api.running import running


def limits() -> Limits:
    """The limits of the running app; the defaults where there is none."""
    if current_app:
        return running().settings.limits
    return Limits()
