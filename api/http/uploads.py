"""Curves in the body of a request: as JSON, as a form with a file, or the file itself."""

from __future__ import annotations

import functools
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, assert_never, cast

import marshmallow as ma
from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from api import slots
from api.errors import Problem
from api.http.arguments import load, make_invalid
from api.http.blueprint import StrictBlueprint
from api.http.bodies import (
    expect_type,
    parse_json,
    read_coding,
    read_json_body,
)
from api.http.labels import take_labels
from api.http.many_files import join_parts, take_join_options
from api.http.media import FORM, JSON
from api.http.preview import Look
from api.http.read_options import check_options, take_options
from api.http.uploaded_file import (
    FILE_TYPES,
    UploadedFile,
    contradiction,
    file_of_body,
    file_of_part,
    find_format,
    peek,
)
from api.limits import limits_in_force
from api.running import running
from services.errors import Fact, InvalidTable, TooLarge
from services.files import (
    USUAL_X,
    Part,
    ReadFile,
    Source,
    pick_x,
    read_in_sandbox,
    read_text,
)
from services.files.axis import warn_of_axis
from services.files.formats import (
    HEAD_BYTES,
    TEXT_FORMATS,
    Compression,
    Format,
    facts_of,
    media_type_of,
    recognize,
)
from services.files.text import delimiters_of
from services.scratch import SpooledFile, scratch
from services.tables import (
    NO_LABELS,
    Curves,
    FloatArray,
    Labels,
    Table,
    TableWarning,
    clean_names,
)

BODY_TYPES = (JSON, FORM, *FILE_TYPES)

CSV_EXAMPLE = "x,y1,y2\n0.0,1.0,3.0\n0.1,1.1,2.9\n0.2,,2.8\n"

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """Curves, how they were read, and the fields that came with them.

    The curves may lie in a temporary file, which is gone once they are closed.
    """

    curves: Curves
    labels: Labels
    source: Source
    warnings: tuple[TableWarning, ...]
    fields: dict[str, Any]


def takes_uploads(
    blueprint: StrictBlueprint,
    json_schema: type[ma.Schema],
    form_schema: type[ma.Schema],
    example: dict[str, Any],
) -> Callable[[Any], Any]:
    """Document the kinds of body that `read_upload` reads."""
    content: dict[str, Any] = {
        JSON: {"schema": json_schema, "example": example},
        FORM: {"schema": form_schema, "example": {"file": CSV_EXAMPLE}},
    }
    content |= {media: {"schema": {"type": "string", "format": "binary"}} for media in FILE_TYPES}
    for name in TEXT_FORMATS:
        text = CSV_EXAMPLE.replace(",", delimiters_of(name)[0])
        content[media_type_of(name)] = {"schema": {"type": "string"}, "example": text}

    def decorator(function: Any) -> Any:
        body = {"required": True, "content": content}
        return blueprint.problems(400, 413, 415, 422)(blueprint.doc(requestBody=body)(function))

    return decorator


@dataclass(frozen=True, slots=True)
class _Expected:
    """Schemas of the body, names of an x column that need not be said, and the grid, if known."""

    json_schema: type[ma.Schema]
    form_schema: type[ma.Schema]
    usual_x: Sequence[str]
    grid: tuple[str, FloatArray] | None
    look: Look | None = None


def read_upload(  # noqa: PLR0913 - the kinds of body, and where the curves go
    json_schema: type[ma.Schema],
    form_schema: type[ma.Schema],
    query: dict[str, Any],
    usual_x: Sequence[str] = USUAL_X,
    grid: tuple[str, FloatArray] | None = None,
    *,
    look: Look | None = None,
) -> Upload:
    """Read the curves in the body of this request.

    `query` holds the fields of a plain file, `usual_x` names of an x column that need not be
    said, `grid` the name and values of x if the curves are appended to a dataset. `look` keeps
    the beginning of a text.
    """
    media_type = expect_type(*BODY_TYPES)
    expected = _Expected(json_schema, form_schema, usual_x, grid, look)
    upload = _read_upload(media_type, query, expected)
    location = {JSON: "json", FORM: "form"}.get(media_type, "query")
    try:
        labels = take_labels(upload.fields, upload.labels, upload.curves.names, location)
    except BaseException:
        upload.curves.close()
        raise
    return replace(upload, labels=labels)


