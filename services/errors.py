"""Errors of the domain. They carry facts; the HTTP layer gives them a status (api/errors.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is wrong, and where.

    Parameters
    ----------
    detail : str
        What is wrong and what would be right, as a sentence.
    code : str
        The same as a stable word for programs, such as ``not_a_number``.
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
    """

    detail: str
    code: str
    row: int | None = None
    line: int | None = None
    column: str | None = None
    pointer: str | None = None
    parameter: str | None = None


class CurveError(Exception):
    """What was asked cannot be answered with these curves.

    Parameters
    ----------
    detail : str
        One sentence for a person.
    facts : sequence of Fact
        Where exactly, as far as it is known.
    """

    code = "curve-error"
    title = "The curves do not allow this"

    def __init__(self, detail: str, facts: Sequence[Fact] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = tuple(facts)


class Busy(Exception):  # noqa: N818 - named for what it is
    """There is no room to work on this now; the same may succeed in a moment."""


class UnreadableFile(CurveError):  # noqa: N818 - named for what it is, like every class here
    """The bytes are no text or no table at all."""

    code = "unreadable-file"
    title = "The file cannot be read"


class InvalidTable(CurveError):  # noqa: N818
    """The file or body was read, but it is no table of curves."""

    code = "invalid-table"
    title = "Not a table of curves"


class TooLarge(CurveError):  # noqa: N818
    """More columns, rows or bytes than the limits allow."""

    code = "too-large"
    title = "Larger than the limits allow"


class GridError(CurveError):
    """The x columns do not fit error_from_all, or one is no grid."""

    code = "grid-mismatch"
    title = "The x values do not fit"


class NoFit(CurveError):  # noqa: N818
    """No library curve can be chosen for a training curve."""

    code = "no-fit"
    title = "No library curve can be chosen"


class InvalidOption(CurveError):  # noqa: N818
    """An option has a value outside its range, or contradicts another."""

    code = "invalid-option"
    title = "An option does not fit"


MOST_FACTS = 20
"""Errors of one file that are told."""


_SHOWN = 40


_Error = TypeVar("_Error", bound=CurveError)


def quote(text: str) -> str:
    """Text of a client as it stands in an error.

    Parameters
    ----------
    text : str
        Of any length.

    Returns
    -------
    str
        Quoted, and short.
    """
    quoted = repr(text[:_SHOWN])
    return quoted if len(quoted) <= _SHOWN else quoted[: _SHOWN - 3] + "..."


def error_from(kind: type[_Error], fact: Fact) -> _Error:
    """Make an error of one fact.

    Parameters
    ----------
    kind : type
        Class of the error.
    fact : Fact
        What is wrong.

    Returns
    -------
    CurveError
        Of that class.
    """
    return kind(fact.detail, [fact])


def error_from_all(facts: list[Fact]) -> InvalidTable:
    """Make one error of many facts.

    Parameters
    ----------
    facts : list of Fact
        In the order of the file.

    Returns
    -------
    InvalidTable
        It names the first, and how many there are.
    """
    if len(facts) == 1:
        return error_from(InvalidTable, facts[0])
    count = f"at least {MOST_FACTS}" if len(facts) >= MOST_FACTS else str(len(facts))
    return InvalidTable(f"There are {count} errors, the first: {facts[0].detail}", facts)
