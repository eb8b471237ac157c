"""The first page, the OpenAPI document and its reader."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import cast

import flask_swagger_ui
import orjson
from flask import Blueprint, Response, current_app, render_template, request, send_from_directory

from api.http import JSON, Document, database
from api.store.base import page_of
from api.store.datasets import Dataset
from api.store.fits import Fit
from api.store.mappings import Mapping

NEWEST = 20
"""Records of each kind on the first page."""

room = Blueprint(
    "home", __name__, template_folder="../pages/templates", static_folder="../pages/static"
)


@room.get("/")
def home() -> Response:
    """What this is, and what is stored."""
    with database().reading() as session:
        datasets, fits, mappings = (
            page_of(session, model, filters={}, sort="-created_at", after=None, limit=NEWEST).items
            for model in (Dataset, Fit, Mapping)
        )
    return _page(
        render_template(
            "home.html",
            datasets=datasets,
            fits=fits,
            mappings=mappings,
            base_url=request.host_url.rstrip("/"),
            version=version("idealfit"),
        )
    )


@room.get("/docs")
def docs() -> Response:
    """Swagger UI, from our own files."""
    return _page(render_template("docs.html"))


@room.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI document."""
    document = cast("Document", current_app.extensions["idealfit.document"])
    return Response(orjson.dumps(document.spec.to_dict()), content_type=JSON)


@room.get("/static/swagger-ui/<path:name>")
def swagger_ui(name: str) -> Response:
    """The files of Swagger UI."""
    return send_from_directory(Path(flask_swagger_ui.__file__).parent / "dist", name)


def _page(html: str) -> Response:
    # Swagger UI writes style attributes and shows its icons from data URLs.
    policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
    return Response(html, headers={"Content-Security-Policy": policy}, mimetype="text/html")
