"""Bodies and files that came as gzip or zstd, unpacked as they are read, never further."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import zstandard

from services.errors import Fact, TooLarge, UnreadableFile, error_from
from services.files.limits import ReadLimits

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CODINGS = ("gzip", "zstd")

_WINDOW = 8 << 20
"""Most memory a zstd frame may ask for; what RFC 9659 grants, and what level 19 needs."""

# How much is unpacked in one go. A byte of deflate becomes 1032 at most; 4 bytes of zstd become
# a block of 128 KiB. So gzip gives 4 MiB at most before it is counted, and zstd 8 MiB.
_PIECE = {"gzip": 4 << 10, "zstd": 256}

_READ = 64 << 10
"""Bytes that are read in one go; many small reads of a socket take longer than unpacking."""

_MOST_MEMBERS = 100_000
"""Members of a gzip or frames of a zstd file; empty ones would cost time and never an end."""


class Unpacked(io.RawIOBase):
    """The bytes inside a compressed stream.

    Parameters
    ----------
    stream : BinaryIO
        What came; members or frames one after the other.
    coding : str
        ``gzip`` or ``zstd``.
    limits : ReadLimits
        How large it may become. Beyond them reading raises `TooLarge`, and `UnreadableFile`
        where the stream is damaged or ends early.
    """

    def __init__(self, stream: BinaryIO, coding: str, limits: ReadLimits) -> None:
        super().__init__()
        self._stream = stream
        self._coding = coding
        self._limits = limits
        self._pieces = self._unpack()
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer.

        Parameters
        ----------
        buffer : writable buffer
            Where the bytes go.

        Returns
        -------
        int
            How many there are; 0 at the end.
        """
        target = memoryview(buffer).cast("B")
        while not self._ready:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._ready = memoryview(piece)
        count = min(len(target), len(self._ready))
        target[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpack(self) -> Iterator[bytes]:
        received = unpacked = members = 0
        new = _member(self._coding)
        member, data, sent = new(), b"", self._sent()
        while True:
            if not data:
                data = next(sent, b"")
                received += len(data)
            if not data:
                break
            if member is None:
                member = new()
            piece = self._decompress(member, data)
            unpacked += len(piece)
            self._limits.check_expansion(received, unpacked)
            yield piece
            data = b""
            if member.eof:
                data, member, members = member.unused_data, None, members + 1
            if members > _MOST_MEMBERS:
                detail = f"The {self._coding} file has more than {_MOST_MEMBERS} members."
                raise error_from(TooLarge, Fact(detail, "too_many_members"))
        if member is not None:
            raise self._unreadable("it ends early")

    def _sent(self) -> Iterator[bytes]:
        """What came, in pieces that are small enough to be unpacked."""
        size = _PIECE[self._coding]
        while data := self._stream.read(_READ):
            for start in range(0, len(data), size):
                yield data[start : start + size]

    def _decompress(self, member: Any, data: bytes) -> bytes:
        try:
            piece: bytes = member.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            raise self._unreadable(str(error)) from None
        return piece

    def _unreadable(self, why: str) -> UnreadableFile:
        detail = f"This is not {self._coding}, or it is damaged: {why}."
        return error_from(UnreadableFile, Fact(detail, "bad_compression"))


def _member(coding: str) -> Callable[[], Any]:
    if coding == "gzip":
        return lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    return decompressor.decompressobj
