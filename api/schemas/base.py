"""Fields and schemas that all nouns use."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Self, cast

import marshmallow as ma
import numpy as np
import orjson
from marshmallow import fields, validate

from api.limits import limits_in_force
from api.problems import PATH, PROBLEM_TYPES
from services.errors import Fact
from services.tables import FloatArray

MOST_FACTS = 50
"""Most facts in the error of one request."""

LARGEST = 2**53
"""Largest whole number up to which all are float64."""

NO_NUL = r"^[^\u0000]*$"


class Plain(ma.Schema):
    """A schema without hooks, which our `load` and `dump` would not call."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            if hasattr(value, "__marshmallow_hook__"):
                raise TypeError(f"{cls.__name__}.{name} is a hook, which would not be called.")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, field in self.fields.items():
            for option in ("attribute", "data_key"):
                if getattr(field, option) is not None:
                    self._refuse(name, option)
            if field.dump_default is not ma.missing:
                self._refuse(name, "dump_default")
            if isinstance(field, fields.Method | fields.Function | fields.Constant):
                self._refuse(name, type(field).__name__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: it never changes, and flask-smorest copies all that is documented."""
        return self

    def _refuse(self, name: str, option: str) -> None:
        raise TypeError(f"{type(self).__name__}.{name}: {option} would have no effect.")


class Request(Plain):
    """A body or query: strict, unknown fields are refused."""

    class Meta:
        unknown = ma.RAISE

    def load(self, data: Any, **options: Any) -> Any:
        """Read the fields as marshmallow does, in a third of the time.

        If something is wrong, marshmallow itself says what.
        """
        if isinstance(data, dict):
            if not options and data.keys() <= self.load_fields.keys():
                with suppress(ma.ValidationError):
                    return self._read(data)
            data = self._with_few_unknown(data)
        return super().load(data, **options)

    def _with_few_unknown(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of this schema and the first others: an error names no more of them."""
        known = {name: data[name] for name in self.load_fields if name in data}
        others = (name for name in data if name not in known)
        return known | {name: data[name] for name in islice(others, MOST_FACTS)}

    def _read(self, data: dict[str, Any]) -> dict[str, Any]:
        read = {}
        for name, field in self.load_fields.items():
            if name in data:
                read[name] = field.deserialize(data[name], name, data)
            elif field.required:
                raise ma.ValidationError(name)
            elif (default := field.load_default) is not ma.missing:
                read[name] = default() if callable(default) else default
        return read


class Reply(Plain):
    """A reply; later versions may have more fields, and the document says so."""

    class Meta:
        unknown = ma.EXCLUDE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._names = tuple(self.dump_fields)
        writers = ((name, _choose_writer(field)) for name, field in self.dump_fields.items())
        self._writers = {name: write for name, write in writers if write}

    def dump(self, obj: Any, **_: Any) -> dict[str, Any]:
        """Write the fields of a record or dict.

        Only times are converted, nothing is checked; the tests compare replies with the document.
        """
        read = obj.__getitem__ if isinstance(obj, dict) else partial(getattr, obj)
        written = dict(zip(self._names, map(read, self._names), strict=True))
        for name, write in self._writers.items():
            written[name] = write(written[name])
        return written


def _choose_writer(field: Any) -> Callable[[Any], Any] | None:
    """Choose the function that writes a field; None leaves it as it is."""
    if isinstance(field, Given):
        return None
    if isinstance(field, Moment):
        return format_moment
    if isinstance(field, fields.Nested):
        return cast("Callable[[Any], Any]", field.schema.dump)
    if isinstance(field, fields.List) and (write := _choose_writer(field.inner)):
        return lambda values: [write(value) for value in values]
    return None


def format_moment(value: datetime | None) -> str | None:
    """Write a time as RFC 3339 in UTC."""
    if value is None:
        return None
    # The methods of datetime take four to eight times as long, and lists have hundreds of times.
    text = orjson.dumps(value.astimezone(UTC), option=orjson.OPT_UTC_Z).decode().strip('"')
    return text if value.microsecond else text.replace("Z", ".000000Z")


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
    """A finite JSON number, not text or a boolean; -0 becomes 0."""

    def _validated(self, value: Any) -> float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.make_error("invalid", input=value)
        # SQLite keeps no sign of a zero; adding 0.0 takes it away on PostgreSQL, too.
        return float(value) + 0.0


class UpToLimit(validate.Validator):
    """A range that ends at a limit in force; documented like `validate.Range`."""

    def __init__(self, least: int, limit: str) -> None:
        self.min = least
        self.limit = limit

    @property
    def max(self) -> int:
        """The limit in force."""
        return int(getattr(limits_in_force(), self.limit))

    def __call__(self, value: int) -> int:
        return validate.Range(self.min, self.max)(value)


class Whole(fields.Integer):
    """A whole JSON number, not text or a boolean."""

    def __init__(self, least: int, most: int | str = LARGEST, **kwargs: Any) -> None:
        """Make a field that ends at a number, or at the limit of this name."""
        bounds = UpToLimit(least, most) if isinstance(most, str) else validate.Range(least, most)
        super().__init__(validate=bounds, **kwargs)

    def _validated(self, value: Any) -> int:
        if type(value) is int or (type(value) is float and value.is_integer()):
            return int(value)
        raise self.make_error("invalid", input=value)


class Digits(Whole):
    """A whole number in a query, where everything is text."""

    def _validated(self, value: Any) -> int:
        if value.isascii() and value.isdigit() and len(value) < 17:  # noqa: PLR2004 - digits of 2**53
            return int(value)
        raise self.make_error("invalid", input=value)


class Choice(fields.String):
    """One of a few words.

    Choices of one name are one type in the document, in requests and replies.
    """

    def __init__(self, *words: str, named: str, **kwargs: Any) -> None:
        metadata = kwargs.pop("metadata", {}) | {"x-name": named}
        super().__init__(validate=validate.OneOf(words), metadata=metadata, **kwargs)


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
    """Make an array from a JSON list; ValidationError names the first other value."""
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


def read_rows(columns: list[Any]) -> FloatArray | None:
    """Make one array from lists of numbers, in a third of the time that checking all types takes.

    None unless they have one length and hold numbers alone; `read_numbers` then names the value.
    """
    lengths = {len(cells) if isinstance(cells, list) else 0 for cells in columns}
    if len(lengths) != 1 or 0 in lengths:
        return None
    row = struct.Struct(f"{len(columns[0])}d")
    try:
        flat = b"".join([row.pack(*cells) for cells in columns])  # Takes booleans too.
    except struct.error:
        return None
    numbers = np.frombuffer(flat).reshape(len(columns), -1)
    suspects = ((numbers == 0) | (numbers == 1)).any(axis=1).nonzero()[0].tolist()
    return None if any(bool in set(map(type, columns[place])) for place in suspects) else numbers


class Given(fields.Nested):
    """A nested reply that the handler has made already; only its documentation is used."""


class Moment(fields.DateTime):
    """RFC 3339 in UTC."""


_TYPE_DESCRIPTION = (
    "Address of an explanation: "
    + ", ".join(f"`{PATH}{slug}`" for slug in PROBLEM_TYPES)
    + "; or `about:blank`, where the status says all. There may be more."
)


class FactReply(Reply):
    """One thing that is wrong, and where."""

    detail = fields.String(required=True)
    code = fields.String(
        required=True,
        metadata={"description": "The same as a stable word, such as `not_a_number`."},
    )
    pointer = fields.String(metadata={"description": "JSON pointer into the body."})
    parameter = fields.String(metadata={"description": "Query parameter, form field or header."})
    row = fields.Integer(metadata={"description": "Data row, from 0."})
    line = fields.Integer(metadata={"description": "Line of a text file, from 1."})
    column = fields.String(metadata={"description": "Name of the column."})
    file = fields.String(metadata={"description": "Path of one of many files."})


class ProblemReply(Reply):
    """An error, RFC 9457."""

    type = fields.String(required=True, metadata={"description": _TYPE_DESCRIPTION})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.List(fields.Nested(FactReply), required=True)
    request_id = fields.String(required=True, allow_none=True)


class ListQuery(Request):
    """Part of a list."""

    limit = Digits(1, "page", load_default=100)
    cursor = Words(
        1000,
        shortest=1,
        load_default=None,
        metadata={"description": "`next` of the page before."},
    )


class FileQuery(Request):
    """How a file is written."""

    cells = Choice(
        "text",
        named="Cells",
        load_default=None,
        metadata={
            "description": "CSV only: `'` before names that a spreadsheet would take for formulas."
        },
    )


class RowsQuery(ListQuery, FileQuery):
    """Part of a list that also leaves as a file."""

    limit = Digits(
        1, "page", load_default=None, metadata={"description": "Default: 100 in JSON, else all."}
    )


def contains_field() -> Words:
    """Make the field of a part of a name."""
    return Words(
        200,
        load_default=None,
        metadata={
            "default": "",
            "description": "A part of the name; A to Z are as a to z. Empty: any name.",
        },
    )


class RecordsQuery(ListQuery):
    """Part of a list of records."""

    name = Words(200, metadata={"description": "Exactly this name."})
    contains = contains_field()
    sort = Choice(
        "-created_at", "created_at", "name", "-name", named="Sort", load_default="-created_at"
    )


def next_field() -> fields.String:
    """Make the field of the cursor of the next page."""
    return fields.String(required=True, allow_none=True)


def merge_patch(target: Any, patch: Any) -> Any:
    """Merge a patch by RFC 7396: null removes, objects merge, anything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
