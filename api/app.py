"""The Flask application."""

from __future__ import annotations

import threading

from flask import Flask

from api import errors, slots
from api.config import Settings
from api.connections.bodies import WholeBodies
from api.disk import Disk
from api.http.application import Application, Identifier
from api.http.openapi import Document
from api.jobs.functions import FunctionCache
from api.jobs.rankers import LocalRanker
from api.origins import admission, guard
from api.prefix import Prefix
from api.resources import (
    curves,
    datasets,
    fits,
    home,
    mappings,
    metrics,
    plots,
    previews,
    problems,
    service,
)
from api.resources.small_evaluations import SmallEvaluations
from api.running import Running
from api.store.base import Database
from services.fitting.cache import Cache

DESCRIPTION = """\
Which known curve is this? Post measured curves and a library of reference curves; for each
measured curve the service picks the library curve that fits best, with the evidence. Then it
says for every later point which chosen curve admits it, and why not where none does.

Every error is `application/problem+json` and says where it is and what would be right.
"""


READ_AHEAD = 1 << 17
"""Bytes of a form that werkzeug reads ahead of the fields: two of its pieces."""


def create_app(settings: Settings | None = None) -> Flask:
    """Create an application on one database, which must be migrated before it serves."""
    settings = settings or Settings.from_environment()
    app = Application(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    app.url_map.converters["default"] = Identifier
    app.config.update(
        # The library refuses a body that ends right at its limit.
        MAX_CONTENT_LENGTH=settings.limits.body_bytes + 1,
        # It counts files too; `read_upload` counts both.
        MAX_FORM_PARTS=settings.limits.form_parts + settings.limits.files,
        # The library counts what it has read ahead too; `read_upload` counts the fields alone.
        MAX_FORM_MEMORY_SIZE=settings.limits.form_text_bytes + READ_AHEAD,
        PROPAGATE_EXCEPTIONS=False,
    )
    database = Database(settings.url)
    parts = Running(
        settings,
        database,
        Disk(settings),
        FunctionCache(database),
        metrics.DatabaseProbe(database, settings),
        LocalRanker(Cache(settings.cache_bytes)),
        slots.Slots(settings.threads),
        threading.Semaphore(max(1, settings.threads // 2)),
    )
    app.extensions["idealfit"] = parts
    parts.disk.watch_files()
    slots.register(app)
    errors.register(app)
    admit = admission(settings)
    guard(app, settings, admit)
    app.register_blueprint(home.blueprint)
    app.register_blueprint(metrics.blueprint)
    # The document shows the limits in force.
    with app.app_context():
        parts.document = _document(app, settings.prefix)
    app.wsgi_app = SmallEvaluations(app.wsgi_app, parts, admit)  # type: ignore[method-assign]
    app.wsgi_app = Prefix(app.wsgi_app, settings.prefix)  # type: ignore[method-assign]
    app.wsgi_app = WholeBodies(app.wsgi_app)  # type: ignore[method-assign] # Flask's own way to add middleware
    return app


def _document(app: Flask, prefix: str) -> Document:
    from importlib.metadata import version  # noqa: PLC0415

    servers = {"servers": [{"url": prefix}]} if prefix else {}
    app.config.update(
        API_TITLE="Idealfit",
        API_VERSION=version("idealfit"),
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={"info": {"description": DESCRIPTION}} | servers,
    )
    document = Document(app)
    for noun in (datasets, previews, curves, fits, mappings, plots, problems, service):
        document.register_blueprint(noun.blueprint)
    return document
