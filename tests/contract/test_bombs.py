"""Files that expand, lie or are absurd are refused, and the service hardly grows."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pytest
import zstandard

from tests.calls import a_form
from tests.files import (
    ARROW,
    ARROW_FILE,
    CSV,
    FORMATS,
    PARQUET,
    SHEET,
    XLSX,
    a_parquet,
    a_sheet,
    a_text,
    an_arrow,
    sheet_xml,
    with_member,
)
from tests.server import Server

JSON = "application/json"
SMALL = {"x": [1.0, 2.0], "y": [3.0, 4.0]}
MEGA = 1 << 20


def packed_zeros(count):
    """A gzip file of that many MiB of rows of zeros, made of members of one MiB each."""
    return gzip.compress(b"0,0\n" * (MEGA // 4)) * count


def wide(make, count):
    return make({f"c{i}": [1.0] for i in range(count)})


def a_lying_zip(member):
    """A workbook whose directory says that a member has ten bytes."""
    data = bytearray(with_member(a_sheet(SMALL), SHEET, member))
    at = data.rfind(SHEET.encode())
    entry = data.rfind(b"PK\x01\x02", 0, at)
    data[entry + 24 : entry + 28] = struct.pack("<I", 10)
    return bytes(data)


def overlapping(count):
    """A workbook whose members are all the same bytes."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(SHEET, bytes(MEGA))
        first = archive.infolist()[0]
        for number in range(count):
            copy = zipfile.ZipInfo(f"xl/{number}.xml")
            for name in ("header_offset", "compress_size", "file_size", "CRC", "compress_type"):
                setattr(copy, name, getattr(first, name))
            archive.filelist.append(copy)
        archive._didModify = True  # noqa: SLF001 - the library writes no such archive by itself
    return sink.getvalue()


def a_sparse_sheet():
    workbook, sink = openpyxl.Workbook(), io.BytesIO()
    for cell, value in (("A1", "x"), ("B1", "y"), ("A2", 1), ("XFD1048576", 2)):
        workbook.active[cell] = value
    workbook.save(sink)
    return sink.getvalue()


def a_sheet_of(xml, member=SHEET):
    return with_member(a_sheet(SMALL), member, xml)


def strings(count):
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    items = b"<si><t>a</t></si>" * count
    return f'<sst xmlns="{space}" count="{count}">'.encode() + items + b"</sst>"


def a_dictionary():
    """A Parquet file of 36 kB whose 100 million numbers are one and the same."""
    cells = pa.DictionaryArray.from_arrays(np.zeros(5_000_000, np.int32), [1.5])
    return a_parquet({f"c{i}": cells for i in range(20)}, write_statistics=False)


def absurd(data, old, new):
    """The bytes with every occurrence of one number replaced by another."""
    return data.replace(struct.pack("<q", old), struct.pack("<q", new))


def a_null_batch():
    """An Arrow stream of a few bytes with 2**60 rows of nothing."""
    return absurd(an_arrow({"x": pa.nulls(77_777), "y": pa.nulls(77_777)}), 77_777, 1 << 60)


def a_window():
    """A zstd frame that asks for a window of 2 GiB."""
    return b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00"


def many_batches():
    return an_arrow({"x": np.zeros(3), "y": np.zeros(3)}, rows=1)


def as_part(data, name):
    form = a_form(("file", data, name))
    return form["data"], form["headers"]["Content-Type"], None


