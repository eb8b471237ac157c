"""Replies with costly bodies: HEAD does not compute them, and long ones are kept on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any, Self

from flask import Response, request

from api import slots
from services.scratch import scratch

_IN_MEMORY = 1 << 20
"""Largest body that is kept in memory, in bytes; a larger one is a file."""

_PIECE = 1 << 16
"""Bytes that are sent at once."""


def compute_reply(
    make: Callable[[], Any],
    content_type: str,
    headers: dict[str, str] | None = None,
    *,
    numbers: int = 0,
) -> Response:
    """Reply with a body that `make` computes; for HEAD it is not called.

    `numbers` is how many values are read for the body; a large reply takes a slot.
    """
    if request.method == "HEAD":
        # With b"" the Content-Length would be 0.
        return Response(iter(()), content_type=content_type, headers=headers)
    if numbers > slots.SMALL_NUMBERS:
        slots.enter()
    body = make()
    if not isinstance(body, Response):
        return Response(body, content_type=content_type, headers=headers)
    body.headers.update(headers or {})
    return body


class SpooledBody:
    """A body that is complete before it is sent, so that a slow reader holds up nothing."""

    def __init__(self) -> None:
        self._file: IO[bytes] = scratch.spooled(_IN_MEMORY)
        self.write = self._file.write

    @property
    def size(self) -> int:
        """Bytes that have been written."""
        return self._file.tell()

    def reply(self, content_type: str, head: bytes = b"", tail: bytes = b"") -> Response:
        """Make a reply of `head`, the body and `tail`."""
        length = len(head) + self.size + len(tail)
        response = Response(self._pieces(head, tail), content_type=content_type)
        response.content_length = length
        response.call_on_close(self.close)
        return response

    def _pieces(self, head: bytes, tail: bytes) -> Iterator[bytes]:
        try:
            yield head
            self._file.seek(0)
            while data := self._file.read(_PIECE):
                yield data
            yield tail
        finally:
            self.close()

    def __enter__(self) -> Self:
        """Close the file if writing fails."""
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error:
            self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