def _read_upload(media_type: str, query: dict[str, Any], expected: _Expected) -> Upload:
    running().disk.require()
    if (request.content_length or 0) > limits_in_force().body_bytes:
        raise RequestEntityTooLarge
    if media_type in FILE_TYPES:
        given = {name for name in query if query[name]}
        return _read_file(file_of_body(media_type), query, given, expected)
    _refuse_query(query, expected.form_schema)
    if media_type == JSON:
        compression = read_coding()
        size = slots.receive(limits_in_force().json_body_bytes)
        slots.enter_with(size, is_packed=compression is not None)
        return _read_json(read_json_body(), compression, expected)
    return _read_form(expected)


def _refuse_query(query: dict[str, Any], schema: type[ma.Schema]) -> None:
    """Refuse options of a plain file in the query of a body that holds its own.

    One that holds its default counts as not given: generated clients send them all.
    """
    fields = _instance_of(schema).fields
    given = [
        name
        for name in request.args
        if query.get(name, ma.missing) not in (ma.missing, _default_of(fields[name]))
    ]
    if given:
        message = "Send it as a field of the body; the query describes a plain file."
        raise make_invalid({name: [message] for name in given}, "query")


def _default_of(field: ma.fields.Field[Any]) -> Any:
    value = field.load_default
    return value() if callable(value) else value


@functools.cache
def _instance_of(schema: type[ma.Schema]) -> ma.Schema:
    """Make one instance for all requests: each new one copies every field."""
    return schema()


# JSON


def _read_json(
    data: bytes,
    compression: Compression | None,
    expected: _Expected,
    fallback: dict[str, Any] | None = None,
    override: dict[str, Any] | None = None,
) -> Upload:
    """Read a table as JSON; fields beside it fill in for its own, or replace them."""
    content = recognize(data[:HEAD_BYTES])
    if content not in facts_of("json").contents:
        raise contradiction(f"declared as {JSON}", content)
    body = parse_json(data)
    _refuse_many_columns(body)
    if isinstance(body, dict):
        body = (fallback or {}) | body | (override or {})
    fields = load(_instance_of(expected.json_schema), body, "json")
    names, values = fields.pop("columns")
    x_column = fields.pop("x_column")
    table = _make_table(names, values, x_column, expected.usual_x)
    cleaned = [name.strip() for name in names]
    warnings = tuple(warn_of_axis(cleaned, cleaned.index(table.x_name), x_column))
    return Upload(table, NO_LABELS, Source("json", compression=compression), warnings, fields)


def _refuse_many_columns(body: Any) -> None:
    """Refuse too many columns before they become arrays."""
    columns = body.get("columns") if isinstance(body, dict) else None
    if isinstance(columns, dict) and len(columns) > limits_in_force().columns:
        detail = f"There are {len(columns)} columns; the limit is {limits_in_force().columns}."
        raise TooLarge(detail, [Fact(detail, "too_many_columns", pointer="/columns")])


def _make_table(
    names: list[str], values: FloatArray, x_column: str | None, usual_x: Sequence[str]
) -> Table:
    most = limits_in_force()
    if values.shape[1] > most.rows:
        detail = f"There are {values.shape[1]} rows; the limit is {most.rows}."
        raise TooLarge(detail, [Fact(detail, "too_many_rows", pointer="/columns")])
    cleaned = tuple(clean_names(names))
    if x_column is not None and x_column.strip() not in cleaned:
        detail = f"There is no column {x_column[:40]!r} to take x from."
        raise InvalidTable(detail, [Fact(detail, "unknown_column", pointer="/x_column")])
    return pick_x(cleaned, values, x_column, usual_x)


# Forms


