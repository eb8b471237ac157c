"""Ends of requests, so that the poller knows when a thread can read a whole one.

This only finds how many bytes gunicorn's parser needs to run without waiting. Malformed HTTP counts
as complete, and the parser refuses it.
"""

from __future__ import annotations

import re
from typing import Any

from gunicorn.http.body import ChunkedReader

LINE_BYTES = 8190
"""Longest line of the chunked coding, in bytes."""

_BARE_LF = re.compile(rb"(?<!\r)\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;|$)")


def is_head_whole(head: bytes | bytearray, known: int, longest_line: int) -> bool:
    """Tell whether a head has ended or is malformed; the first `known` bytes were seen before."""
    if head.find(b"\r\n\r\n", max(0, known - 3)) >= 0:
        return True
    if _BARE_LF.search(head, max(0, known - 1)):
        return True
    return 0 < longest_line < len(head) - 2 and head.find(b"\r\n", 2) < 0


class Framing:
    """Count of the missing bytes of a body."""

    def __init__(self, body: Any) -> None:
        chunked = isinstance(body.reader, ChunkedReader)
        self._chunks = Chunks() if chunked else None
        self.missing: int | None = None if chunked else body.reader.length

    def count(self, data: bytes) -> bool:
        """Tell whether these bytes complete the body."""
        if self._chunks is not None:
            return self._chunks.count(data)
        assert self.missing is not None  # noqa: S101 - a body that is not chunked has a length
        self.missing = max(0, self.missing - len(data))
        return self.missing == 0


class Chunks:
    """Finder of the end of a body in the chunked coding."""

    def __init__(self) -> None:
        self._rest = b""  # the beginning of a line
        self._skip = 0  # bytes of the chunk at hand that are still to come
        self._in_trailers = False
        self.ended = False

    def count(self, data: bytes) -> bool:
        """Tell whether these bytes complete the body."""
        data, place = self._rest + data, 0
        while not self.ended:
            step = min(self._skip, len(data) - place)
            self._skip -= step
            place += step
            end = -1 if self._skip else data.find(b"\r\n", place)
            if end < 0:
                break
            self._read_line(data[place:end])
            place = end + 2
        self._rest = data[place:]
        self.ended = self.ended or len(self._rest) > LINE_BYTES
        return self.ended

    def _read_line(self, line: bytes) -> None:
        if self._in_trailers:
            self.ended = not line
        elif (size := _CHUNK.match(line)) is None:
            self.ended = True
        elif int(size[1], 16) == 0:
            self._in_trailers = True
        else:
            self._skip = int(size[1], 16) + 2
