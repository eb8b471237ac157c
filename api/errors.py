"""Every error as application/problem+json (RFC 9457); the status of each lives here alone."""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson
from flask import Flask, Response, current_app, g
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import ClientDisconnected, HTTPException

from api.store.base import InUse, NotFound, NotReady, Stale
from services.errors import CurveError, Fact, TooLarge, UnreadableFile

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"

STATUS_OF: dict[type[Exception], int] = {
    UnreadableFile: 400,
    TooLarge: 413,
    CurveError: 422,
    NotFound: 404,
    InUse: 409,
    NotReady: 409,
    Stale: 412,
    StaleDataError: 412,
    # A dataset or fit was deleted while something was made with it, or the other way round.
    IntegrityError: 409,
    # The database is locked, full, restarting or gone; or its tables are not there.
    OperationalError: 503,
    ProgrammingError: 503,
}

DETAIL_OF: dict[type[Exception], str] = {
    StaleDataError: "Another request changed the record at the same time; read it again.",
    IntegrityError: "Another request changed what this one needs at the same time; try again.",
    OperationalError: "The database cannot be reached or written now; try again.",
    ProgrammingError: "The database is not that of this version; run idealfit migrate.",
}

RETRY_SECONDS = 1
"""When a client may try again after 503."""


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """A reply that is an error, raised where it is found."""

    def __init__(
        self,
        status: int,
        detail: str,
        facts: Sequence[Fact] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.facts = facts
        self.headers = dict(headers or {})


def problem(  # noqa: PLR0913 - the members of RFC 9457
    status: int,
    detail: str,
    facts: Sequence[Fact] = (),
    *,
    slug: str | None = None,
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem+json reply."""
    phrase = http.HTTPStatus(status).phrase
    body = {
        "type": f"/problems/{slug}" if slug else "about:blank",
        "title": title or phrase,
        "status": status,
        "detail": detail,
        "errors": [fact_fields(fact) for fact in facts],
        "request_id": g.get("request_id"),
    }
    response = Response(orjson.dumps(body), status, content_type=PROBLEM_JSON)
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def fact_fields(fact: Fact) -> dict[str, Any]:
    """A fact without the places it does not name."""
    return {name: value for name, value in asdict(fact).items() if value is not None}


def register(app: Flask) -> None:
    """Answer every exception with a problem."""
    app.register_error_handler(Problem, _own)
    app.register_error_handler(CurveError, _domain)
    app.register_error_handler(HTTPException, _werkzeug)
    app.register_error_handler(Exception, _other)


def _own(error: Problem) -> Response:
    return problem(error.status, error.detail, error.facts, headers=error.headers)


def _domain(error: CurveError) -> Response:
    status = _status_of(error)
    return problem(status, error.detail, error.facts, slug=error.code, title=error.title)


def _werkzeug(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:  # noqa: PLR2004 - a redirect is no error
        return error.get_response()  # type: ignore[return-value] # werkzeug's is enough here
    kept = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    details = {
        404: "There is nothing at this address; /openapi.json lists what there is.",
        405: f"This address answers {kept.get('Allow', 'other methods')} only.",
        413: f"The body is larger than {current_app.config['MAX_CONTENT_LENGTH'] - 1} bytes,"
        " or a form has too many or too long parts; /v1/limits lists the limits.",
    }
    if isinstance(error, ClientDisconnected):
        details[400] = "The body ended early, stalled, or broke the chunked coding."
    return problem(status, details.get(status) or error.description or "", headers=kept)


def _other(error: Exception) -> Response:
    status = _status_of(error)
    if status == 500:  # noqa: PLR2004
        log.error("request %s failed", g.get("request_id"), exc_info=error)
        return problem(500, "The server failed; the request id finds it in the log.")
    if isinstance(error, DBAPIError):
        log.warning("request %s: %s", g.get("request_id"), error)
    detail = DETAIL_OF.get(type(error), str(error))
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None  # noqa: PLR2004
    return problem(status, detail, headers=headers)


def _status_of(error: Exception) -> int:
    return next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)
