"""Schemas of files: the fields beside one, and how it was read."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import Any, get_args

import marshmallow as ma
from marshmallow import fields

from api.schemas.base import Choice, Digits, Given, Reply, Words
from api.schemas.labels import LabelTexts
from services.choices import AlignmentKind
from services.files.common import Header, Layout, Source
from services.files.formats import COMPRESSION_OF_SUFFIX, COMPRESSIONS, FILE_NAMES, FORMATS
from services.files.text import ENCODINGS
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


COMMENT_MARKS = "Default: # % // ! ; and '."


def presence_field(description: str) -> Choice:
    """Make the field that tells whether a row is there."""
    return Choice(
        *get_args(Header),
        named="Presence",
        load_default="auto",
        metadata={"description": description},
    )


class NumberText(fields.String):
    """A finite number as text; empty counts as not given."""

    def __init__(self, *, metadata: dict[str, Any], **kwargs: Any) -> None:
        pattern = {"default": "", "pattern": f"^(?:{_NUMBER})?$"}
        super().__init__(metadata=pattern | metadata, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        number = float(text) if re.fullmatch(_NUMBER, text) else math.inf
        if not math.isfinite(number):
            raise ma.ValidationError("Not a finite number.")
        return number


_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"


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
    columns = fields.List(
        Words(NAME_LENGTH),
        metadata={
            "description": "Repeat it: names, or #1, #2, ... Default: all columns.",
            "example": [],  # Swagger UI fills in made up words for want of it
        },
    )
    header = presence_field("Whether the first row holds names. auto: found by its cells.")
    units = presence_field("Whether a row of units follows the names. auto: found by its cells.")
    first_line = Digits(
        1,
        metadata={"description": "First line of the table, from 1. Default: found.", "example": ""},
    )
    last_line = Digits(
        1,
        metadata={"description": "Last line of the table, from 1. Default: found.", "example": ""},
    )
    comment = Words(
        10,
        load_default=None,
        allow_none=False,
        metadata={"default": "", "description": f"Begins lines that are left out. {COMMENT_MARKS}"},
    )
    delimiter = Choice(
        *(",", ";", "tab", "|", "space"),
        named="Delimiter",
        metadata={"description": "space: any run of blanks and tabs. Default: found."},
    )
    decimal = Choice(
        *(".", ","),
        named="Decimal",
        metadata={"description": "Decimal mark. Default: found."},
    )
    thousands = Choice(
        *("none", "'", "space", ",", "."),
        named="Thousands",
        load_default="none",
        metadata={"description": "Mark of thousands."},
    )
    encoding = Choice(
        *ENCODINGS,
        named="Encoding",
        metadata={"description": "Default: by a byte order mark or the charset, else UTF-8."},
    )
    gap = fields.List(
        Words(100),
        metadata={
            "description": "Repeat it: more words or numbers that stand for no number.",
            "example": [],
        },
    )
    layout = Choice(
        *get_args(Layout),
        named="Layout",
        load_default="columns",
        metadata={
            "description": "columns: one curve a column. rows: one curve a row, the first row is"
            " x. pairs: each curve has its x column before it."
        },
    )
    sheet = Words(
        NAME_LENGTH,
        load_default=None,
        allow_none=False,
        metadata={"default": "", "description": "Of a workbook. Default: the first with cells."},
    )

    grid = Words(
        NAME_LENGTH,
        load_default="same",
        allow_none=False,
        metadata={
            "description": "How curves of different x become one table. same: they are refused;"
            " union: all x, with gaps; common: the x that all have; start:stop:step, as in"
            " 400:1800:2: curves are read at start + i*step."
        },
    )
    x_tolerance = NumberText(
        load_default=None,
        allow_none=False,
        metadata={"description": "How far equal x may be apart. Default: equal float64."},
    )
    alignment = Choice(
        *get_args(AlignmentKind),
        named="Alignment",
        load_default="linear",
        metadata={"description": "exact is for a grid start:stop:step only."},
    )

    skip_unreadable = Choice(
        *("true", "false"),
        named="YesOrNo",
        load_default="false",
        metadata={"description": "true: of many files, those that cannot be read are left out."},
    )

    def load(self, data: Any, **options: Any) -> Any:
        """Load the fields that are not empty."""
        return super().load(without_empty(data), **options)


class MoreCurvesFields(FileFields):
    """Fields beside a file of curves that are appended."""

    names = fields.List(
        Words(NAME_LENGTH),
        metadata={
            "description": "Repeat it: new names for the curves of one file. Default: its own.",
            "example": [],
        },
    )


def without_empty(fields: Any) -> Any:
    """Remove fields that nobody filled in."""
    if not isinstance(fields, dict):
        return fields
    return {name: value for name, value in fields.items() if value != ""}


def file_field() -> fields.Raw:
    """Make the field for the files in a form."""
    return fields.Raw(
        required=True,
        metadata={
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": f"{FILE_NAMES}; or compressed, with"
            f" {' or '.join(COMPRESSION_OF_SUFFIX)} behind it. Several, or a ZIP archive of them,"
            " become one table.",
        },
    )


class WarningReply(Reply):
    """A reading that may be wrong; without column and row, of the whole table."""

    code = fields.String(required=True)
    column = fields.String(required=True, allow_none=True)
    row = fields.Integer(required=True, allow_none=True)
    detail = fields.String(required=True)
    options = fields.Dict(
        allow_none=True, metadata={"description": "Options that would read it in the other way."}
    )


class FileReply(Reply):
    """A report on one of many files."""

    name = fields.String(required=True, metadata={"description": "Its path in the upload."})
    format = fields.String(
        required=True, allow_none=True, metadata={"description": "null: it cannot be read."}
    )
    curves = fields.List(
        fields.String(),
        required=True,
        allow_none=True,
        metadata={"description": "Names of its curves, the first 100; null in a long report."},
    )
    warnings = fields.List(fields.Nested(WarningReply), required=True)


class SourceReply(Reply):
    """How the file was read."""

    format = fields.String(
        required=True,
        metadata={"description": f"{', '.join(FORMATS)}; mixed: many files of several formats."},
    )
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
    files = Given(
        FileReply,
        many=True,
        allow_none=True,
        metadata={"description": "A report on each of many files; null in lists of datasets."},
    )

    def dump(self, obj: Any, **options: Any) -> dict[str, Any]:
        """Write the fields; a record of an earlier version has fewer."""
        return super().dump(_UNKNOWN | obj, **options)


_UNKNOWN = {"files": None} | asdict(Source("mixed"))
