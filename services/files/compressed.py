"""Bodies and files compressed with gzip or zstd, unpacked no further than they are read."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, assert_never

import zstandard

from services.errors import Fact, TooLarge, UnreadableFile, error_from
from services.files.formats import Compression
from services.files.limits import ReadLimits

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_WINDOW_BYTES = 8 << 20
"""Most memory a zstd frame may ask for: as much as RFC 9659 grants and level 19 needs."""

_READ_BYTES = 64 << 10
"""Bytes of one read; many small reads of a socket take longer than unpacking."""

_MOST_MEMBERS = 100_000
"""Most members of a gzip file or frames of a zstd file; empty ones take time and give nothing."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """How a compression is undone.

    Parameters
    ----------
    piece_bytes : int
        Bytes that are unpacked at once.
    new_member : callable
        Makes a decompressor for the next member or frame.
    """

    piece_bytes: int
    new_member: Callable[[], Any]


def _codec_of(compression: Compression) -> _Codec:
    match compression:
        case "gzip":
            # A byte of deflate becomes 1032 at most, so this becomes 4 MiB before it is counted.
            return _Codec(4 << 10, lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS))
        case "zstd":
            # 4 bytes of zstd become a block of 128 KiB, so this becomes 8 MiB.
            frames = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
            return _Codec(256, frames.decompressobj)
        case _:
            assert_never(compression)


class Unpacked(io.RawIOBase):
    """The bytes inside a compressed stream.

    Parameters
    ----------
    stream : BinaryIO
        Members or frames, one after the other.
    compression : Compression
        How they are compressed.
    limits : ReadLimits
        How large they may become. Beyond that reading raises `TooLarge`, and `UnreadableFile`
        if the stream is damaged or ends early.
    """

    def __init__(self, stream: BinaryIO, compression: Compression, limits: ReadLimits) -> None:
        super().__init__()
        self._stream = stream
        self._compression = compression
        self._codec = _codec_of(compression)
        self._limits = limits
        self._pieces = self._unpack()
        self._ready = memoryview(b"")
        self.unpacked = 0
        """Bytes that were unpacked so far."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer.

        Parameters
        ----------
        buffer : writable buffer
            Gets the bytes.

        Returns
        -------
        int
            Number of bytes; 0 at the end.
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
        received = members = 0
        new_member = self._codec.new_member
        member, data, sent = new_member(), b"", self._sent()
        while True:
            if not data:
                data = next(sent, b"")
                received += len(data)
            if not data:
                break
            if member is None:
                member = new_member()
            piece = self._decompress(member, data)
            self.unpacked += len(piece)
            self._limits.check_expansion(received, self.unpacked)
            yield piece
            data = b""
            if member.eof:
                data, member, members = member.unused_data, None, members + 1
            if members > _MOST_MEMBERS:
                detail = f"The {self._compression} file has more than {_MOST_MEMBERS} members."
                raise error_from(TooLarge, Fact(detail, "too_many_members"))
        if member is not None:
            raise self._unreadable("it ends early")

    def _sent(self) -> Iterator[bytes]:
        """Yield the stream in pieces that are small enough to be unpacked."""
        size = self._codec.piece_bytes
        while data := self._stream.read(_READ_BYTES):
            for start in range(0, len(data), size):
                yield data[start : start + size]

    def _decompress(self, member: Any, data: bytes) -> bytes:
        try:
            piece: bytes = member.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            raise self._unreadable(str(error)) from None
        return piece

    def _unreadable(self, why: str) -> UnreadableFile:
        detail = f"This is not {self._compression}, or it is damaged: {why}."
        return error_from(UnreadableFile, Fact(detail, "bad_compression"))
