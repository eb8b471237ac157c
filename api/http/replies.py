"""Replies whose bodies cost something: HEAD does not compute them, a long one lies on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any, Self

from flask import Response, request

from api import slots
from services.scratch import scratch

_IN_MEMORY = 1 << 20
"""Bytes of a reply that are kept in memory; one more, and all of it is a file."""

_PIECE = 1 << 16


def computed(
    make: Callable[[], Any],
    content_type: str,
    headers: dict[str, str] | None = None,
    *,
    numbers: int = 0,
) -> Response:
    """A reply whose body is made for GET alone; HEAD gets the headers.

    `numbers` is how many are looked at for it: beyond a few it takes a slot.
    """
    if request.method == "HEAD":
        # Not b"", whose length would be told for that of the body.
        return Response(iter(()), content_type=content_type, headers=headers)
    if numbers > slots.SMALL_NUMBERS:
        slots.enter()
    body = make()
    if not isinstance(body, Response):
        return Response(body, content_type=content_type, headers=headers)
    body.headers.update(headers or {})
    return body


class Written:
    """A body that was written before it is sent, so that a slow reader keeps nothing waiting."""

    def __init__(self) -> None:
        self._file: IO[bytes] = scratch.spooled(_IN_MEMORY)
        self.write = self._file.write

    @property
    def size(self) -> int:
        """Bytes that were written."""
        return self._file.tell()

    def reply(self, content_type: str, head: bytes = b"", tail: bytes = b"") -> Response:
        """The whole as a reply, between what is only known now."""
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
        """Give back the room if the writing fails."""
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error:
            self.close()

    def close(self) -> None:
        """Give back the room."""
        self._file.close()
