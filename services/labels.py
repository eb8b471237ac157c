"""Units and attributes of curves: which can be stored, and their attributes as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import orjson

from services.tables import NAME_LENGTH, Labels, TableWarning, has_control

ATTRIBUTES_BYTES = 4096
"""Most bytes of the attributes of a curve, as JSON without spaces."""

ATTRIBUTES_DEPTH = 64
"""Most objects and arrays that are nested in each other."""

UNIT_LENGTH = NAME_LENGTH
"""Most characters of a unit."""

# After another backslash it is six plain characters.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_SHOWN = 40
_FEW = 3


def find_fault(attributes: Any, most_bytes: int) -> str | None:
    """Find out why attributes cannot be stored.

    Parameters
    ----------
    attributes : Any
        A value as JSON has it.
    most_bytes : int
        Most bytes of its JSON.

    Returns
    -------
    str or None
        A sentence; None if they can be stored.
    """
    too_deep = f"Nested deeper than {ATTRIBUTES_DEPTH}."
    try:
        text = orjson.dumps(attributes)
    except orjson.JSONEncodeError:
        # The only reason left: orjson has its own limit of depth.
        return too_deep
    # The length comes first, because it bounds the work of the other checks.
    if len(text) > most_bytes:
        return f"Longer than {most_bytes} bytes of JSON."
    # Plain searches first: they settle nearly all, and take a tenth of the time.
    brackets = text.count(b"{") + text.count(b"[")
    if brackets > ATTRIBUTES_DEPTH and _measure_depth(attributes) > ATTRIBUTES_DEPTH:
        return too_deep
    if b"\\u0000" in text and _NUL.search(text):
        return "The character NUL is not allowed."
    return None


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


def write_attributes(attributes: dict[str, Any]) -> str:
    """Write attributes as JSON, each on a line of its own.

    No other line feed is in the text, so a search for a whole line finds an attribute.

    Parameters
    ----------
    attributes : dict
        Attributes of a curve, as JSON has them.

    Returns
    -------
    str
        JSON, with a line feed before and behind each attribute and before each comma.
    """
    lines = [write_attribute(name, value) for name, value in attributes.items()]
    return "{\n" + "\n,\n".join(lines) + "\n}"


def write_attribute(name: str, value: Any) -> str:
    """Write one attribute as `write_attributes` does.

    Parameters
    ----------
    name : str
        Its name.
    value : Any
        Its value, as JSON has it.

    Returns
    -------
    str
        A line without its ends.
    """
    return orjson.dumps({name: value})[1:-1].decode()


_SAME_UNITS = {
    spelling: unit
    for unit, *spellings in (
        ("cm-1", "1/cm", "cm^-1", "cm^{-1}", "cm⁻¹", "wavenumber", "wavenumbers"),
        ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
        ("um", "µm", "μm", "micrometer", "micrometers", "micrometre", "micrometres"),
        ("s", "sec", "second", "seconds"),
        ("ms", "msec", "millisecond", "milliseconds"),
        ("min", "minute", "minutes"),
        ("hz", "hertz"),
    )
    for spelling in spellings
}  # fmt: skip
"""Units of x that instruments spell in several ways, by the spellings."""


def is_same_unit(one: str, other: str) -> bool:
    """Tell whether two units are the same, whatever their spelling.

    Parameters
    ----------
    one, other : str
        Units of x, as files have them.

    Returns
    -------
    bool
        True if they differ in case and known spellings only, as ``1/CM`` and ``cm-1``.
    """
    first, second = (unit.strip().casefold().replace(" ", "") for unit in (one, other))
    return _SAME_UNITS.get(first, first) == _SAME_UNITS.get(second, second)


def each_label(labels: Labels) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Yield unit and attributes of each curve; empty tuples yield nothing for ever.

    Parameters
    ----------
    labels : Labels
        Labels of the curves of a table.

    Yields
    ------
    tuple of str or None, and dict
        In the order of the curves.
    """
    yield from zip(labels.units or repeat(None), labels.attributes or repeat({}), strict=False)


def keep_storable(labels: Labels, names: Sequence[str]) -> tuple[Labels, list[TableWarning]]:
    """Leave out what cannot be stored of labels that a file holds.

    Parameters
    ----------
    labels : Labels
        Labels as a reader found them.
    names : sequence of m str
        Names of the curves.

    Returns
    -------
    Labels
        The labels that can be stored.
    list of TableWarning
        One for each curve that lost something.
    """
    if not (labels.x_unit or labels.units or labels.attributes):
        return Labels(), []
    warnings = []
    x_unit, wrong = _clean_unit(labels.x_unit)
    if wrong:
        warnings.append(_warn(None, "The unit of x was", wrong))
    units, kept = [], []
    for name, (unit, attributes) in zip(names, each_label(labels), strict=False):
        cleaned, wrong = _clean_unit(unit)
        units.append(cleaned)
        if wrong:
            warnings.append(_warn(name, f"The unit of curve {name!r} was", wrong))
        fitting, wrong = _cut_attributes(attributes)
        kept.append(fitting)
        if wrong:
            warnings.append(_warn(name, f"Some attributes of curve {name!r} were", wrong))
    has_units, has_attributes = any(units), any(kept)
    storable = Labels(
        x_unit, tuple(units) if has_units else (), tuple(kept) if has_attributes else ()
    )
    return storable, warnings


def _warn(column: str | None, what: str, why: str) -> TableWarning:
    return TableWarning("label_left_out", f"{what} left out: {why}", column)


def _clean_unit(unit: str | None) -> tuple[str | None, str | None]:
    """Return a unit without the spaces around it; if it cannot be stored, None and the reason."""
    cleaned = (unit or "").strip() or None
    if cleaned and len(cleaned) > UNIT_LENGTH:
        return None, f"it is longer than {UNIT_LENGTH} characters."
    if cleaned and has_control(cleaned):
        return None, "it holds a control character."
    return cleaned, None


def _cut_attributes(attributes: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the first attributes that can be stored together, and why the others cannot."""
    if not attributes or find_fault(attributes, ATTRIBUTES_BYTES) is None:
        return attributes, None
    kept: dict[str, Any] = {}
    size, lost = 2, []
    for name, value in attributes.items():
        fault = find_fault({name: value}, ATTRIBUTES_BYTES)
        length = 0 if fault else len(write_attribute(name, value).encode()) + 1
        if fault or size + length > ATTRIBUTES_BYTES:
            lost.append(name[:_SHOWN])
        else:
            kept[name] = value
            size += length
    shown = ", ".join(map(repr, lost[:_FEW])) + (", ..." if len(lost) > _FEW else "")
    return kept, f"{shown}. A curve has at most {ATTRIBUTES_BYTES} bytes of JSON, without NUL."
