"""gzip and zstd give all bytes or an error, and never more than allowed."""

from __future__ import annotations

import gzip
import io

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.errors import TooLarge, UnreadableFile
from services.files import ReadLimits
from services.files.compressed import Unpacked
from services.files.formats import COMPRESSIONS
from tests.files import PACK

EACH = pytest.mark.parametrize("coding", COMPRESSIONS)
TEXT = bytes(range(256)) * 1000


def unpack(data, coding, **limits):
    return Unpacked(io.BytesIO(data), coding, ReadLimits(**limits)).read()


@EACH
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4), st.integers(1, 3000))
def test_members_one_after_the_other_are_one_text(coding, parts, size):
    stream = Unpacked(io.BytesIO(b"".join(map(PACK[coding], parts))), coding, ReadLimits())
    pieces = iter(lambda: stream.read(size), b"")
    assert b"".join(pieces) == b"".join(parts)


@EACH
@pytest.mark.parametrize("cut", [1, 5, 9, 100, -1, -4])
def test_a_stream_that_ends_early_is_unreadable(coding, cut):
    with pytest.raises(UnreadableFile, match="damaged"):
        unpack(PACK[coding](TEXT)[:cut], coding)


@EACH
def test_junk_behind_it_or_instead_of_it_is_unreadable(coding):
    for data in (PACK[coding](TEXT) + b"junk", b"junk", TEXT):
        with pytest.raises(UnreadableFile):
            unpack(data, coding)


@EACH
def test_a_changed_byte_of_a_checked_stream_is_seen(coding):
    checked = zstandard.ZstdCompressor(write_checksum=True).compress
    data = bytearray({"gzip": gzip.compress, "zstd": checked}[coding](TEXT))
    data[-2] ^= 1
    with pytest.raises(UnreadableFile):
        unpack(bytes(data), coding)


def read_until_refused(stream):
    """How many bytes came before it was too large."""
    count = 0
    try:
        while piece := stream.read(1 << 20):
            count += len(piece)
    except TooLarge:
        return count
    raise AssertionError("never refused")


@EACH
def test_it_stops_soon_behind_the_limit(coding):
    data = PACK[coding](bytes(1 << 20)) * 100
    for limits in ({}, {"max_bytes": 1000}):
        stream = Unpacked(io.BytesIO(data), coding, ReadLimits(**limits))
        assert read_until_refused(stream) <= 17 << 20
    assert len(unpack(data, coding, expansion=100_000)) == 100 << 20


def test_a_large_window_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=24, enable_ldm=True)
    data = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = data.compress(bytes(1000)) + data.flush()
    with pytest.raises(UnreadableFile, match="memory"):
        unpack(packed, "zstd")


@EACH
def test_members_without_end_are_refused(coding):
    with pytest.raises(TooLarge):
        unpack(PACK[coding](b"") * 100_001, coding)
