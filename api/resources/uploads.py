"""The three kinds of body in which curves come: JSON, a form with a file, the file itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Literal, cast

import marshmallow as ma
from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import Problem
from api.http import CSV, JSON, expect_type, invalid, json_body, limits, parse_json
from services.errors import Fact, InvalidTable, TooLarge
from services.readers import USUAL_X, ReadLimits, Source, pick_x, read_text
from services.tables import NAME_LENGTH, FloatArray, Table, clean_names

FORM = "multipart/form-data"
TSV = "text/tab-separated-values"
BODIES = (JSON, FORM, CSV, TSV)

TextFormat = Literal["csv", "tsv"]

_OF_SUFFIX: dict[str, TextFormat] = {
    "": "csv",
    ".csv": "csv",
    ".txt": "csv",
    ".dat": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A table, how it was read, and the fields that came with it."""

    table: Table
    source: Source
    fields: dict[str, Any]


def read_upload(
    json_schema: type[ma.Schema],
    form_schema: type[ma.Schema],
    query: dict[str, Any],
    usual_x: Sequence[str] = USUAL_X,
) -> Upload:
    """The table in the body of this request.

    `query` holds the fields of a plain file, `usual_x` names of the x column that need not be
    said.
    """
    kind = expect_type(*BODIES)
    if (request.content_length or 0) > limits().body_bytes:
        raise RequestEntityTooLarge
    if kind in (CSV, TSV):
        return _from_file(request.stream, "tsv" if kind == TSV else "csv", query, usual_x)
    if request.args:
        # They describe a plain file; JSON and forms hold their own fields.
        raise invalid({name: ["Unknown field."] for name in request.args}, "query")
    if kind == JSON:
        fields = _load(json_schema, parse_json(json_body()), "json")
        names, values = fields.pop("columns")
        table = _table(names, values, fields.pop("x_column"), usual_x)
        return Upload(table, Source("json", None, None, None, None), fields)
    return _from_form(form_schema, usual_x)


def _load(schema: type[ma.Schema], data: Any, location: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", schema().load(data))
    except ma.ValidationError as error:
        raise invalid(error.messages, location) from None


def _table(
    names: list[str], values: FloatArray, x_column: str | None, usual_x: Sequence[str]
) -> Table:
    most = limits()
    if len(names) > most.columns or values.shape[1] > most.rows:
        raise TooLarge(f"A dataset may have {most.columns} columns and {most.rows} rows.")
    cleaned = tuple(clean_names(names))
    if x_column is not None and x_column.strip() not in cleaned:
        detail = f"There is no column {x_column[:40]!r} to take x from."
        raise InvalidTable(detail, [Fact(detail, "unknown_column", pointer="/x_column")])
    return pick_x(cleaned, values, x_column, usual_x)


def _from_form(schema: type[ma.Schema], usual_x: Sequence[str]) -> Upload:
    try:
        parts = [*request.form.items(multi=True), *request.files.items(multi=True)]
    except ValueError:
        raise Problem(
            400, "The form cannot be read; its boundary is missing or it ends early."
        ) from None
    names = [name for name, _ in parts]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise invalid({name: ["Given more than once."] for name in twice}, "form")
    fields = _load(schema, dict(parts), "form")
    file = fields.pop("file")
    if not isinstance(file, FileStorage):
        raise invalid({"file": ["Not a file; give the part a file name."]}, "form")
    path = PurePosixPath((file.filename or "").replace("\\", "/"))
    if path.suffix.lower() not in _OF_SUFFIX:
        known = ", ".join(name for name in _OF_SUFFIX if name)
        raise Problem(415, f"Files called *{path.suffix} are not taken; these are: {known}.")
    kind = "tsv" if file.mimetype == TSV else _OF_SUFFIX[path.suffix.lower()]
    if not fields.get("name", "-"):
        fields["name"] = path.stem.replace("\0", "").strip()[:NAME_LENGTH]
    return _from_file(cast("BinaryIO", file.stream), kind, fields, usual_x)


def _from_file(
    stream: Any, kind: TextFormat, fields: dict[str, Any], usual_x: Sequence[str]
) -> Upload:
    most = limits()
    others = dict(fields)
    table, source = read_text(
        stream,
        format=kind,
        header=others.pop("header"),
        x_column=others.pop("x_column"),
        usual_x=usual_x,
        limits=ReadLimits(most.columns, most.rows),
    )
    return Upload(table, source, others)
