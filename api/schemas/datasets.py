"""Schemas of datasets and their curves."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
import numpy as np
import orjson
from marshmallow import fields

from api import jsonbody
from api.limits import limits_in_force
from api.schemas.base import (
    Digits,
    FileQuery,
    Moment,
    Reply,
    Request,
    Words,
    name_field,
    next_field,
    read_numbers,
    read_rows,
)
from api.schemas.files import FileFields, SourceReply, file_field, x_column_field
from services.errors import Fact
from services.tables import NAME_LENGTH, FloatArray

ATTRIBUTES_BYTES = 65_536
ATTRIBUTES_DEPTH = 64
_TOO_DEEP = f"Nested deeper than {ATTRIBUTES_DEPTH}."

# After another backslash it is six plain characters.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

DATASET_EXAMPLE = {
    "id": "0b5f3c5e8d1f4c56a7a90e7f4a1d2c3b",
    "name": "train",
    "description": "",
    "attributes": {"instrument": "A"},
    "x_column": "x",
    "n_points": 400,
    "n_curves": 4,
    "x_min": -20.0,
    "x_max": 19.9,
    "n_gaps": 0,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "source": {
        "format": "csv",
        "encoding": "utf-8",
        "delimiter": ",",
        "decimal": ".",
        "header": "present",
        "compression": None,
        "sheet": None,
        "thousands": None,
        "first_line": 1,
        "last_line": 401,
        "skipped": [],
        "comment": None,
        "gap": [],
        "layout": "columns",
        "units": "absent",
        "x_column": None,
        "columns": None,
        "files": None,
    },
    "warnings": [
        {
            "code": "lost_decimal_point",
            "column": "y2",
            "row": 17,
            "detail": "Row 17, column 'y2': -729.0 is thousands of times its neighbours;"
            " -0.729 would fit. Was a decimal point lost?",
            "options": None,
        }
    ],
    "version": 1,
    "created_at": "2026-11-22T09:00:00.000000Z",
    "updated_at": "2026-11-22T09:00:00.000000Z",
}

CURVE_EXAMPLE = {
    "index": 0,
    "name": "y1",
    "n_gaps": 0,
    "y_min": -40.0,
    "y_max": 40.0,
    "y_mean": 0.1,
}

COLUMNS_EXAMPLE = {"x": [0.0, 0.1, 0.2], "y1": [1.0, 1.1, None], "y2": [3.0, 2.9, 2.8]}


class Attributes(fields.Dict):
    """A JSON object that a client stores with a record."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        check_attributes(value)
        return super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call] # marshmallow's Dict


def check_attributes(attributes: Any) -> None:
    """Refuse attributes that a database cannot store, or that are too long or too deep."""
    try:
        text = orjson.dumps(attributes)
    except orjson.JSONEncodeError:
        # The only reason left: orjson has its own limit of depth.
        raise ma.ValidationError(_TOO_DEEP) from None
    # The length comes first, because it bounds the work of the other checks.
    if len(text) > ATTRIBUTES_BYTES:
        raise ma.ValidationError(f"Longer than {ATTRIBUTES_BYTES} bytes of JSON.")
    if _measure_depth(attributes) > ATTRIBUTES_DEPTH:
        raise ma.ValidationError(_TOO_DEEP)
    if _NUL.search(text):
        raise ma.ValidationError("The character NUL is not allowed.")


def _measure_depth(value: Any) -> int:
    """Return how many objects and arrays are nested in each other."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [item.values() if isinstance(item, dict) else item for item in level]
        level = [
            item
            for items in inner
            if not isinstance(items, str | int | float | None)
            for item in items
            if isinstance(item, dict | list)
        ]
    return depth


class AttributesText(fields.String):
    """Attributes as text, for forms and queries."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            parsed = jsonbody.parse(text.encode(), limits_in_force())
        except jsonbody.JSONError as error:
            raise ma.ValidationError(f"Not a JSON object: {error.detail}") from None
        if not isinstance(parsed, dict):
            raise ma.ValidationError("Not a JSON object.")
        check_attributes(parsed)
        return parsed


