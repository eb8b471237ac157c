"""Errors of the services. They carry facts; api/errors.py gives each a status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class Fact:
    """A single fault, and where it is.

    Parameters
    ----------
    detail : str
        The fault and how to correct it, as a sentence.
    code : str
        The kind of fault as a stable word for programs, such as ``not_a_number``.
    row : int or None
        Data row, counted from 0.
    line : int or None
        Line of a text file, counted from 1.
    column : str or None
        Name of the column (the curve).
    pointer : str or None
        JSON pointer into the request body.
    parameter : str or None
        Name of a query parameter, form field or header.
    file : str or None
        Path of one of many files.
    """

    detail: str
    code: str
    row: int | None = None
    line: int | None = None
    column: str | None = None
    pointer: str | None = None
    parameter: str | None = None
    file: str | None = None


class CurveError(Exception):
    """A request that these curves do not allow.

    Parameters
    ----------
    detail : str
        One sentence for people.
    facts : sequence of Fact
        The faults, as far as they are known.
    """

    code = "curve-error"
    title = "The curves do not allow this"

    def __init__(self, detail: str, facts: Sequence[Fact] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = tuple(facts)


class Busy(Exception):  # noqa: N818 - named for what it is
    """Lack of a free slot; the same request may succeed in a moment."""


class UnreadableFile(CurveError):  # noqa: N818 - named for what it is, like every class here
    """Bytes that are no text, or no file of the format."""

    code = "unreadable-file"
    title = "The file cannot be read"


class InvalidTable(CurveError):  # noqa: N818
    """A file or body that can be read but is no table of curves."""

    code = "invalid-table"
    title = "Not a table of curves"


class TooLarge(CurveError):  # noqa: N818
    """More columns, rows or bytes than the limits allow."""

    code = "too-large"
    title = "Larger than the limits allow"


class GridError(CurveError):
    """X columns that do not fit together, or one that is no grid."""

    code = "grid-mismatch"
    title = "The x values do not fit"


class NoFit(CurveError):  # noqa: N818
    """A training curve for which no library curve can be chosen."""

    code = "no-fit"
    title = "No library curve can be chosen"


class InvalidOption(CurveError):  # noqa: N818
    """An option outside its range, or in contradiction to another."""

    code = "invalid-option"
    title = "An option does not fit"


MOST_FACTS = 20
"""Most faults of one file that an error lists."""

_SHOWN = 40
"""Most characters that an error quotes."""

_Error = TypeVar("_Error", bound=CurveError)


def quote(text: str) -> str:
    """Quote text of a client for a message, cut to a short length."""
    quoted = repr(text[:_SHOWN])
    return quoted if len(quoted) <= _SHOWN else quoted[: _SHOWN - 3] + "..."


def error_from(kind: type[_Error], fact: Fact) -> _Error:
    """Make an error of a given class from one fact."""
    return kind(fact.detail, [fact])


def error_from_all(facts: list[Fact]) -> InvalidTable:
    """Make one error from many facts, in the order of the file; it tells the first."""
    if len(facts) == 1:
        return error_from(InvalidTable, facts[0])
    count = f"at least {MOST_FACTS}" if len(facts) >= MOST_FACTS else str(len(facts))
    return InvalidTable(f"There are {count} errors, the first: {facts[0].detail}", facts)
