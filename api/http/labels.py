"""Units and attributes that a request gives to the curves in its body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.http.arguments import make_invalid
from services.labels import ATTRIBUTES_BYTES, each_label, find_fault
from services.tables import Labels


def take_labels(
    fields: dict[str, Any], labels: Labels, names: Sequence[str], location: str
) -> Labels:
    """Take units and attributes of curves out of the fields, and merge them into those of a file.

    Each unit and each attribute replaces that of the file. 422 for curves that the body does not
    have.
    """
    x_unit = fields.pop("x_unit") or labels.x_unit
    units, attributes = fields.pop("y_units"), fields.pop("curve_attributes")
    known = set(names)
    _refuse({"y_units": units, "curve_attributes": attributes}, known, location)
    if not units and not attributes:
        return Labels(x_unit, labels.units, labels.attributes)
    old = list(zip(names, each_label(labels), strict=False))
    return Labels(
        x_unit,
        tuple(units.get(name, unit) for name, (unit, _) in old),
        tuple(_merge(name, of_file, attributes, location) for name, (_, of_file) in old),
    )


def _merge(
    name: str, of_file: dict[str, Any], given: dict[str, dict[str, Any]], location: str
) -> dict[str, Any]:
    if name not in given:
        return of_file
    merged = of_file | given[name]
    if fault := find_fault(merged, ATTRIBUTES_BYTES):
        fault = f"With those of the file: {fault}" if of_file else fault
        message = _with_name(name, fault, location)
        raise make_invalid({"curve_attributes": {name: [message]}}, location)
    return merged


def _refuse(given: dict[str, dict[str, Any]], known: set[str], location: str) -> None:
    messages: dict[str, Any] = {}
    for field, by_name in given.items():
        unknown = [name for name in by_name if name not in known]
        if unknown:
            reason = "The body has no such curve."
            messages[field] = {name: [_with_name(name, reason, location)] for name in unknown}
    if messages:
        raise make_invalid(messages, location)


def _with_name(name: str, reason: str, location: str) -> str:
    """Put a name before a reason, unless the pointer of the error has it."""
    return reason if location == "json" else f"{name[:40]!r}: {reason}"
