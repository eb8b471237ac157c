"""Schemas of files: the fields beside one, and how it was read."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from api.schemas.base import Choice, Reply, Words
from api.schemas.labels import LabelTexts
from services.files.formats import COMPRESSION_OF_SUFFIX, COMPRESSIONS, FILE_NAMES, FORMATS
from services.tables import NAME_LENGTH

X_COLUMN = "Default: the column called x in any case, else the first."


def x_column_field() -> Words:
    """Make the field for the name of the x column."""
    return Words(
        NAME_LENGTH,
        load_default=None,
        allow_none=True,
        metadata={"description": X_COLUMN},
    )


def header_field(**kwargs: Any) -> Choice:
    """Make the field that tells whether a file has a header row."""
    return Choice("present", "absent", named="HeaderRow", **kwargs)


class FileFields(LabelTexts):
    """Fields beside a file of curves, in the query or in the form.

    All of them are text, and an empty text counts as not given: browsers send it for a field that
    nobody filled in, and the document can show it as a default that every client may send.
    """

    x_column = Words(
        NAME_LENGTH,
        load_default=None,
        allow_none=False,
        metadata={"default": "", "description": X_COLUMN},
    )
    header = header_field(
        load_default="present",
        metadata={"description": "absent: the columns are then x, y1, y2, ..."},
    )
    sheet = Words(
        NAME_LENGTH,
        load_default=None,
        allow_none=False,
        metadata={"default": "", "description": "Of XLSX. Empty: the first sheet."},
    )

    def load(self, data: Any, **options: Any) -> Any:
        """Load the fields that are not empty."""
        return super().load(without_empty(data), **options)


def without_empty(fields: Any) -> Any:
    """Remove fields that nobody filled in."""
    if not isinstance(fields, dict):
        return fields
    return {name: value for name, value in fields.items() if value != ""}


def file_field() -> fields.Raw:
    """Make the field for the file in a form."""
    return fields.Raw(
        required=True,
        metadata={
            "type": "string",
            "format": "binary",
            "description": f"{FILE_NAMES}; or compressed, with"
            f" {' or '.join(COMPRESSION_OF_SUFFIX)} behind it.",
        },
    )


class SourceReply(Reply):
    """How the file was read."""

    format = fields.String(required=True, metadata={"description": f"{', '.join(FORMATS)}."})
    encoding = fields.String(required=True, allow_none=True)
    delimiter = fields.String(required=True, allow_none=True)
    decimal = fields.String(required=True, allow_none=True)
    header = header_field(required=True, allow_none=True)
    compression = fields.String(
        allow_none=True, metadata={"description": f"{' or '.join(COMPRESSIONS)}, if it came so."}
    )
    sheet = fields.String(allow_none=True, metadata={"description": "Of a workbook."})
    thousands = fields.String(allow_none=True)
    first_line = fields.Integer(
        allow_none=True, metadata={"description": "First line of the table, from 1."}
    )
    last_line = fields.Integer(allow_none=True)
    skipped = fields.List(
        fields.String(), metadata={"description": "The first 20 of the lines left out."}
    )
    comment = fields.String(
        allow_none=True, metadata={"description": "Begins lines that were left out."}
    )
    gap = fields.List(fields.String(), metadata={"description": "Words for a gap, as asked."})
    layout = fields.String(allow_none=True)
    units = fields.String(allow_none=True, metadata={"description": "present or absent, as found."})
    x_column = fields.String(allow_none=True, metadata={"description": "As asked."})
    columns = fields.List(fields.String(), allow_none=True, metadata={"description": "As asked."})
    files = fields.List(
        fields.Dict(), allow_none=True, metadata={"description": "A report on each of many files."}
    )
