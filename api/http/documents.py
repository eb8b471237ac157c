"""The OpenAPI document."""

from __future__ import annotations

import functools
import http
from typing import Any

from flask_smorest import Api

from api.document import finish
from api.errors import PROBLEM_JSON
from api.http.described import EARLY, ERROR_HEADERS, HEADERS_OF
from api.schemas.base import ProblemReply


class Document(Api):
    """The OpenAPI document: our problems instead of the library's errors."""

    ERROR_SCHEMA = ProblemReply
    DEFAULT_ERROR_RESPONSE_NAME = None

    @functools.cached_property
    def finished(self) -> dict[str, Any]:
        """The whole document, once all rooms are registered."""
        return finish(self.spec.to_dict())

    def _register_error_handlers(self) -> None:
        """`api.errors` answers every error."""

    def _register_responses(self) -> None:
        for name, header in ERROR_HEADERS.items():
            self.spec.components.header(name, header)
        for status in http.HTTPStatus:
            if status >= http.HTTPStatus.BAD_REQUEST:
                self.spec.components.response(status.name, _error(self, status), lazy=True)


def _error(document: Document, status: http.HTTPStatus) -> dict[str, Any]:
    """An error as the document describes it."""
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
