"""Schemas of attributes and units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import marshmallow as ma
from marshmallow import fields

from api import jsonbody
from api.limits import limits_in_force
from api.schemas.base import Reply, Request, Words
from services.labels import ATTRIBUTES_BYTES, UNIT_LENGTH, find_fault
from services.tables import NAME_LENGTH, has_control

RECORD_BYTES = 65_536
"""Most bytes of the attributes of a dataset, as JSON."""


class Attributes(fields.Dict):
    """A JSON object that a client stores with a record."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        check_attributes(value)
        return super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call] # marshmallow's Dict


def check_attributes(attributes: Any, most_bytes: int = RECORD_BYTES) -> None:
    """Refuse attributes that a database cannot store, or that are too long or too deep."""
    if fault := find_fault(attributes, most_bytes):
        raise ma.ValidationError(fault)


class AttributesText(fields.String):
    """Attributes as text, for forms and queries."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        parsed = _parse(super()._deserialize(value, *args, **kwargs))
        check_attributes(parsed)
        return parsed


def _parse(text: str) -> dict[str, Any]:
    try:
        parsed = jsonbody.parse(text.encode(), limits_in_force())
    except jsonbody.JSONError as error:
        raise ma.ValidationError(f"Not a JSON object: {error.detail}") from None
    if not isinstance(parsed, dict):
        raise ma.ValidationError("Not a JSON object.")
    return parsed


class _Unit(Words):
    """A unit, without control characters and line breaks."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        unit = super()._deserialize(value, *args, **kwargs)
        if has_control(unit):
            raise ma.ValidationError("It holds a control character or a line break.")
        return unit


def unit_field(**kwargs: Any) -> Words:
    """Make the field of a unit."""
    return _Unit(UNIT_LENGTH, strip=True, **kwargs)


_UNIT = unit_field(allow_none=True)


def _read_unit(value: Any) -> str | None:
    unit: str | None = _UNIT.deserialize(value)
    return unit


def _read_attributes(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ma.ValidationError("Not a JSON object.")
    check_attributes(value, ATTRIBUTES_BYTES)
    return value


class ByCurve(fields.Field[dict[str, Any]]):
    """Something for each of some curves, by their names; as an object, or as its text."""

    def __init__(
        self, read: Callable[[Any], Any], schema: dict[str, Any], *, as_text: bool, what: str
    ) -> None:
        self._read = read
        self._as_text = as_text
        metadata = {"type": "object", "additionalProperties": schema}
        names = {"propertyNames": {"minLength": 1, "maxLength": NAME_LENGTH}}
        described = {"description": f"{what} by the names of curves."}
        if as_text:
            metadata = {"type": "string", "default": ""}
            names, described = {}, {"description": f"{what} by the names of curves, as JSON text."}
        super().__init__(load_default=dict, metadata=metadata | names | described)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if self._as_text and isinstance(value, str):
            value = _parse(value)
        if not isinstance(value, dict):
            raise ma.ValidationError("Not a JSON object.")
        read, errors = {}, {}
        for name, given in value.items():
            try:
                read[name.strip()] = self._read(given)
            except ma.ValidationError as error:
                # The error of a text is that of a parameter, which has no place for the curve.
                before = f"{name[:40]!r}: " if self._as_text else ""
                errors[name] = [f"{before}{message}" for message in error.messages]
        if errors:
            raise ma.ValidationError(errors)
        return read


_UNIT_SCHEMA = {"type": ["string", "null"], "maxLength": UNIT_LENGTH}


def _units_field(*, as_text: bool) -> ByCurve:
    return ByCurve(_read_unit, _UNIT_SCHEMA, as_text=as_text, what="Units")


def _attributes_field(*, as_text: bool) -> ByCurve:
    what = f"Attributes, at most {ATTRIBUTES_BYTES} bytes of JSON each,"
    return ByCurve(_read_attributes, {"type": "object"}, as_text=as_text, what=what)


class LabelFields(Request):
    """Units and attributes of curves, beside their columns."""

    x_unit = unit_field(load_default=None, allow_none=True)
    y_units = _units_field(as_text=False)
    curve_attributes = _attributes_field(as_text=False)


class LabelTexts(Request):
    """Units and attributes of curves, beside a file."""

    x_unit = unit_field(
        load_default=None,
        allow_none=False,
        metadata={"default": "", "description": "Empty: that of the file."},
    )
    y_units = _units_field(as_text=True)
    curve_attributes = _attributes_field(as_text=True)


class CurvePatch(Request):
    """A merge patch (RFC 7396) of one curve; null removes."""

    unit = unit_field(allow_none=True)
    attributes = Attributes(
        keys=fields.String(),
        allow_none=True,
        metadata={"description": f"At most {ATTRIBUTES_BYTES} bytes of JSON after the change."},
    )


CURVES_PATCH = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {
            "unit": {"type": ["string", "null"], "maxLength": UNIT_LENGTH},
            "attributes": {"type": ["object", "null"]},
        },
        "additionalProperties": False,
    },
    "description": "Merge patches (RFC 7396) by the names of curves; null removes.",
}
"""Schema of the patches of some curves."""


class FacetReply(Reply):
    """A value of an attribute, and how many of the curves have it."""

    value = fields.Raw(required=True)
    count = fields.Integer(required=True)
