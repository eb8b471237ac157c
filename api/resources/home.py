"""The first page, the OpenAPI document and its reader."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path

import flask_swagger_ui
import orjson
from flask import Blueprint, Response, render_template, request, send_from_directory

from api.headers import PAGE, PICTURE, PUBLIC
from api.http.media import JSON
from api.running import database, running
from api.store.datasets import Dataset
from api.store.fits import Fit
from api.store.lists import read_page
from api.store.mappings import Mapping

NEWEST = 20
"""Records of each kind on the first page."""

STATIC = Path(__file__).parents[1] / "pages" / "static"

blueprint = Blueprint("home", __name__, template_folder="../pages/templates")


@blueprint.get("/")
def home() -> Response:
    """Show the first page, with the latest records."""
    with database().reading() as session:
        datasets, fits, mappings = (
            read_page(
                session, model, filters={}, sort="-created_at", after=None, limit=NEWEST
            ).items
            for model in (Dataset, Fit, Mapping)
        )
    return _send_page(
        render_template(
            "home.html",
            datasets=datasets,
            fits=fits,
            mappings=mappings,
            base_url=request.url_root.rstrip("/"),
            root=request.script_root,
            version=version("idealfit"),
        )
    )


@blueprint.get("/docs")
def docs() -> Response:
    """Show Swagger UI, from our own files."""
    return _send_page(render_template("docs.html", root=request.script_root))


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Return the OpenAPI document."""
    return Response(orjson.dumps(running().document.finished), content_type=JSON)


@blueprint.get("/static/swagger-ui/<path:name>")
def swagger_ui(name: str) -> Response:
    """Return a file of Swagger UI."""
    return _send_file(Path(flask_swagger_ui.__file__).parent / "dist", name)


@blueprint.get("/static/<path:name>")
def static(name: str) -> Response:
    """Return a file of our pages."""
    return _send_file(STATIC, name)


def _send_file(folder: Path, name: str) -> Response:
    response = send_from_directory(folder, name)
    if response.status_code < HTTPStatus.BAD_REQUEST:
        response.headers["Cache-Control"] = PUBLIC
    if (response.mimetype or "").startswith("image/"):
        response.headers["Content-Security-Policy"] = PICTURE
    return response


def _send_page(html: str) -> Response:
    return Response(html, headers={"Content-Security-Policy": PAGE}, mimetype="text/html")
