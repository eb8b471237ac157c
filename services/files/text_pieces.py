"""Text in pieces: decoded, and cut between records."""

from __future__ import annotations

import codecs
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from services.files.text_fast import Plain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


CHUNK = 1 << 16
"""Bytes that are read first; small, so that refusing a bad file early stays cheap."""

LARGEST_CHUNK = 1 << 18
"""Bytes that are read at once later."""

_THREADS = 2


class Piece(NamedTuple):
    """Some lines as bytes."""

    data: bytes
    overlong: bool = False
    """It is the beginning of a line that is too long, and nothing follows."""


class Pieces:
    """A stream in pieces, each of whole lines; it is read once."""

    def __init__(self, stream: BinaryIO, longest: int) -> None:
        self._stream = stream
        self._longest = longest
        chunk = _read_full(stream, CHUNK)
        mark, self.encoding = next(
            ((mark, name) for mark, name in _BOMS if chunk.startswith(mark)), (b"", "utf-8")
        )
        # Some tools put a mark before a mark; left there, it would be part of the first name.
        self._first = re.sub(b"\\A(?:%b)+" % re.escape(mark), b"", chunk) if mark else chunk
        self.start = len(chunk) - len(self._first)
        self.codec = self.encoding.removesuffix("-sig")
        self._feed, self._return = "\n".encode(self.codec), "\r".encode(self.codec)

    def __iter__(self) -> Iterator[Piece]:
        chunk, tail, read = self._first, b"", 0
        while chunk:
            data = tail + chunk
            cut = self._cut(data)
            if cut:
                yield Piece(data[:cut])
            tail = data[cut:]
            if self._is_overlong(tail):
                yield Piece(tail, overlong=True)
                return
            read += len(chunk)
            # Large pieces are read faster, but a file that is refused early shall cost little.
            chunk = _read_full(self._stream, min(LARGEST_CHUNK, max(CHUNK, read // 4)))
        if tail:
            yield Piece(tail)

    def _cut(self, data: bytes) -> int:
        """Where the last line ends that is known to have ended; 0 if none is."""
        # A return is an end by itself where the next two characters hold no line feed.
        for end, stop in ((self._feed, len(data)), (self._return, len(data) - 2 * len(self._feed))):
            at = data.rfind(end, 0, max(stop, 0))
            while at % len(end) and at > 0:  # halves of two UTF-16 characters that look like one
                at = data.rfind(end, 0, at + len(end) - 1)
            if at >= 0:
                return at + len(end)
        return 0

    def _is_overlong(self, tail: bytes) -> bool:
        if len(tail) <= self._longest:
            return False
        return len(tail.decode(self.codec, "replace")) > self._longest


def _read_full(stream: BinaryIO, size: int) -> bytes:
    """Read that many bytes, or all that are left, however small the pieces that come."""
    first = stream.read(size)
    if len(first) in (0, size):
        return first
    pieces = bytearray(first)
    while len(pieces) < size and (piece := stream.read(size - len(pieces))):
        pieces += piece
    return bytes(pieces)


def read_ahead(
    pieces: Iterable[Piece], read: Callable[[bytes], Plain | None]
) -> Generator[tuple[Piece, Future[Plain | None]]]:
    """Each piece with its numbers, which are read on threads a little ahead."""
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[tuple[Piece, Future[Plain | None]]] = deque()
        for piece in pieces:
            waiting.append((piece, pool.submit(read, piece.data)))
            if len(waiting) > _THREADS:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
