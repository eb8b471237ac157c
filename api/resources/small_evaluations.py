"""Small evaluations, answered before Flask, whose layers take longer (docs/adr/0024)."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from api import metrics
from api.http.application import finish_headers
from api.http.blueprint import write_json
from api.http.downloads import TABLE_TYPES
from api.http.media import JSON
from api.http.negotiation import choose_media
from api.jobs.functions import ChosenFunctions
from api.jobs.mappings import map_options
from api.resources.evaluations import answer_few, check_points, parse_points
from api.running import Running
from api.schemas.mappings import EvaluateRequest, OutcomeReply
from api.store.fits import Fit

MOST_BYTES = 1 << 16
"""Longest body that is read here; a server has received all of it."""

ROUTE = "/v1/fits/{fit_id}/evaluate"

_find_fit = re.compile(re.escape(ROUTE).replace(r"\{fit_id\}", "([^/]+)")).fullmatch

_NEVER = ("QUERY_STRING", "HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING", "HTTP_ORIGIN")
"""Parts of a request that only Flask's way reads."""

_REQUEST, _REPLY = EvaluateRequest(), OutcomeReply()


class SmallEvaluations:
    """WSGI middleware that answers what is certain to succeed; all else goes on to Flask.

    It calls the functions that the route calls, and writes no error: where one is found, Flask's
    way finds it again.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        parts: Running,
        admit: Callable[[dict[str, Any]], object],
    ) -> None:
        self.application, self.parts, self.admit = application, parts, admit
        limits = parts.settings.limits
        self.most_bytes = min(MOST_BYTES, limits.json_body_bytes, limits.body_bytes)
        self.varies = bool(parts.settings.cors_origins)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        body = self._answer(environ)
        if body is None:
            return self.application(environ, start_response)
        environ[metrics.ROUTE] = ROUTE
        headers = [("Content-Type", JSON), ("Content-Length", str(len(body)))]
        if self.varies:
            headers.append(("Vary", "Origin"))
        finish_headers(environ, headers)
        start_response("200 OK", headers)
        return [body]

    def _answer(self, environ: dict[str, Any]) -> bytes | None:
        """Return the body of the reply, None to go on."""
        found = _find_fit(environ["PATH_INFO"])
        if (
            not found
            or environ["REQUEST_METHOD"] != "POST"
            or environ.get("CONTENT_TYPE") != JSON
            or any(map(environ.get, _NEVER))
            or not 0 < (length := _length_of(environ)) <= self.most_bytes
            or (known := self.parts.functions.get_fresh(found[1])) is None
            or self.admit(environ)
            or choose_media(environ, TABLE_TYPES) != JSON
        ):
            return None
        try:
            data = environ["wsgi.input"].read(length)
        except OSError:
            return None
        environ["wsgi.input"] = io.BytesIO(data)
        return self._evaluate(data, *known) if len(data) == length else None

    def _evaluate(self, data: bytes, fit: Fit, functions: ChosenFunctions) -> bytes | None:
        limits = self.parts.settings.limits
        try:
            body = parse_points(_REQUEST, data, limits)
            test = check_points(body, limits)
            options = map_options(body, fit, functions.grid.x)
            answer = answer_few(test, functions, options, limits)
        except Exception:  # noqa: BLE001 - Flask's way finds it again, and answers it
            return None
        return None if answer is None else write_json(_REPLY, answer)


def _length_of(environ: dict[str, Any]) -> int:
    text: str = environ.get("CONTENT_LENGTH") or ""
    return int(text) if text.isascii() and text.isdigit() else 0
