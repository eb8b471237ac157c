"""The labels of a block of JCAMP-DX: how to read its tables, and attributes of its curves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from services.files.jcamp_records import Record, compare_label

ATTRIBUTE_BYTES = 3900
"""Most bytes of the attributes of a block, as JSON; a page of NTUPLES adds its name to them."""

_MOST_ATTRIBUTES = 1000
"""Attributes of a block that are kept until the longest are left out."""

_PAGE_LENGTH = 40

OF_TABLE = ("FIRSTX", "LASTX", "DELTAX", "XFACTOR", "YFACTOR", "NPOINTS", "FIRSTY")
"""Labels that say how to read a table."""

_OF_NTUPLES = {
    *("VARNAME", "SYMBOL", "VARTYPE", "VARFORM", "VARDIM", "UNITS", "FIRST", "LAST", "MIN", "MAX"),
    *("FACTOR", "NTUPLES", "ENDNTUPLES", "PAGE"),
}
_NO_ATTRIBUTES = {
    *OF_TABLE,
    *_OF_NTUPLES,
    *("XUNITS", "YUNITS", "MINX", "MAXX", "MINY", "MAXY", "JCAMPDX", "BLOCKS", "BLOCKID", "END"),
}
_SPELLINGS = {
    compare_label(label): label
    for label in (
        *("BEILSTEIN LAWSON NO", "CAS NAME", "CAS REGISTRY NO", "CROSS REFERENCE", "DATA CLASS"),
        *("DATA PROCESSING", "DATA TYPE", "INSTRUMENT PARAMETERS", "LONG DATE", "PATH LENGTH"),
        *("REFRACTIVE INDEX", "SAMPLE DESCRIPTION", "SAMPLING PROCEDURE", "SOURCE REFERENCE"),
        *("SPECTROMETER/DATA SYSTEM", "PARTIAL PRESSURE", ".OBSERVE FREQUENCY"),
        *(".OBSERVE NUCLEUS", ".ACQUISITION MODE", ".IONIZATION MODE", ".SPECTROMETER TYPE"),
    )
}
"""Labels of several words, as the standard writes them."""


class TableLabels(NamedTuple):
    """The labels of one table.

    Parameters
    ----------
    header : dict of str to str
        Those of `OF_TABLE` that there are.
    name : str
        Name of its curve.
    x_unit, unit : str or None
        Units of x and y.
    page : str or None
        Page of NTUPLES.
    """

    header: dict[str, str]
    name: str
    x_unit: str | None
    unit: str | None
    page: str | None = None


@dataclass(slots=True)
class Labels:
    """Labels of a block so far.

    Parameters
    ----------
    values : dict of str to str
        The last value of each.
    attributes : dict of str to str
        The first value of each that describes the sample or the measurement.
    """

    values: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    def note(self, record: Record, value: str) -> None:
        """Add a label.

        Parameters
        ----------
        record : Record
            The label.
        value : str
            All lines of its value.
        """
        self.values[record.label] = value
        if record.label == "PAGE":
            self.values.pop("NPOINTS", None)
        is_private = record.label.startswith("$")
        if not value or not record.label or len(self.attributes) >= _MOST_ATTRIBUTES:
            return
        if not is_private and record.label not in _NO_ATTRIBUTES:
            name = _SPELLINGS.get(record.label, record.name.upper())
            self.attributes.setdefault(name, value)

    def describe_table(self, x_symbol: str, y_symbol: str) -> TableLabels | None:
        """Return the labels of a table that is no part of NTUPLES.

        Parameters
        ----------
        x_symbol, y_symbol : str
            Letters of its form.

        Returns
        -------
        TableLabels or None
            None if it does not hold X and Y.
        """
        if (x_symbol, y_symbol) != ("X", "Y"):
            return None
        header = {label: self.values[label] for label in OF_TABLE if label in self.values}
        return TableLabels(header, self._title(), self._unit("XUNITS"), self._unit("YUNITS"))

    def describe_page(self, x_symbol: str, y_symbol: str) -> TableLabels | None:
        """Return the labels of a table of NTUPLES.

        Parameters
        ----------
        x_symbol, y_symbol : str
            Letters of its form.

        Returns
        -------
        TableLabels or None
            None if NTUPLES does not describe them.
        """
        columns = {
            label: [cell.strip() for cell in self.values[label].split(",")]
            for label in _OF_NTUPLES & self.values.keys()
        }
        symbols = columns.get("SYMBOL", [])
        if x_symbol not in symbols or y_symbol not in symbols:
            return None
        x, y = (
            {label: cells[at] for label, cells in columns.items() if at < len(cells)}
            for at in (symbols.index(x_symbol), symbols.index(y_symbol))
        )
        header = {
            "FIRSTX": x.get("FIRST", ""),
            "LASTX": x.get("LAST", ""),
            "XFACTOR": x.get("FACTOR", ""),
            "YFACTOR": y.get("FACTOR", ""),
            "FIRSTY": y.get("FIRST", ""),
            "NPOINTS": self.values.get("NPOINTS") or y.get("VARDIM", ""),
        }
        page = self.values.get("PAGE", "")[:_PAGE_LENGTH]
        has_one = columns.get("VARTYPE", []).count("DEPENDENT") == 1
        part = page if has_one else y.get("VARNAME", page)
        name = " / ".join(filter(None, (self._title(), part)))
        return TableLabels(
            header, name, x.get("UNITS") or None, y.get("UNITS") or None, page[:_PAGE_LENGTH]
        )

    def _title(self) -> str:
        return " ".join(self.values.get("TITLE", "").split())

    def _unit(self, label: str) -> str | None:
        return " ".join(self.values.get(label, "").split()) or None


def shorten(attributes: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Leave out the longest attributes until the others have at most `ATTRIBUTE_BYTES`.

    Parameters
    ----------
    attributes : dict of str to str

    Returns
    -------
    kept : dict of str to str
    left_out : list of str
        Names of those that are left out.
    """
    sizes = {
        name: len(json.dumps({name: text}, ensure_ascii=False).encode())
        for name, text in attributes.items()
    }
    total, left_out = sum(sizes.values()), []
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if total <= ATTRIBUTE_BYTES:
            break
        total -= sizes.pop(name)
        left_out.append(name)
    return {name: attributes[name] for name in sizes}, left_out
