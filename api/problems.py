"""Types and bodies of errors (RFC 9457), for replies and for records of failed jobs."""

from __future__ import annotations

import errno
import http
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.errors import (
    CurveError,
    Fact,
    GridError,
    InvalidOption,
    InvalidTable,
    NoFit,
    TooLarge,
    UnreadableFile,
)

STATUS_OF: dict[type[Exception], int] = {UnreadableFile: 400, TooLarge: 413, CurveError: 422}

PATH = "/problems/"
"""Path below which problem types are explained; their slug follows."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A type of problem, as the page at its address explains it."""

    slug: str
    title: str
    status: int
    meaning: str
    remedy: str


def _describe(error: type[CurveError], meaning: str, remedy: str) -> ProblemType:
    """Make the type of an error of the services."""
    return ProblemType(error.code, error.title, status_of(error), meaning, remedy)


def status_of(error: type[CurveError]) -> int:
    """Return the status of an error of the services."""
    return next(STATUS_OF[kind] for kind in error.__mro__ if kind in STATUS_OF)


UNKNOWN_HOST = ProblemType(
    "unknown-host",
    "Misdirected Request",
    421,
    "The `Host` of the request is not a name of this service. It answers to localhost, to"
    " addresses and to the name of its machine, so that no web page can reach it by a name that"
    " the page's owner controls.",
    "Use one of these names, or have yours listed in IDEALFIT_HOSTS.",
)
MALFORMED_HOST = ProblemType(
    "malformed-host",
    "Bad Request",
    400,
    "The request has no `Host`, several, or one that is not a host name with an optional port.",
    "Send one `Host`, as every HTTP library does.",
)
FOREIGN_ORIGIN = ProblemType(
    "foreign-origin",
    "Forbidden",
    403,
    "A page of another origin may not change anything here.",
    "Send the request from the service's own pages or by a program, or have the origin"
    " listed in IDEALFIT_CORS_ORIGINS.",
)
EXPORT_IN_PROGRESS = ProblemType(
    "export-in-progress",
    "The export is being made",
    503,
    "The file is large, and a worker is making it.",
    "Ask again after the seconds of `Retry-After`.",
)
DISK_RESERVE = ProblemType(
    "disk-reserve",
    "The disk is nearly full",
    507,
    "The disk has no more room than the reserve that the service leaves free. Records can"
    " still be read, changed and deleted.",
    "Delete records that you no longer need, or ask the operator of the server to make room.",
)
TEMPORARY_FILES = ProblemType(
    "temporary-files",
    "Too many temporary files",
    503,
    "The temporary files of all requests and jobs together have reached their limit.",
    "Ask again after the seconds of `Retry-After`, or send less at once.",
)

_TYPES = (
    _describe(
        UnreadableFile,
        "The bytes are neither text nor a table: the encoding, the compression or the file is"
        " damaged, or its format is not the declared one.",
        "Open the file in the program that wrote it, save it again, as CSV in UTF-8 if in doubt,"
        " and send that.",
    ),
    _describe(
        InvalidTable,
        "The file or body is readable, but it is not a table of one x column and at least one"
        " curve: a cell is not a number, a row is too short, a name stands twice, or there is no"
        " row.",
        "Correct the rows and columns that `errors` names; `row` counts data rows from 0, `line`"
        " lines of the text from 1. An empty cell is a gap.",
    ),
    _describe(
        TooLarge,
        "There are more bytes, rows, columns or values than this server takes.",
        "Split the data, or ask the operator of the server to raise the limit; /v1/limits lists"
        " the limits in force.",
    ),
    _describe(
        GridError,
        "Curves are compared at equal x, and the x of these curves do not match: the library does"
        " not cover them, they are not in the same order, or one repeats.",
        "Use alignment=linear to read the library between its x, outside=omit to leave out x that"
        " it does not cover, or a larger x_tolerance. To append curves, send the x of the dataset.",
    ),
    _describe(
        NoFit,
        "For at least one training curve no library curve can be chosen: none has numbers at"
        " enough of its x, or every score is beyond float64.",
        "Lower min_overlap, use alignment=linear, or leave out the training curve that `errors`"
        " names with training_curves.",
    ),
    _describe(
        InvalidOption,
        "An option has a value that cannot be used here, or contradicts another.",
        "Change or leave out the field that `errors` names by `pointer` or `parameter`.",
    ),
    _describe(
        CurveError,
        "The curves do not allow this request.",
        "Read `detail`, and the places in `errors`.",
    ),
    UNKNOWN_HOST,
    MALFORMED_HOST,
    FOREIGN_ORIGIN,
    EXPORT_IN_PROGRESS,
    DISK_RESERVE,
    TEMPORARY_FILES,
)

PROBLEM_TYPES = {kind.slug: kind for kind in _TYPES}
"""Every type of problem that has an address, by its slug.

The pages and the OpenAPI document are made from this table. A problem of the type `about:blank`
says no more than its status.
"""


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of the system when there is no room for a temporary file."""


def problem_document(  # noqa: PLR0913 - the members of RFC 9457
    status: int,
    detail: str,
    facts: Sequence[Fact] = (),
    *,
    slug: str | None = None,
    title: str | None = None,
    request_id: str | None = None,
) -> dict[str, Any]:
    """Make the body of a problem."""
    return {
        "type": PATH + slug if slug else "about:blank",
        "title": title or http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": [fact_fields(fact) for fact in facts],
        "request_id": request_id,
    }


def curve_problem(error: CurveError, request_id: str | None = None) -> dict[str, Any]:
    """Make the body of a problem from an error of the services."""
    return problem_document(
        status_of(type(error)),
        error.detail,
        error.facts,
        slug=error.code,
        title=error.title,
        request_id=request_id,
    )


def fact_fields(fact: Fact) -> dict[str, Any]:
    """Make the entry of a fact, without the places that it does not name."""
    return {name: value for name, value in asdict(fact).items() if value is not None}
