"""Schemas of datasets and their curves."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
import numpy as np
from marshmallow import fields, validate

from api.schemas.base import (
    Choice,
    Digits,
    FileQuery,
    ListQuery,
    Moment,
    Reply,
    Request,
    Words,
    contains_field,
    name_field,
    next_field,
    read_numbers,
    read_rows,
)
from api.schemas.files import (
    FileFields,
    MoreCurvesFields,
    SourceReply,
    WarningReply,
    file_field,
    x_column_field,
)
from api.schemas.labels import (
    Attributes,
    AttributesText,
    CurvePatch,
    FacetReply,
    LabelFields,
    unit_field,
)
from services.errors import Fact
from services.tables import NAME_LENGTH, FloatArray

DATASET_EXAMPLE = {
    "id": "0b5f3c5e8d1f4c56a7a90e7f4a1d2c3b",
    "name": "train",
    "description": "",
    "attributes": {"instrument": "A"},
    "x_column": "x",
    "x_unit": "mm",
    "usable_as": ["training", "library", "test"],
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
    "unit": "V",
    "attributes": {"sample": "A7", "CAS": "64-17-5"},
}

COLUMNS_EXAMPLE = {"x": [0.0, 0.1, 0.2], "y1": [1.0, 1.1, None], "y2": [3.0, 2.9, 2.8]}


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


class DatasetRequest(LabelFields):
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


class CurvesRequest(LabelFields):
    """More curves as JSON, with the x column of the dataset."""

    columns = Columns()
    x_column = x_column_field()


class CurvesForm(MoreCurvesFields):
    """More curves as a form."""

    file = file_field()


class DatasetPatch(Request):
    """A merge patch (RFC 7396) of a dataset; null resets."""

    name = name_field()
    description = Words(10_000, allow_none=True)
    attributes = Attributes(keys=fields.String(), allow_none=True)
    x_unit = unit_field(allow_none=True)


class CurvesPatch(Request):
    """A merge patch (RFC 7396) of curves by their names; those not named stay."""

    def load(self, data: Any, **_: Any) -> dict[str, dict[str, Any]]:
        """Load the patch of each curve."""
        if not isinstance(data, dict):
            raise ma.ValidationError("Not an object of patches by the names of curves.")
        read, errors, one = {}, {}, CurvePatch()
        for name, patch in data.items():
            try:
                if not isinstance(patch, dict):
                    raise ma.ValidationError("Not an object; a curve cannot be removed.")  # noqa: TRY301 - as those of the fields
                read[name] = one.load(patch)
            except ma.ValidationError as error:
                errors[name] = error.messages
        if errors:
            raise ma.ValidationError(errors)
        return read


class DatasetReply(Reply):
    """A dataset's record."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    attributes = fields.Dict(required=True)
    x_column = fields.String(required=True)
    x_unit = fields.String(required=True, allow_none=True)
    usable_as = fields.List(
        Choice("training", "library", "test", named="CurveUse"),
        required=True,
        metadata={"description": "Only test if a row has no x, or the x of another row."},
    )
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

    def dump(self, obj: Any, **options: Any) -> dict[str, Any]:
        """Write the fields; the reports on files are beside the source, where lists leave them."""
        written = super().dump(obj, **options)
        written["source"]["files"] = None if isinstance(obj, dict) else obj.files
        return written


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
    unit = fields.String(required=True, allow_none=True)
    attributes = fields.Dict(required=True)


class CurvesReply(Reply):
    """A page of curves, and the values of their attributes that were asked for."""

    items = fields.List(fields.Nested(CurveReply), required=True)
    next = next_field()
    facets = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.Nested(FacetReply)),
        required=True,
        metadata={
            "description": "Of each attribute in `facets` the 50 most frequent values, and how"
            " many of all curves that pass the filters have them."
        },
    )


class AttributeFilter(fields.String):
    """Name and value of an attribute, as KEY:VALUE."""

    def __init__(self) -> None:
        super().__init__(metadata={"pattern": "^([^:\\\\]|\\\\.)*:"})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        found = _KEY.match(text)
        if found is None:
            raise ma.ValidationError("Not KEY:VALUE.")
        return re.sub(r"\\(.)", r"\1", found[1]), text[found.end() :]


_KEY = re.compile(r"((?:[^:\\]|\\.)*):", re.DOTALL)

MOST_CONDITIONS = 10
"""Most attributes in one query."""


class CurvesQuery(ListQuery):
    """Part of the list of curves."""

    name = Words(NAME_LENGTH, load_default=None, metadata={"description": "Exactly this name."})
    contains = contains_field()
    attribute = fields.List(
        AttributeFilter(),
        load_default=list,
        validate=validate.Length(max=MOST_CONDITIONS),
        metadata={
            "description": "KEY:VALUE, repeatable: curves with all of these attributes. VALUE is"
            " the whole text, or the JSON of another value; a colon in KEY is `\\:`."
        },
    )
    facets = fields.List(
        Words(NAME_LENGTH),
        load_default=list,
        validate=validate.Length(max=MOST_CONDITIONS),
        metadata={"description": "KEY, repeatable: count the values of these attributes."},
    )


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
