"""Tables of curves as JSON."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import marshmallow as ma
import orjson

from api.errors import Problem
from api.http.arguments import load
from api.http.bodies import parse_json
from api.http.media import JSON
from api.http.upload import Expected, Upload
from api.http.uploaded_file import contradiction
from api.jsonbody import shorten
from api.limits import limits_in_force
from services.errors import Fact, InvalidTable, TooLarge
from services.files import Source, pick_x
from services.files.axis import warn_of_axis
from services.files.formats import HEAD_BYTES, Compression, facts_of, recognize
from services.tables import NO_LABELS, FloatArray, Table, clean_names

_SHOWN_NAMES = 5


@functools.cache
def instance_of(schema: type[ma.Schema]) -> ma.Schema:
    """Make one instance for all requests: each new one copies every field."""
    return schema()


def read_json_table(
    data: bytes,
    compression: Compression | None,
    expected: Expected,
    fallback: dict[str, Any] | None = None,
    override: dict[str, Any] | None = None,
) -> Upload:
    """Read a table as JSON; fields beside it fill in for its own, or replace them."""
    content = recognize(data[:HEAD_BYTES])
    if content not in facts_of("json").contents:
        raise contradiction(f"declared as {JSON}", content)
    beside = (fallback or {}) | (override or {})
    body = _parse(data, expected, beside)
    _refuse_many_columns(body)
    body = (fallback or {}) | body | (override or {})
    fields = load(instance_of(expected.json_schema), body, "json")
    names, values = fields.pop("columns")
    x_column = fields.pop("x_column")
    table = _make_table(names, values, x_column, expected.usual_x)
    cleaned = [name.strip() for name in names]
    warnings = tuple(warn_of_axis(cleaned, cleaned.index(table.x_name), x_column))
    return Upload(table, NO_LABELS, Source("json", compression=compression), warnings, fields)


def _parse(data: bytes, expected: Expected, beside: dict[str, Any]) -> dict[str, Any]:
    """Parse an object that has columns; say which shape is taken if it is another one."""
    try:
        body = parse_json(data)
    except Problem as problem:
        if problem.status == HTTPStatus.BAD_REQUEST and _has_many_texts(data):
            raise _refuse_shape("", "the body is several JSON texts", expected, beside) from None
        raise
    if not isinstance(body, dict):
        raise _refuse_shape("", "the body is an array", expected, beside)
    if isinstance(body.get("columns"), dict):
        return body
    if "columns" in body:
        raise _refuse_shape("/columns", "they are no object", expected, body | beside)
    shown = ", ".join(repr(shorten(name)) for name in list(body)[:_SHOWN_NAMES]) or "no names"
    raise _refuse_shape("/columns", f"the body has {shown}", expected, body | beside)


def _has_many_texts(data: bytes) -> bool:
    """Tell whether the first line is JSON by itself, and another text follows."""
    line, _, rest = data.strip().partition(b"\n")
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return rest.lstrip()[:1] in (b"{", b"[")


def _refuse_shape(
    pointer: str, found: str, expected: Expected, named: dict[str, Any]
) -> InvalidTable:
    """Make the error for JSON of another shape; `named` holds the fields that are there."""
    needs_name = "name" in instance_of(expected.json_schema).fields and "name" not in named
    name = '"name": "a name", ' if needs_name else ""
    detail = f'Send the curves as {{{name}"columns": {{"x": [0, 1], "y1": [2.5, null]}}}}: {found}.'
    return InvalidTable(detail, [Fact(detail, "other_shape", pointer=pointer)])


def _refuse_many_columns(body: dict[str, Any]) -> None:
    """Refuse too many columns before they become arrays."""
    columns = body["columns"]
    if len(columns) > limits_in_force().columns:
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
