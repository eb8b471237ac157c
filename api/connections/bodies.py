"""Bodies that the application reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gunicorn.http.errors import ParseException


class WholeBodies:
    """WSGI middleware that makes a truncated body an error, so that no half file is stored."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if "gunicorn.socket" in environ:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"] = _Body(environ["wsgi.input"], length)
        return self.application(environ, start_response)


class _Body:
    """A body read by gunicorn; OSError if it ends early or breaks the chunked coding.

    werkzeug takes that for a client who has left: 400.
    """

    def __init__(self, stream: Any, length: int) -> None:
        self.stream = stream
        self.missing = length

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self.stream.read(size)
        except ParseException as error:
            raise OSError(str(error)) from error
        self.missing -= len(data)
        if not data and size != 0 and self.missing > 0:
            raise OSError("The body ended early.")
        return data
