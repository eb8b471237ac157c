"""Fields and shapes that every noun uses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
import numpy as np
from marshmallow import fields, validate

from services.errors import Fact
from services.tables import FloatArray

LARGEST = 2**53
"""Whole numbers beyond it are no float64."""

NO_NUL = r"^[^\u0000]*$"


class Request(ma.Schema):
    """A body or query: strict, unknown fields are refused."""

    class Meta:
        unknown = ma.RAISE


class Reply(ma.Schema):
    """A reply: it may get more fields, so clients are told to expect that."""

    class Meta:
        unknown = ma.EXCLUDE


class Words(fields.String):
    """Text without NUL, which PostgreSQL cannot store.

    Spaces around it are removed when `strip` is set.
    """

    def __init__(
        self, longest: int, *, shortest: int = 0, strip: bool = False, **kwargs: Any
    ) -> None:
        self.strip = strip
        checks = [
            validate.Length(min=shortest, max=longest),
            validate.Regexp(NO_NUL, error="The character NUL is not allowed."),
        ]
        super().__init__(validate=checks, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        return text.strip() if self.strip else text


def name_field(**kwargs: Any) -> Words:
    """Name of a record."""
    return Words(200, shortest=1, strip=True, **kwargs)


class Real(fields.Float):
    """A finite JSON number; text and booleans are none."""

    def _validated(self, value: Any) -> float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.make_error("invalid", input=value)
        return float(value)


class Whole(fields.Integer):
    """A whole JSON number; text and booleans are none."""

    def __init__(self, least: int, most: int = LARGEST, **kwargs: Any) -> None:
        super().__init__(validate=validate.Range(least, most), **kwargs)

    def _validated(self, value: Any) -> int:
        if type(value) is int or (type(value) is float and value.is_integer()):
            return int(value)
        raise self.make_error("invalid", input=value)


class Digits(Whole):
    """A whole number in a query, where all is text."""

    def _validated(self, value: Any) -> int:
        if value.isascii() and value.isdigit() and len(value) < 17:  # noqa: PLR2004 - digits of 2**53
            return int(value)
        raise self.make_error("invalid", input=value)


class Choice(fields.String):
    """One of a few words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(validate=validate.OneOf(words), **kwargs)


class Numbers(fields.Field[FloatArray]):
    """An array of numbers, null where there is none, read by NumPy at once."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"type": "array", "items": {"type": ["number", "null"]}}
        super().__init__(metadata=metadata | kwargs.pop("metadata", {}), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> FloatArray:
        del data
        return read_numbers(value, attr or "", f"/{attr}")


_NUMBER_TYPES = {int, float, type(None)}


def read_numbers(value: Any, column: str, pointer: str) -> FloatArray:
    """An array from a JSON list; ValidationError with the place of the first other thing."""
    if not isinstance(value, list):
        raise ma.ValidationError(
            [Fact(f"{pointer}: Not an array of numbers.", "not_an_array", pointer=pointer)]
        )
    if not set(map(type, value)) <= _NUMBER_TYPES:
        row = next(i for i, cell in enumerate(value) if type(cell) not in _NUMBER_TYPES)
        cell = value[row]
        # An array may be nested so deeply that Python cannot write it.
        shown = "an array or object" if isinstance(cell, list | dict) else repr(str(cell)[:40])
        detail = f"Row {row} of {column} is {shown}, neither a number nor null."
        fact = Fact(detail, "not_a_number", row=row, column=column, pointer=f"{pointer}/{row}")
        raise ma.ValidationError([fact])
    return np.array(value, dtype=np.float64)


class Given(fields.Nested):
    """Documented like Nested, and written as it is: the handler made it to measure."""

    def _serialize(self, nested_obj: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override] # marshmallow's own names differ
        return nested_obj


class Moment(fields.DateTime):
    """RFC 3339 in UTC."""

    def _serialize(
        self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any
    ) -> str | None:
        del attr, obj, kwargs
        return None if value is None else f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


class FactReply(Reply):
    """One thing that is wrong, and where."""

    detail = fields.String(required=True)
    code = fields.String(required=True, metadata={"description": "The same for programs."})
    pointer = fields.String(metadata={"description": "JSON pointer into the body."})
    parameter = fields.String(metadata={"description": "Query parameter, form field or header."})
    row = fields.Integer(metadata={"description": "Data row, from 0."})
    line = fields.Integer(metadata={"description": "Line of a text file, from 1."})
    column = fields.String(metadata={"description": "Name of the column."})


class ProblemReply(Reply):
    """An error, RFC 9457."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.List(fields.Nested(FactReply), required=True)
    request_id = fields.String(required=True, allow_none=True)


class ListQuery(Request):
    """Part of a list."""

    limit = Digits(1, 500, load_default=100)
    cursor = Words(1000, load_default=None, metadata={"description": "`next` of the page before."})


class RowsQuery(ListQuery):
    """Part of a list that also leaves as a file."""

    limit = Digits(
        1, 500, load_default=None, metadata={"description": "Default: 100 in JSON, else all."}
    )


class RecordsQuery(ListQuery):
    """Part of a list of records."""

    name = Words(200, metadata={"description": "Exactly this name."})
    sort = Choice("-created_at", "created_at", "name", "-name", load_default="-created_at")


def next_field() -> fields.String:
    """Cursor of the next page."""
    return fields.String(required=True, allow_none=True)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: null removes, objects merge, anything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
