"""Schemas of previews: how a file would be read."""

from __future__ import annotations

from marshmallow import fields

from api.schemas.base import Choice, Reply
from api.schemas.datasets import DatasetFields
from api.schemas.files import SourceReply, WarningReply, file_field


class PreviewFields(DatasetFields):
    """Fields beside a file that is not stored."""

    partial = Choice(  # type: ignore[assignment] # marshmallow's own is of instances
        *("true", "false"),
        named="YesOrNo",
        load_default="false",
        metadata={"description": "true: the body is the beginning of a text."},
    )


class PreviewForm(PreviewFields):
    """A file that is not stored, as a form."""

    file = file_field()


class ReadingReply(Reply):
    """Another way in which a text could be read."""

    options = fields.Dict(required=True, metadata={"description": "Options that read it so."})
    x_column = fields.String(required=True)
    first_row = fields.Dict(
        keys=fields.String(), values=fields.Float(allow_none=True), required=True
    )


class PreviewReply(Reply):
    """A dataset as it would be stored."""

    name = fields.String(required=True)
    description = fields.String(required=True)
    attributes = fields.Dict(required=True)
    x_column = fields.String(required=True)
    x_unit = fields.String(required=True, allow_none=True)
    usable_as = fields.List(Choice("training", "library", "test", named="CurveUse"), required=True)
    n_points = fields.Integer(
        required=True, allow_none=True, metadata={"description": "null: the file is not complete."}
    )
    n_curves = fields.Integer(required=True)
    x_min = fields.Float(required=True, allow_none=True)
    x_max = fields.Float(required=True, allow_none=True)
    n_gaps = fields.Integer(required=True, allow_none=True)
    sha256 = fields.String(required=True, allow_none=True)
    source = fields.Nested(SourceReply, required=True)
    warnings = fields.List(fields.Nested(WarningReply), required=True)
    complete = fields.Boolean(
        required=True, metadata={"description": "Whether the whole file was read."}
    )
    columns = fields.List(
        fields.String(), required=True, metadata={"description": "All columns, x first."}
    )
    rows = fields.List(
        fields.List(fields.Float(allow_none=True)),
        required=True,
        metadata={"description": "The first 20 rows."},
    )
    lines = fields.List(
        fields.String(), required=True, metadata={"description": "The first 40 lines of a text."}
    )
    readings = fields.List(
        fields.Nested(ReadingReply),
        required=True,
        metadata={"description": "Other ways in which the text could be read."},
    )
