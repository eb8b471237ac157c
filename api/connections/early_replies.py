"""Replies of the server itself, before a request reaches the application."""

from __future__ import annotations

import http
import secrets
from typing import Any

import orjson
from gunicorn.http import errors
from gunicorn.http.wsgi import Response
from gunicorn.util import http_date

from api.headers import DEFAULTS
from api.problems import problem_document

_STATUSES: dict[type[Exception], int] = {
    errors.InvalidResponseHeader: 500,
    errors.InvalidResponseHeaderName: 500,
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
    errors.ForbiddenProxyRequest: 403,
    errors.ConfigurationProblem: 404,
    errors.ParseException: 400,
}

_DETAILS = {
    400: "Send an HTTP/1.1 request; this one has a line that cannot be read.",
    403: "Requests through the PROXY protocol are not taken from here.",
    404: "There is nothing at this address; /openapi.json lists what there is.",
    414: "Send a shorter address; the first line of a request may have 8190 bytes.",
    417: "Send no Expect header but 100-continue.",
    431: "Send fewer or shorter headers.",
    500: "The server failed; the request id finds it in the log.",
    501: "Send no Transfer-Encoding but chunked.",
}

TOO_SLOW = "Send the request faster; /v1/limits has the least rate of a body and the longest pause."
CUT_OFF = "Send the whole body; it ended early."
NO_ROOM = "There is no room left for temporary files; nothing was stored."
NO_HOST = "Send a Host header; HTTP/1.1 asks for it."


class NoHost(errors.ParseException):  # type: ignore[misc] # gunicorn has no types
    """An HTTP/1.1 request without a Host header."""

    def __str__(self) -> str:
        return NO_HOST


def status_of(error: Exception) -> int:
    """Return the status of an error of gunicorn's parser or of ours."""
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 500)


def detail_of(error: Exception, status: int) -> str:
    """Return the detail of an error."""
    return NO_HOST if isinstance(error, NoHost) else _DETAILS[status]


_FIXED = "".join(f"{name}: {value}\r\n" for name, value in DEFAULTS.items())


def make_problem(status: int, detail: str) -> tuple[str, bytes]:
    """Make a request id and a complete reply that closes the connection."""
    request_id = secrets.token_hex(16)
    body = orjson.dumps(problem_document(status, detail, request_id=request_id))
    head = (
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
        f"Date: {http_date()}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"{_FIXED}"
        f"X-Request-ID: {request_id}\r\n\r\n"
    )
    return request_id, head.encode() + body


SHORT_BYTES = 1 << 16
"""Most bytes of a piece that is copied behind the head."""


class Reply(Response):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's reply without its name; it closes the connection after an unread body."""

    def __init__(self, req: Any, sock: Any, cfg: Any, connection: Any) -> None:
        super().__init__(req, sock, cfg)
        self.connection = connection

    def default_headers(self) -> list[str]:
        """Make the first line and the headers of the connection."""
        if not self.connection.is_body_read():
            self.force_close()
        headers: list[str] = super().default_headers()
        return [header for header in headers if not header.startswith("Server:")]

    def write(self, arg: bytes) -> None:
        """Send a piece of the body; the head and a short first piece are sent together."""
        if self.headers_sent or len(arg) > SHORT_BYTES:
            super().write(arg)
        else:
            self.sock.send_together(super().write, arg)

    def has_turn(self) -> bool:
        """Tell whether the reply may be made now.

        A reply that is made while it is sent needs a slot, so that other replies find threads.
        Without a free slot a GET is put off, since it can start again.
        """
        if self.response_length is not None or self._omits_body or self.req.method != "GET":
            return True
        self.connection.stands_back = not self.connection.reply_slot.take()
        return not self.connection.stands_back
