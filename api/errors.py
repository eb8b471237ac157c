"""Every error as application/problem+json (RFC 9457), with the table of their statuses."""

from __future__ import annotations

import logging
import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from flask import Flask, Response, current_app, request
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import ClientDisconnected, HTTPException

from api import problems
from api.disk import NoRoom
from api.problems import FULL, ProblemType, problem_document
from api.store.base import InUse, NotFound, NotReady, Stale
from api.throttled_log import ThrottledLog
from services.errors import Busy, CurveError, Fact

log = logging.getLogger(__name__)
throttled = ThrottledLog(log)

PROBLEM_JSON = "application/problem+json"

STATUS_OF: dict[type[Exception], int] = {
    **problems.STATUS_OF,
    NotFound: 404,
    InUse: 409,
    NotReady: 409,
    Stale: 412,
    StaleDataError: 412,
    # A dataset or fit was deleted while something was made with it, or the other way round.
    IntegrityError: 409,
    Busy: 503,
    # The database is locked, full, restarting or gone, or its tables are missing.
    OperationalError: 503,
    # The same from the driver itself, which reads parts of curves.
    sqlite3.OperationalError: 503,
    # PostgreSQL is read-only: a standby, or set so.
    InternalError: 503,
    ProgrammingError: 503,
}

_UNREACHABLE = "The database cannot be reached or written now; try again."

DETAIL_OF: dict[type[Exception], str] = {
    StaleDataError: "Another request changed the record at the same time; read it again.",
    IntegrityError: "Another request changed what this one needs at the same time; try again.",
    OperationalError: _UNREACHABLE,
    sqlite3.OperationalError: _UNREACHABLE,
    InternalError: _UNREACHABLE,
    ProgrammingError: "The database is not that of this version; run idealfit migrate.",
}

RETRY_SECONDS = 1
"""Seconds after which a client may try again after 503."""


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """An error reply, raised where the error is found."""

    def __init__(
        self,
        status: int,
        detail: str,
        facts: Sequence[Fact] = (),
        headers: Mapping[str, str] | None = None,
        kind: ProblemType | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.facts = facts
        self.headers = dict(headers or {})
        self.kind = kind

    @classmethod
    def of(cls, kind: ProblemType, detail: str) -> Problem:
        """Make a problem of a type that has an address."""
        return cls(kind.status, detail, kind=kind)


_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id() -> str:
    """Return the id of this request."""
    return choose_request_id(request.environ)


def choose_request_id(environ: dict[str, Any]) -> str:
    """Return the id of a request: the one that the client sent if it is valid, or a new one."""
    known: str | None = environ.get("idealfit.request_id")
    if known is None:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        known = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        environ["idealfit.request_id"] = known
    return known


def reply_with_problem(  # noqa: PLR0913 - the members of RFC 9457
    status: int,
    detail: str,
    facts: Sequence[Fact] = (),
    *,
    slug: str | None = None,
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make a problem+json reply."""
    body = problem_document(status, detail, facts, slug=slug, title=title, request_id=request_id())
    body["type"] = address_of_type(body["type"])
    response = Response(orjson.dumps(body), status, content_type=PROBLEM_JSON)
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def reply_with_type(
    kind: ProblemType, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Make a reply of a type of problem that has an address."""
    return reply_with_problem(
        kind.status, detail, slug=kind.slug, title=kind.title, headers=headers
    )


def address_of_type(name: str) -> str:
    """Return the address of a problem type, below the prefix of the service."""
    return request.script_root + name if name.startswith("/") else name


def replace_by_problem(response: Response) -> Response:
    """Replace an error reply of a library by a problem."""
    if response.mimetype == PROBLEM_JSON:
        return response
    response.close()
    return reply_with_problem(
        response.status_code, _DETAILS.get(response.status_code, response.status)
    )


_DETAILS = {
    412: "The file has another ETag than If-Match names; leave If-Match out to get it.",
}


def register(app: Flask) -> None:
    """Answer every exception with a problem."""
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(CurveError, _answer_curve_error)
    app.register_error_handler(NoRoom, _answer_no_room)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_exception)


def _answer_problem(error: Problem) -> Response:
    kind = error.kind
    return reply_with_problem(
        error.status,
        error.detail,
        error.facts,
        slug=kind.slug if kind else None,
        title=kind.title if kind else None,
        headers=error.headers,
    )


def _answer_curve_error(error: CurveError) -> Response:
    status = _status_of(error)
    return reply_with_problem(status, error.detail, error.facts, slug=error.code, title=error.title)


def _answer_no_room(error: NoRoom) -> Response:
    throttled.note(f"request {request_id()}", error)
    headers = {"Retry-After": str(RETRY_SECONDS)} if error.kind.status == 503 else None  # noqa: PLR2004
    return reply_with_type(error.kind, error.detail, headers)


def _answer_http_exception(error: HTTPException) -> Response:
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
    return reply_with_problem(status, details.get(status) or error.description or "", headers=kept)


def _answer_exception(error: Exception) -> Response:
    status = _status_of(error)
    if status == 500:  # noqa: PLR2004
        log.error("request %s failed", request_id(), exc_info=error)
        return reply_with_problem(500, "The server failed; the request id finds it in the log.")
    if isinstance(error, DBAPIError | sqlite3.Error | OSError):
        throttled.note(f"request {request_id()}", error)
    if status == 507:  # noqa: PLR2004
        return reply_with_problem(
            507, "There is no room left for temporary files; nothing was stored."
        )
    detail = DETAIL_OF.get(type(error), str(error))
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None  # noqa: PLR2004
    return reply_with_problem(status, detail, headers=headers)


def _status_of(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in FULL:
        return 507
    return next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)