BOMBS = {
    "Parquet, 1824 times": lambda: (
        a_parquet({f"c{i}": np.zeros(1_000_000) for i in range(100)}),
        PARQUET,
        None,
    ),
    "Parquet, dictionary": lambda: (a_dictionary(), PARQUET, None),
    "Parquet, 20 000 columns": lambda: (wide(a_parquet, 20_000), PARQUET, None),
    "Arrow, 100 000 columns": lambda: (wide(an_arrow, 100_000), ARROW, None),
    "Arrow file, 100 000 columns": lambda: (
        an_arrow({f"c{i}": [1.0] for i in range(100_000)}, file=True),
        ARROW_FILE,
        None,
    ),
    "CSV, 100 000 columns": lambda: (wide(a_text, 100_000), CSV, None),
    "JSON, 100 000 columns": lambda: (
        json.dumps({"name": "a", "columns": {f"c{i}": [1] for i in range(100_000)}}).encode(),
        JSON,
        None,
    ),
    "Arrow, 2**60 rows": lambda: (a_null_batch(), ARROW, None),
    "Arrow, absurd lengths": lambda: (
        absurd(an_arrow({"x": np.zeros(77_777)}), 8 * 77_777, 1 << 62),
        ARROW,
        None,
    ),
    "Arrow, packed zeros": lambda: (
        an_arrow({f"c{i}": np.zeros(1_000_000) for i in range(50)}, compression="zstd"),
        ARROW,
        None,
    ),
    "gzip of CSV, 1028 times": lambda: (gzip.compress(b"x,y\n") + packed_zeros(1000), CSV, "gzip"),
    "zstd of CSV": lambda: (zstandard.compress(b"x,y\n" + b"0,0\n" * (250 * MEGA), 1), CSV, "zstd"),
    "zstd, a window of 2 GiB": lambda: (a_window(), CSV, "zstd"),
    "gzip of JSON": lambda: (packed_zeros(1000), JSON, "gzip"),
    "gzip of Parquet": lambda: (
        gzip.compress(b"PAR1") + packed_zeros(1000),
        PARQUET,
        "gzip",
    ),
    "gzip of empty members": lambda: (gzip.compress(b"") * 200_000, CSV, "gzip"),
    "a packed form": lambda: (
        gzip.compress(b'--f\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
        + packed_zeros(1000),
        "multipart/form-data; boundary=f",
        "gzip",
    ),
    "a.csv.gz in a form": lambda: as_part(gzip.compress(b"x,y\n") + packed_zeros(1000), "a.csv.gz"),
    "XLSX of zeros": lambda: (a_sheet_of(bytes(260 * MEGA)), XLSX, None),
    "XLSX, a directory that lies": lambda: (a_lying_zip(bytes(200 * MEGA)), XLSX, None),
    "XLSX, overlapping members": lambda: (overlapping(9000), XLSX, None),
    "XLSX, one cell far away": lambda: (a_sparse_sheet(), XLSX, None),
    "XLSX, 16 384 columns": lambda: (
        a_sheet_of(sheet_xml('<row r="1"><c r="XFD1"><v>1</v></c><c r="A1"><v>1</v></c></row>')),
        XLSX,
        None,
    ),
    "XLSX, 10 000 000 shared strings": lambda: (
        a_sheet_of(strings(10_000_000), "xl/sharedStrings.xml"),
        XLSX,
        None,
    ),
    "JSON, 100 000 brackets": lambda: (b"[" * 100_000 + b"]" * 100_000, JSON, None),
    "JSON, 100 000 open brackets": lambda: (b'{"a":' * 100_000, JSON, None),
    "JSON, an integer of a million digits": lambda: (
        b'{"name": "a", "columns": {"x": [' + b"9" * 1_000_000 + b'], "y": [1]}}',
        JSON,
        None,
    ),
    "CSV, a number of a million digits": lambda: (
        b"x,y\n1," + b"9" * 1_000_000 + b"\n",
        CSV,
        None,
    ),
}
"""Bytes, Content-Type and Content-Encoding, made when they are needed."""

LIKE_OTHERS = {
    "Parquet, 20 000 columns",
    "Arrow file, 100 000 columns",
    "XLSX, a directory that lies",
}
"""Bombs of a kind that another shows in `make test`."""


def memory(pid):
    """The most memory that a process had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def family(pid):
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    """A server whose memory is looked at; it has read a file of each kind already."""
    server = Server(tmp_path_factory.mktemp("lone"), WEB_CONCURRENCY="1")
    for kind, make in FORMATS.values():
        server.post("/v1/datasets", data=make(SMALL), headers={"Content-Type": kind})
    # The reader of long files is loaded with the first of them.
    long = {"x": list(map(float, range(100_000)))} | {"y": [0.0] * 100_000}
    server.post("/v1/datasets", data=a_text(long), headers={"Content-Type": CSV})
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(bomb, marks=pytest.mark.thorough if bomb in LIKE_OTHERS else ())
        for bomb in BOMBS
    ],
)
def test_a_bomb_is_refused_and_the_service_does_not_grow(lone, bomb):
    data, kind, coding = BOMBS[bomb]()
    headers = {"Content-Type": kind} | ({"Content-Encoding": coding} if coding else {})
    pids = family(lone.process.pid)
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak starts again
    before = list(map(memory, pids))
    reply = lone.post("/v1/datasets", data=data, headers=headers)
    assert reply.status_code in {400, 413, 415, 422}, reply.text
    grown = [memory(pid) - peak for pid, peak in zip(pids, before, strict=True)]
    assert max(grown) < 64