def _read_form(expected: _Expected) -> Upload:
    """Read a file and its fields; browsers send a field that was left empty as empty text."""
    parts = _parts()
    names = [name for name, _ in parts]
    schema = _instance_of(expected.form_schema)
    lists = {name for name, field in schema.fields.items() if isinstance(field, ma.fields.List)}
    repeated = {name for name in names if names.count(name) > 1} - lists
    if repeated:
        raise make_invalid({name: ["Given more than once."] for name in repeated}, "form")
    listed = {name: [text for other, text in parts if other == name] for name in lists & {*names}}
    fields = load(schema, dict(parts) | listed, "form")
    part = fields.pop("file")
    if not isinstance(part, FileStorage):
        raise make_invalid({"file": ["Not a file; give the part a file name."]}, "form")
    file, stem = file_of_part(part)
    if not fields.get("name", "-"):
        fields["name"] = stem
    return _read_file(file, fields, {name for name in names if fields.get(name)}, expected)


def _parts() -> list[tuple[str, Any]]:
    """Return the texts of the form that are not empty, and its files."""
    try:
        texts, files = list(request.form.items(multi=True)), request.files.items(multi=True)
        parts = [*((name, text) for name, text in texts if text), *files]
    except ValueError:
        raise Problem(
            400, "The form cannot be read; its boundary is missing or it ends early."
        ) from None
    if sum(len(text.encode()) for _, text in texts) > limits_in_force().form_text_bytes:
        raise RequestEntityTooLarge
    if undecodable := next((name for name, text in texts if "\ufffd" in name + text), None):
        # The library puts this sign where bytes are not UTF-8.
        detail = f"The form field {undecodable[:40]!r} is no UTF-8."
        raise Problem(400, detail, [Fact(detail, "undecodable", parameter=undecodable)])
    return parts


# Files


def _read_file(
    file: UploadedFile, fields: dict[str, Any], given: set[str], expected: _Expected
) -> Upload:
    """Read a table in a file; `given` names the fields that the client sent with it."""
    head, stream = peek(file.stream)
    format = find_format(file, head, fields.get("encoding"))
    fields = dict(fields)
    join = take_join_options(fields)
    n_points = expected.grid[1].size if expected.grid else None
    options = take_options(fields, file.parameters, expected.usual_x, n_points)
    check_options(format, options)
    if look := expected.look:
        look.start(format, is_partial=fields.get("partial") == "true")
    _take_slot(file, format)
    match format:
        case "json":
            fallback = {"name": fields["name"]} if "name" in fields else {}
            beside = (fields | {"x_column": options.x_column}).items()
            override = {name: value for name, value in beside if name in given}
            data = _read_all(stream)
            made = _read_json(data, file.compression, expected, fallback, override)
            fields = made.fields
            read = ReadFile((Part(made.curves, made.labels),), made.source, made.warnings)
        case "csv" | "tsv":
            watched = look.watch(stream, format, options) if look else stream
            read = read_text(watched, format, options)
        case "parquet" | "arrow" | "xlsx" | "jcamp" | "spc":
            with _on_disk(stream) as whole_file:
                read = read_in_sandbox(whole_file, format, options, expected.grid)
        case _:
            assert_never(format)
    part, warnings = join_parts(read, join, expected.grid, fields.get("name") or "the file")
    source = replace(read.source, compression=file.compression)
    return Upload(part.curves, part.labels, source, warnings, fields)


def _take_slot(file: UploadedFile, format: Format) -> None:
    is_packed = file.compression is not None or facts_of(format).is_compact
    slots.enter_with(file.size, is_packed=is_packed)


def _read_all(stream: BinaryIO) -> bytes:
    """Read JSON to its end; 413 where it is too long."""
    most = limits_in_force().json_body_bytes
    data = io.BytesIO()
    while data.tell() <= most and (more := stream.read(_COPY_BYTES)):
        data.write(more)
    if data.tell() > most:
        raise Problem(413, f"JSON may have {most} bytes; send a CSV file instead.")
    return data.getvalue()


def _on_disk(stream: BinaryIO) -> BinaryIO:
    """Return the same bytes as a file of the operating system, gone once it is closed."""
    if isinstance(stream, SpooledFile):
        return cast("BinaryIO", stream)
    file = scratch.file()  # closed by the caller
    try:
        shutil.copyfileobj(stream, file, _COPY_BYTES)
    except BaseException:
        file.close()
        raise
    return file
