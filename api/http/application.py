"""The Flask application with our requests and replies."""

from __future__ import annotations

import http
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from werkzeug.routing import UnicodeConverter

from api import metrics
from api.errors import choose_request_id, replace_by_problem
from api.headers import protect, vary_by_accept
from api.http.bodies import BoundedRequest
from api.http.negotiation import VARIES


class Identifier(UnicodeConverter):
    """An id in a path; a word that is a path of its own is none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.regex = f"(?!preview$){self.regex}"


class Application(Flask):
    """Flask with bounded requests, protected replies and problems for errors."""

    request_class = BoundedRequest

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function: none of ours is asynchronous, and Flask's check takes 1 us."""
        return func

    def wsgi_app(self, environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            finish_headers(environ, headers)
            return start_response(status, headers, *error)

        return super().wsgi_app(environ, start)

    def process_response(self, response: Response) -> Response:
        if response.status_code >= http.HTTPStatus.BAD_REQUEST:
            response = replace_by_problem(response)
        if rule := request.url_rule:
            request.environ[metrics.ROUTE] = metrics.make_template(rule.rule)
        return super().process_response(response)


def finish_headers(environ: dict[str, Any], headers: list[tuple[str, str]]) -> None:
    """Add the headers of every reply.

    To the list that goes to the server: each call of werkzeug's own headers costs a microsecond.
    """
    protect(headers)
    headers.append(("X-Request-ID", choose_request_id(environ)))
    if VARIES in environ:
        vary_by_accept(headers)
