"""Units and attributes of curves in Parquet and Arrow files.

The metadata of a column holds `unit`, and `attributes` as JSON; a file of one curve a row has
columns of these names. Whoever wrote the file, at most `MOST_BYTES` of them are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from services.errors import Fact, TooLarge, error_from
from services.labels import ATTRIBUTES_BYTES
from services.tables import NO_LABELS, Labels, TableWarning

UNIT, ATTRIBUTES = "unit", "attributes"
"""Keys of the metadata of a column, and names of columns."""

MOST_BYTES = 16 << 20
"""Most bytes of all units and attributes of a file; as objects they take many times that."""

_MOST_SPACED = 4 * ATTRIBUTES_BYTES
"""Most bytes of the attributes of a curve before they are read; JSON may have spaces."""


@dataclass
class LabelReader:
    """Reads units and attributes of columns, one after the other."""

    units: list[str | None] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[TableWarning] = field(default_factory=list)
    _bytes: int = 0

    def read(self, name: str, unit: bytes | None, attributes: bytes | None) -> None:
        """Read unit and attributes of the next column; a warning says what cannot be read."""
        self._bytes += len(unit or b"") + len(attributes or b"")
        if self._bytes > MOST_BYTES:
            detail = f"Units and attributes take more than {MOST_BYTES} bytes; append the curves"
            raise error_from(TooLarge, Fact(f"{detail} in several files.", "too_many_bytes"))
        try:
            self.units.append(unit.decode() if unit else None)
        except UnicodeDecodeError:
            self.units.append(None)
            self._warn(name, UNIT, "it is no UTF-8")
        try:
            self.attributes.append(_parse(attributes) if attributes else {})
        except ValueError as error:
            self.attributes.append({})
            self._warn(name, ATTRIBUTES, str(error))

    def _warn(self, name: str, what: str, why: str) -> None:
        detail = f"Column {name!r}: its {what} cannot be read and was left out: {why}."
        self.warnings.append(TableWarning("label_left_out", detail, name))

    def labels(self, x: int | None) -> Labels:
        """Return the labels of all columns, of which the one at position x is the x column."""
        if not any(self.units) and not any(self.attributes):
            return NO_LABELS
        units, attributes = list(self.units), list(self.attributes)
        x_unit = None
        if x is not None:
            x_unit = units.pop(x)
            attributes.pop(x)
        return Labels(x_unit, tuple(units), tuple(attributes))


def _parse(text: bytes) -> dict[str, Any]:
    if len(text) > _MOST_SPACED:
        raise ValueError(f"they have more than {ATTRIBUTES_BYTES} bytes")
    try:
        attributes = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("they are no JSON") from None
    if not isinstance(attributes, dict):
        raise ValueError("they are no JSON object")  # noqa: TRY004 - a fault of the file
    return attributes


def read_field_labels(
    fields: Iterable[pa.Field], names: Sequence[str], x: int
) -> tuple[Labels, tuple[TableWarning, ...]]:
    """Read units and attributes from the metadata of columns.

    Parameters
    ----------
    fields : iterable of Field
        The columns.
    names : sequence of str
        Their cleaned names.
    x : int
        Position of the x column.

    Returns
    -------
    Labels
        Labels of the curves.
    tuple of TableWarning
        One for each label that cannot be read.
    """
    reader = LabelReader()
    for name, column in zip(names, fields, strict=True):
        metadata = column.metadata or {}
        reader.read(name, metadata.get(UNIT.encode()), metadata.get(ATTRIBUTES.encode()))
    return reader.labels(x), tuple(reader.warnings)


def field_metadata(unit: str | None, attributes: Mapping[str, Any]) -> dict[str, bytes] | None:
    """Make the metadata of a column.

    Parameters
    ----------
    unit : str or None
        Unit of the numbers.
    attributes : mapping
        Attributes of the curve.

    Returns
    -------
    dict or None
        None if there is nothing to say.
    """
    metadata = {UNIT: unit.encode()} if unit else {}
    if attributes:
        metadata[ATTRIBUTES] = orjson.dumps(attributes)
    return metadata or None
