"""Curves in the body of a request: as JSON, as a form with a file, or the file itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import marshmallow as ma
from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from api import slots
from api.errors import Problem
from api.http.arguments import load, make_invalid
from api.http.blueprint import StrictBlueprint
from api.http.bodies import expect_type, make_reader_limits, read_coding, read_json_body
from api.http.json_tables import instance_of, read_json_table
from api.http.labels import take_labels
from api.http.many_files import (
    files_of_archive,
    files_of_form,
    join_parts,
    read_many,
    take_file_options,
)
from api.http.media import FORM, JSON
from api.http.one_file import on_disk, read_all, read_file
from api.http.preview import Look
from api.http.read_options import check_options
from api.http.upload import Expected, Upload
from api.http.uploaded_file import (
    FILE_TYPES,
    UploadedFile,
    file_of_body,
    file_of_part,
    find_format,
    may_be_archive,
    path_of_part,
    peek,
)
from api.limits import limits_in_force
from api.running import running
from services.errors import Fact
from services.files import USUAL_X, Part, ReadFile
from services.files.archives import Archive, measure_room
from services.files.formats import TEXT_FORMATS, Format, facts_of, media_type_of
from services.files.text import delimiters_of
from services.files.titles import find_stem
from services.tables import NAME_LENGTH, FloatArray

BODY_TYPES = (JSON, FORM, *FILE_TYPES)

CSV_EXAMPLE = "x,y1,y2\n0.0,1.0,3.0\n0.1,1.1,2.9\n0.2,,2.8\n"


def takes_uploads(
    blueprint: StrictBlueprint,
    json_schema: type[ma.Schema],
    form_schema: type[ma.Schema],
    example: dict[str, Any],
) -> Callable[[Any], Any]:
    """Document the kinds of body that `read_upload` reads."""
    content: dict[str, Any] = {
        JSON: {"schema": json_schema, "example": example},
        FORM: {"schema": form_schema, "example": {"file": [CSV_EXAMPLE]}},
    }
    content |= {media: {"schema": {"type": "string", "format": "binary"}} for media in FILE_TYPES}
    for name in TEXT_FORMATS:
        text = CSV_EXAMPLE.replace(",", delimiters_of(name)[0])
        content[media_type_of(name)] = {"schema": {"type": "string"}, "example": text}

    def decorator(function: Any) -> Any:
        body = {"required": True, "content": content}
        return blueprint.problems(400, 413, 415, 422)(blueprint.doc(requestBody=body)(function))

    return decorator


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
    expected = Expected(json_schema, form_schema, usual_x, grid, look)
    upload = _read_upload(media_type, query, expected)
    location = {JSON: "json", FORM: "form"}.get(media_type, "query")
    try:
        labels = take_labels(upload.fields, upload.labels, upload.curves.names, location)
    except BaseException:
        upload.curves.close()
        raise
    return replace(upload, labels=labels)


def _read_upload(media_type: str, query: dict[str, Any], expected: Expected) -> Upload:
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
        return read_json_table(read_json_body(), compression, expected)
    return _read_form(expected)


def _refuse_query(query: dict[str, Any], schema: type[ma.Schema]) -> None:
    """Refuse options of a plain file in the query of a body that holds its own.

    One that holds its default counts as not given: generated clients send them all.
    """
    fields = instance_of(schema).fields
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


# Forms


def _read_form(expected: Expected) -> Upload:
    """Read files and fields; browsers send a field that was left empty as empty text."""
    parts = _parts()
    files = [part for name, part in parts if name == "file"]
    texts = [(name, text) for name, text in parts if name != "file"]
    schema = instance_of(expected.form_schema)
    counts = Counter(name for name, _ in texts)
    lists = {name for name, field in schema.fields.items() if isinstance(field, ma.fields.List)}
    if repeated := [name for name in counts if counts[name] > 1 and name not in lists]:
        raise make_invalid({name: ["Given more than once."] for name in repeated}, "form")
    listed: dict[str, list[str]] = {name: [] for name in counts if name in lists}
    for name, text in texts:
        if name in listed:
            listed[name].append(text)
    fields = load(schema, dict(texts) | listed | ({"file": files} if files else {}), "form")
    if not all(isinstance(file, FileStorage) for file in fields.pop("file")):
        raise make_invalid({"file": ["Not a file; give the part a file name."]}, "form")
    if len(files) > 1:
        return read_many(files_of_form(files), fields, expected)
    file = file_of_part(files[0], make_reader_limits())
    if not fields.get("name", "-"):
        fields["name"] = find_stem(path_of_part(files[0])).replace("\0", "")[:NAME_LENGTH]
    return _read_file(file, fields, {name for name in counts if fields.get(name)}, expected)


def _parts() -> list[tuple[str, Any]]:
    """Return the texts of the form that are not empty, and its files."""
    try:
        texts, files = list(request.form.items(multi=True)), request.files.items(multi=True)
        parts = [*((name, text) for name, text in texts if text), *files]
    except ValueError:
        raise Problem(
            400, "The form cannot be read; its boundary is missing or it ends early."
        ) from None
    most = limits_in_force()
    if sum(len(text.encode()) for _, text in texts) > most.form_text_bytes:
        raise RequestEntityTooLarge
    if len(texts) > most.form_parts:
        raise RequestEntityTooLarge
    if undecodable := next((name for name, text in texts if "\ufffd" in name + text), None):
        # The library puts this sign where bytes are not UTF-8.
        detail = f"The form field {undecodable[:40]!r} is no UTF-8."
        raise Problem(400, detail, [Fact(detail, "undecodable", parameter=undecodable)])
    return parts


# Files


def _read_file(
    file: UploadedFile, fields: dict[str, Any], given: set[str], expected: Expected
) -> Upload:
    """Read a file, or those of an archive; `given` names the fields that were sent with it."""
    head, stream = peek(file.stream)
    if not may_be_archive(file, head):
        format = find_format(file, head, fields.get("encoding"))
        return _read_one(replace(file, stream=stream), format, fields, given, expected)
    slots.enter_with(file.size, is_packed=True)
    with on_disk(stream) as whole_file:
        limits = make_reader_limits()
        archive = Archive(whole_file, limits, measure_room(limits))
        if archive.is_workbook:
            whole_file.seek(0)
            workbook = replace(file, stream=whole_file)
            return _read_one(workbook, "xlsx", fields, given, expected)
        return read_many(files_of_archive(archive), fields, expected)


def _read_one(
    file: UploadedFile,
    format: Format,
    fields: dict[str, Any],
    given: set[str],
    expected: Expected,
) -> Upload:
    """Read a table in a file."""
    fields = dict(fields)
    fields.pop("skip_unreadable")
    names = [name.strip() for name in fields.pop("names", ())]
    join, options, grid = take_file_options(fields, file.parameters, expected)
    check_options(format, options)
    if look := expected.look:
        look.start(format, is_partial=fields.get("partial") == "true")
    is_packed = file.compression is not None or facts_of(format).is_compact
    slots.enter_with(file.size, is_packed=is_packed)
    if format == "json":
        fallback = {"name": fields["name"]} if "name" in fields else {}
        beside = (fields | {"x_column": options.x_column}).items()
        override = {name: value for name, value in beside if name in given}
        data = read_all(file.stream)
        made = read_json_table(data, file.compression, expected, fallback, override)
        fields = made.fields
        read = ReadFile((Part(made.curves, made.labels),), made.source, made.warnings)
    else:
        read = read_file(file, format, options, expected, grid)
    origin = fields.get("name") or "the file"
    part, warnings = join_parts(read, join, expected.grid, origin, names)
    source = replace(read.source, compression=file.compression)
    return Upload(part.curves, part.labels, source, warnings, fields)
