"""The limits in force, for all that checks what a client sends."""

from __future__ import annotations

from typing import cast

from flask import current_app

from api.config import Limits


def limits() -> Limits:
    """The limits of the running app; the defaults where there is none."""
    if current_app:
        return cast("Limits", current_app.extensions["idealfit.limits"])
    return Limits()