class Columns(fields.Field[tuple[list[str], FloatArray]]):
    """Named columns as one array of shape (columns, rows), in the order sent."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {
            "type": "object",
            "minProperties": 2,
            "propertyNames": {"minLength": 1, "maxLength": NAME_LENGTH},
            "additionalProperties": {
                "type": "array",
                "minItems": 1,
                "items": {"type": ["number", "null"]},
            },
            "description": "Columns of equal length; null is a gap.",
            "example": COLUMNS_EXAMPLE,
        }
        super().__init__(metadata=metadata, required=True, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[list[str], FloatArray]:
        if not isinstance(value, dict) or not value:
            raise ma.ValidationError("Not an object of columns.")
        rows = read_rows(list(value.values()))
        if rows is not None:
            return list(value), rows
        arrays = [
            read_numbers(cells, name, f"/columns/{name.replace('~', '~0').replace('/', '~1')}")
            for name, cells in value.items()
        ]
        names = list(value)
        for name, array in zip(names, arrays, strict=True):
            if array.size != arrays[0].size:
                detail = (
                    f"{name} has {array.size} rows, {names[0]} has {arrays[0].size};"
                    " give every column a value or null in each row."
                )
                row = min(array.size, arrays[0].size)
                fact = Fact(detail, "ragged", row=row, column=name, pointer="/columns")
                raise ma.ValidationError([fact])
        return names, np.stack(arrays)


class DatasetRequest(Request):
    """A dataset as JSON."""

    name = name_field(required=True)
    columns = Columns()
    x_column = x_column_field()
    description = Words(10_000, load_default="")
    attributes = Attributes(keys=fields.String(), load_default=dict)


class DatasetFields(FileFields):
    """Fields beside a file of a new dataset."""

    name = name_field(
        load_default=None,
        allow_none=False,
        metadata={"default": "", "minLength": 0, "description": "Empty: the file's stem."},
    )
    description = Words(10_000, load_default="")
    attributes = AttributesText(
        load_default=dict, metadata={"default": "", "description": "A JSON object as text."}
    )


class DatasetForm(DatasetFields):
    """A dataset as a form."""

    file = file_field()


class CurvesRequest(Request):
    """More curves as JSON, with the x column of the dataset."""

    columns = Columns()
    x_column = x_column_field()


class CurvesForm(FileFields):
    """More curves as a form."""

    file = file_field()


class DatasetPatch(Request):
    """A merge patch (RFC 7396) of a dataset; null resets."""

    name = name_field()
    description = Words(10_000, allow_none=True)
    attributes = Attributes(keys=fields.String(), allow_none=True)


class WarningReply(Reply):
    """A reading that may be wrong; without column and row, of the whole table."""

    code = fields.String(required=True)
    column = fields.String(required=True, allow_none=True)
    row = fields.Integer(required=True, allow_none=True)
    detail = fields.String(required=True)
    options = fields.Dict(
        allow_none=True, metadata={"description": "Options that would read it in the other way."}
    )


class DatasetReply(Reply):
    """A dataset's record."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    attributes = fields.Dict(required=True)
    x_column = fields.String(required=True)
    n_points = fields.Integer(required=True)
    n_curves = fields.Integer(required=True)
    x_min = fields.Float(required=True, allow_none=True)
    x_max = fields.Float(required=True, allow_none=True)
    n_gaps = fields.Integer(required=True, metadata={"description": "Empty cells of all curves."})
    sha256 = fields.String(required=True)
    source = fields.Nested(SourceReply, required=True)
    warnings = fields.List(
        fields.Nested(WarningReply),
        required=True,
        metadata={"description": "Readings that may be wrong; at most 100."},
    )
    version = fields.Integer(required=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)


class DatasetsReply(Reply):
    """A page of datasets."""

    items = fields.List(fields.Nested(DatasetReply), required=True)
    next = next_field()


class CurveReply(Reply):
    """A curve of a dataset."""

    index = fields.Integer(required=True)
    name = fields.String(required=True)
    n_gaps = fields.Integer(required=True)
    y_min = fields.Float(required=True, allow_none=True)
    y_max = fields.Float(required=True, allow_none=True)
    y_mean = fields.Float(required=True, allow_none=True)


class CurvesReply(Reply):
    """A page of curves."""

    items = fields.List(fields.Nested(CurveReply), required=True)
    next = next_field()


class ValuesQuery(FileQuery):
    """Columns and rows of values."""

    columns = fields.List(
        Words(NAME_LENGTH), metadata={"description": "Repeat it; default: all, x first."}
    )
    start = Digits(0, load_default=0, metadata={"description": "First row."})
    count = Digits(
        1,
        load_default=None,
        metadata={"description": "Rows. Default: 1000 in JSON, fewer if very wide; else all."},
    )


class ValuesReply(Reply):
    """Columns of values."""

    columns = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.Float(allow_none=True)),
        required=True,
    )
