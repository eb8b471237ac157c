"""Factories of files: the same columns in every format, and files that lie or expand."""

from __future__ import annotations

import gzip
import io
import zipfile
from functools import partial

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv"
TSV = "text/tab-separated-values"

# Without mtime the time of day would be in the bytes, and so in the names of tests.
PACK = {"gzip": partial(gzip.compress, mtime=0), "zstd": zstandard.compress}

SHEET = "xl/worksheets/sheet1.xml"


def a_parquet(columns, **options):
    """A Parquet file of a dict of columns, or of an Arrow table."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def an_arrow(columns, *, file=False, compression=None, rows=None):
    """An Arrow stream, or a file, of a dict of columns or of an Arrow table."""
    table, sink = pa.table(columns), io.BytesIO()
    opened = pa.ipc.new_file if file else pa.ipc.new_stream
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with opened(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def a_text(columns, delimiter=","):
    """CSV or TSV of a dict of columns."""
    rows = zip(*columns.values(), strict=True)
    shown = [["" if cell is None else repr(cell) for cell in row] for row in rows]
    lines = [delimiter.join(cells) for cells in [list(columns), *shown]]
    return "".join(line + "\n" for line in lines).encode()


def a_workbook(*sheets):
    """An XLSX file; a sheet is (name, rows)."""
    workbook, sink = openpyxl.Workbook(), io.BytesIO()
    workbook.remove(workbook.active)
    for name, rows in sheets:
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    workbook.save(sink)
    return sink.getvalue()


def a_sheet(columns):
    """An XLSX file of a dict of columns."""
    return a_workbook(("Sheet1", [list(columns), *zip(*columns.values(), strict=True)]))


def with_member(data, name, content):
    """A ZIP archive with other bytes in one member, or with one more."""
    sink = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        new.writestr(name, content)
    return sink.getvalue()


def sheet_xml(cells):
    """The XML of a sheet with these cells, as text."""
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return f'<worksheet xmlns="{space}"><sheetData>{cells}</sheetData></worksheet>'.encode()


FORMATS = {
    "csv": (CSV, a_text),
    "tsv": (TSV, lambda columns: a_text(columns, "\t")),
    "parquet": (PARQUET, a_parquet),
    "arrow": (ARROW, an_arrow),
    "feather": (ARROW_FILE, lambda columns: an_arrow(columns, file=True, compression="lz4")),
    "xlsx": (XLSX, a_sheet),
}
"""The content type and the maker of each, by the ending of its files."""
