"""ZIP archives of files, and those that lie."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import struct
import zipfile
from contextlib import suppress

import pytest

from services.errors import CurveError, InvalidTable, TooLarge, UnreadableFile
from services.files.archives import Archive, measure_room
from services.files.limits import ReadLimits
from tests.archives import a_zip
from tests.files import a_sheet

LIMITS = ReadLimits(max_files=20, max_bytes=1 << 24)
ROOM = measure_room(LIMITS)
FILES = {"s/a.csv": b"x,y\n1,2\n", "b.csv": b"x,y\n3,4\n"}


def found(data, limits=LIMITS):
    """The files of an archive, read."""
    archive = Archive(io.BytesIO(data), limits, measure_room(limits))
    return {path: archive.open(info).read() for path, info in archive.find_files().items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_come_in_their_order(method):
    assert found(a_zip(FILES, method)) == FILES
    assert [*found(a_zip(FILES, method))] == [*FILES]


def test_an_archive_may_have_a_comment_and_something_before_it():
    data = io.BytesIO(b"#!/bin/sh\n" + a_zip(FILES))
    with zipfile.ZipFile(data, "a") as archive:
        archive.comment = b"c" * 60_000
    assert found(data.getvalue()) == FILES


def test_folders_and_hidden_files_are_left_out():
    others = {
        "__MACOSX/s/._a.csv": b"\0",
        "s/.DS_Store": b"\0",
        ".git/a.csv": b"x,y\n",
        "s/Thumbs.db": b"\0",
        "s/": b"",
    }
    assert found(a_zip(others | FILES)) == FILES
    hidden = zipfile.ZipInfo("h.csv")
    hidden.create_system, hidden.external_attr = 0, 2
    assert found(a_zip({hidden: b"x,y\n"} | FILES)) == FILES


def test_paths_of_windows_have_slashes():
    assert [*found(a_zip({"s\\a.csv": b"1"}))] == ["s/a.csv"]


@pytest.mark.parametrize(
    "path", ["../a.csv", "s/../../a.csv", "/etc/a.csv", "C:/a.csv", "..\\a.csv", "a" * 1001]
)
def test_a_path_out_of_the_archive_is_refused(path):
    with pytest.raises(UnreadableFile, match="path"):
        found(a_zip({path: b"1"} | FILES))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(kind):
    link = zipfile.ZipInfo("link.csv")
    link.create_system, link.external_attr = 3, (kind | 0o644) << 16
    with pytest.raises(UnreadableFile, match=r"'link\.csv' is a link"):
        found(a_zip({link: b"/etc/passwd"} | FILES))


def test_a_workbook_is_told_from_an_archive():
    assert Archive(io.BytesIO(a_sheet({"x": [1], "y": [2]})), LIMITS, ROOM).is_workbook
    assert not Archive(io.BytesIO(a_zip(FILES)), LIMITS, ROOM).is_workbook


def test_an_archive_without_files_is_refused():
    with pytest.raises(InvalidTable, match="holds none"):
        found(a_zip({".hidden": b"1"}))


def test_a_path_that_is_there_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate"):
        data = a_zip({zipfile.ZipInfo("a.csv"): b"1", zipfile.ZipInfo("a.csv"): b"2"})
    with pytest.raises(UnreadableFile, match="twice"):
        found(data)


def test_too_many_files_are_refused():
    assert len(found(a_zip({f"{i}.csv": b"1" for i in range(20)}))) == 20
    with pytest.raises(TooLarge, match="at most 20 files"):
        found(a_zip({f"{i}.csv": b"1" for i in range(21)}))


def test_the_directory_is_bounded_before_it_is_read():
    data = a_zip({f"{i}.csv": b"" for i in range(1000)})
    with pytest.raises(TooLarge, match="directory"):
        Archive(io.BytesIO(data), LIMITS, ROOM)
    # Its size is what counts, whatever number of entries the end says.
    lying = bytearray(data)
    struct.pack_into("<HH", lying, len(data) - 22 + 8, 1, 1)
    with pytest.raises(TooLarge, match="directory"):
        Archive(io.BytesIO(bytes(lying)), LIMITS, ROOM)


def test_a_bomb_is_refused_by_its_directory():
    with pytest.raises(TooLarge, match="200 times"):
        found(a_zip({f"{i}.csv": b"0" * (1 << 20) for i in range(10)}))
    with pytest.raises(TooLarge, match="more than 16777216 bytes"):
        found(a_zip({f"{i}.csv": os.urandom(1 << 20) for i in range(17)}, zipfile.ZIP_STORED))


def with_sizes(data, size, packed=None):
    """An archive of one file whose headers say other sizes."""
    data = bytearray(data)
    for mark, place in ((b"PK\x03\x04", 18), (b"PK\x01\x02", 20)):
        at = data.rindex(mark) + place
        old = struct.unpack_from("<II", data, at)
        struct.pack_into("<II", data, at, old[0] if packed is None else packed, size)
    return bytes(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size", [0, 10, 999])
def test_no_more_than_the_directory_says_is_unpacked(method, size):
    data = with_sizes(a_zip({"a.csv": os.urandom(500) * 2}, method), size)
    archive = Archive(io.BytesIO(data), LIMITS, ROOM)
    (info,) = archive.find_files().values()
    sink = io.BytesIO()
    with pytest.raises(UnreadableFile, match="CRC"):
        shutil.copyfileobj(archive.open(info), sink, 100)
    assert sink.tell() <= size


def test_a_size_that_is_too_large_counts_as_it_is_said():
    data = with_sizes(a_zip({"a.csv": b"0123456789"}, zipfile.ZIP_STORED), 2**25)
    with pytest.raises(TooLarge):
        found(data)


def test_files_that_overlap_are_refused():
    data = bytearray(a_zip({f"{i}.csv": b"0" * 999 for i in range(3)}))
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    struct.pack_into("<I", data, second + 42, 0)
    with pytest.raises(UnreadableFile, match="overlaps"):
        found(bytes(data))


def test_what_is_encrypted_or_packed_in_another_way_is_refused_when_it_is_opened():
    data = bytearray(a_zip(FILES))
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + 8, 1)
    with pytest.raises(UnreadableFile, match="password"):
        found(bytes(data))
    with pytest.raises(UnreadableFile, match="deflate"):
        found(a_zip(FILES, zipfile.ZIP_LZMA))


def test_what_is_damaged_is_refused():
    data = bytearray(a_zip({"a.csv": bytes(range(256)) * 9}))
    data[60] ^= 1
    for broken in (bytes(data), a_zip(FILES)[:-30], b"PK\x03\x04", b"", b"PK\x05\x06" + b"\0" * 18):
        with pytest.raises(CurveError):
            found(broken)


def test_changed_archives_raise_typed_errors_only():
    rng = random.Random(5)  # noqa: S311 - of a test
    seeds = [
        a_zip(FILES),
        a_zip(FILES, zipfile.ZIP_STORED),
        a_zip({}),
        a_sheet({"x": [1], "y": [2]}),
    ]
    for _ in range(3000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice([1, 1, 2, 8])):
            at = rng.randrange(len(data))
            data[at] = rng.choice([0, 255, data[at] ^ (1 << rng.randrange(8)), rng.randrange(256)])
        with suppress(CurveError):
            found(bytes(data))
