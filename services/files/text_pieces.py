"""Text in pieces of whole lines, some of them read ahead."""

from __future__ import annotations

import codecs
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from services.files.text_fast import Plain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


CHUNK_BYTES = 1 << 16
"""Bytes of the first piece: few, so that refusing a bad file early stays cheap."""

HEAD_BYTES = 1 << 16
"""Bytes that are held to find the table, and more only if these do not show it."""

_LARGER = 4
"""How many times larger later pieces become, because large ones are read faster."""

_THREADS = 2


class Piece(NamedTuple):
    """Some lines as bytes."""

    data: bytes
    is_overlong: bool = False
    """Whether it is the beginning of a line that is too long; nothing follows then."""


class Pieces:
    """A stream in pieces, each of whole lines; it is read once.

    Parameters
    ----------
    stream : BinaryIO
        The bytes.
    encoding : str or None
        Encoding for want of a byte order mark; UTF-8 if None.
    longest : int
        Most characters of a line.
    chunk_bytes : int
        Size of the first piece. [bytes]
    """

    def __init__(
        self, stream: BinaryIO, encoding: str | None, longest: int, chunk_bytes: int
    ) -> None:
        self._stream = stream
        self._longest = longest
        self._chunk_bytes = chunk_bytes
        chunk = read_full(stream, HEAD_BYTES)
        mark, self.encoding = next(
            ((mark, name) for mark, name in _BOMS if chunk.startswith(mark)),
            (b"", encoding or "utf-8"),
        )
        # Some tools put a mark before a mark; left there, it would be part of the first name.
        self._held = re.sub(b"\\A(?:%b)+" % re.escape(mark), b"", chunk) if mark else chunk
        self.start = len(chunk) - len(self._held)
        self._is_ended = len(chunk) < HEAD_BYTES
        codec = self.encoding.removesuffix("-sig")
        self.codec = "utf-16-le" if codec == "utf-16" else codec
        self._feed, self._return = "\n".encode(self.codec), "\r".encode(self.codec)

    def peek(self) -> Piece:
        """Return the first lines, without taking them."""
        cut = len(self._held) if self._is_ended else self._cut(self._held)
        tail = self._held[cut:]
        if not self._is_overlong(tail):
            return Piece(self._held[:cut])
        return Piece(self._held, is_overlong=True)

    def widen(self) -> bool:
        """Hold more for `peek`, if there is more and the limit allows."""
        if self._is_ended or len(self._held) > 2 * self._longest:
            return False
        wanted = 3 * len(self._held)
        more = read_full(self._stream, wanted)
        self._held += more
        self._is_ended = len(more) < wanted
        return True

    def take(self, size: int) -> None:
        """Leave out the first bytes."""
        self._held = self._held[size:]

    def __iter__(self) -> Iterator[Piece]:
        tail, read, size = b"", 0, self._chunk_bytes
        while chunk := self._read(size):
            data = tail + chunk
            cut = self._cut(data)
            if cut:
                yield Piece(data[:cut])
            tail = data[cut:]
            if self._is_overlong(tail):
                yield Piece(tail, is_overlong=True)
                return
            read += len(chunk)
            size = min(_LARGER * self._chunk_bytes, max(self._chunk_bytes, read // 4))
        if tail:
            yield Piece(tail)

    def _read(self, size: int) -> bytes:
        """Return the bytes held, and then those of the stream."""
        chunk, self._held = self._held[:size], self._held[size:]
        return chunk or read_full(self._stream, size)

    def _cut(self, data: bytes) -> int:
        """Find the end of the last line that has surely ended; 0 if there is none."""
        # A return ends a line unless one of the next two characters is a line feed.
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


def read_full(stream: BinaryIO, size: int) -> bytes:
    """Read so many bytes, or all that are left, even if the stream gives fewer at a time.

    Parameters
    ----------
    stream : BinaryIO
        The stream.
    size : int
        Number of bytes.

    Returns
    -------
    bytes
    """
    first = stream.read(size)
    if len(first) in (0, size):
        return first
    pieces = bytearray(first)
    while len(pieces) < size and (piece := stream.read(size - len(pieces))):
        pieces += piece
    return bytes(pieces)


def read_ahead(
    pieces: Iterable[Piece], read_plain: Callable[[bytes], Plain | None]
) -> Generator[tuple[Piece, Plain | None]]:
    """Yield each piece with its numbers, which threads read a little ahead."""

    def read(piece: Piece) -> Plain | None:
        # The beginning of an overlong line may look like a row.
        return None if piece.is_overlong else read_plain(piece.data)

    pieces = iter(pieces)
    # Most files are one piece; they start no thread.
    yield from ((piece, read(piece)) for piece in islice(pieces, 1))
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[tuple[Piece, Future[Plain | None]]] = deque()
        for piece in pieces:
            waiting.append((piece, pool.submit(read, piece)))
            if len(waiting) > _THREADS:
                first, ahead = waiting.popleft()
                yield first, ahead.result()
        for last, ahead in waiting:
            yield last, ahead.result()
