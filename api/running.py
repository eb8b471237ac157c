"""Parts of an application that all requests share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

if TYPE_CHECKING:
    import threading

    from api.config import Settings
    from api.disk import Disk
    from api.http.openapi import Document
    from api.jobs.functions import FunctionCache
    from api.jobs.rankers import Ranker
    from api.resources.metrics import DatabaseProbe
    from api.slots import Slots
    from api.store.base import Database


@dataclass(slots=True)
class Running:
    """Parts of an application that live as long as it does."""

    settings: Settings
    database: Database
    disk: Disk
    functions: FunctionCache
    look: DatabaseProbe
    ranker: Ranker
    slots: Slots
    waiters: threading.Semaphore
    """One permit for each request that waits for its job."""

    document: Document = field(init=False)


def running(app: Flask | None = None) -> Running:
    """Return the parts of an application, by default of the one that has this request."""
    extensions = current_app.extensions if app is None else app.extensions
    return cast("Running", extensions["idealfit"])


def database() -> Database:
    """Return the database of the running application."""
    return running().database
