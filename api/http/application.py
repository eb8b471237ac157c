"""The Flask application with our requests and replies."""

from __future__ import annotations

import http
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request

from api import metrics
from api.errors import replace_by_problem, request_id
from api.headers import protect
from api.http.bodies import BoundedRequest


class Application(Flask):
    """Flask with bounded requests, protected replies and problems for errors."""

    request_class = BoundedRequest

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function: none of ours is asynchronous, and Flask's check takes 1 us."""
        return func

    def process_response(self, response: Response) -> Response:
        if response.status_code >= http.HTTPStatus.BAD_REQUEST:
            response = replace_by_problem(response)
        response = super().process_response(response)
        protect(response)
        headers = response.headers
        headers.add("X-Request-ID", request_id())
        if rule := request.url_rule:
            request.environ[metrics.ROUTE] = metrics.make_template(rule.rule)
        if "media" in g:
            if "Vary" in headers:
                response.vary.add("Accept")
            else:
                headers.add("Vary", "Accept")
        return response
