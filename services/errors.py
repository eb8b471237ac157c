"""Errors of the domain. They carry facts; the HTTP layer gives them a status (api/errors.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
    """The x columns do not fit together, or one is no grid."""

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
