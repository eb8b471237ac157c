"""The OpenAPI document, with our errors in place of those of flask-smorest."""

from __future__ import annotations

import functools
import http
from typing import Any

from flask_smorest import Api

from api.errors import PROBLEM_JSON
from api.http.openapi_finish import finish
from api.http.openapi_headers import EARLY, ERROR_HEADERS, HEADERS_OF
from api.schemas.base import ProblemReply


class Document(Api):
    """The OpenAPI document of all routes."""

    ERROR_SCHEMA = ProblemReply
    DEFAULT_ERROR_RESPONSE_NAME = None

    @functools.cached_property
    def finished(self) -> dict[str, Any]:
        """The complete document; read it when all blueprints are registered."""
        return finish(self.spec.to_dict())

    def _register_error_handlers(self) -> None:
        """Register nothing: `api.errors` handles every error."""

    def _register_responses(self) -> None:
        for name, header in ERROR_HEADERS.items():
            self.spec.components.header(name, header)
        for status in http.HTTPStatus:
            if status >= http.HTTPStatus.BAD_REQUEST:
                self.spec.components.response(status.name, _error(self, status), lazy=True)


def _error(document: Document, status: http.HTTPStatus) -> dict[str, Any]:
    """Describe an error."""
    if status in EARLY:
        return {"description": EARLY[status]}
    content = {PROBLEM_JSON: {"schema": document.ERROR_SCHEMA, "example": _example(status)}}
    names = ["X-Request-ID", *HEADERS_OF.get(status, ())]
    return {"description": status.phrase, "headers": {n: n for n in names}, "content": content}


def _example(status: http.HTTPStatus) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": status.description or status.phrase,
        "errors": [],
        "request_id": "3f2b8c1e9d4a4f0c8b7a6d5e4c3b2a19",
    }
