"""A file becomes curves, whatever its format."""

from __future__ import annotations

import io
import shutil
from typing import Any, BinaryIO, assert_never, cast

from api.errors import Problem
from api.http.json_tables import instance_of, read_json_table
from api.http.labels import take_labels
from api.http.upload import Expected
from api.http.uploaded_file import UploadedFile
from api.limits import limits_in_force
from services.files import Part, ReadFile, ReadOptions, read_in_sandbox, read_text
from services.files.formats import Format
from services.scratch import SpooledFile, scratch
from services.tables import FloatArray

_COPY_BYTES = 1 << 20


def read_file(
    file: UploadedFile,
    format: Format,
    options: ReadOptions,
    expected: Expected,
    grid: tuple[str, FloatArray] | None,
) -> ReadFile:
    """Read a file; `grid` is that of a dataset whose x the curves have."""
    match format:
        case "json":
            return _read_json_file(file, options, expected)
        case "csv" | "tsv":
            look = expected.look
            stream = look.watch(file.stream, format, options) if look else file.stream
            return read_text(stream, format, options)
        case "parquet" | "arrow" | "xlsx" | "jcamp" | "spc":
            with on_disk(file.stream) as whole_file:
                return read_in_sandbox(whole_file, format, options, grid)
        case _:
            assert_never(format)


def _read_json_file(file: UploadedFile, options: ReadOptions, expected: Expected) -> ReadFile:
    """Read the curves of JSON with their labels; other fields of a dataset are left out."""
    override: dict[str, Any] = {"x_column": options.x_column} if options.x_column else {}
    needs_name = "name" in instance_of(expected.json_schema).fields
    fallback = {"name": options.stem} if needs_name else {}
    data = read_all(file.stream)
    made = read_json_table(data, file.compression, expected, fallback, override)
    labels = take_labels(made.fields, made.labels, made.curves.names, "json")
    return ReadFile((Part(made.curves, labels),), made.source, made.warnings)


def read_all(stream: BinaryIO) -> bytes:
    """Read JSON to its end; 413 where it is too long."""
    most = limits_in_force().json_body_bytes
    data = io.BytesIO()
    while data.tell() <= most and (more := stream.read(_COPY_BYTES)):
        data.write(more)
    if data.tell() > most:
        raise Problem(413, f"JSON may have {most} bytes; send a CSV file instead.")
    return data.getvalue()


def on_disk(stream: BinaryIO) -> BinaryIO:
    """Return the same bytes as a file of the operating system, gone once it is closed."""
    if isinstance(stream, SpooledFile):
        return cast("BinaryIO", stream)
    file = scratch.file()  # closed by the caller
    try:
        shutil.copyfileobj(stream, file, _COPY_BYTES)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file
