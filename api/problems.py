"""The body of an error (RFC 9457), for a reply and for the record of a job that failed."""

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
"""Where the problem types are explained; what follows in `type` is the slug."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A problem type for whoever meets it."""

    title: str
    status: int
    meaning: str
    remedy: str


def _explained(error: type[CurveError], meaning: str, remedy: str) -> dict[str, Explanation]:
    status = next(STATUS_OF[kind] for kind in error.__mro__ if kind in STATUS_OF)
    return {error.code: Explanation(error.title, status, meaning, remedy)}


EXPLANATIONS = (
    _explained(
        UnreadableFile,
        "The bytes are no text and no table: the encoding, the compression or the file is damaged,"
        " or it is of another format than it is said to be.",
        "Open the file in the program that wrote it, save it again, as CSV in UTF-8 if in doubt,"
        " and send that.",
    )
    | _explained(
        InvalidTable,
        "The file or body can be read, but it is no table of one x column and at least one curve:"
        " a cell is no number, a row is too short, a name stands twice, or there is no row.",
        "Mend the rows and columns that `errors` names; `row` counts data rows from 0, `line` lines"
        " of the text from 1. An empty cell is a gap.",
    )
    | _explained(
        TooLarge,
        "There are more bytes, rows, columns or values than this server takes.",
        "Split the data, or ask whoever runs the server to raise the limit; /v1/limits lists those"
        " in force.",
    )
    | _explained(
        GridError,
        "Curves are compared at equal x, and the x of these do not fit each other: the library does"
        " not cover them, they are not in the same order, or one repeats.",
        "Use alignment=linear to read the library between its x, outside=omit to leave out x that"
        " it does not cover, or a larger x_tolerance. To append curves, send the x of the dataset.",
    )
    | _explained(
        NoFit,
        "For at least one training curve no library curve can be chosen: none has numbers at"
        " enough of its x, or every score is beyond float64.",
        "Lower min_overlap, use alignment=linear, or leave out the training curve that `errors`"
        " names with training_curves.",
    )
    | _explained(
        InvalidOption,
        "An option has a value that cannot be used here, or contradicts another.",
        "Change or leave out the field that `errors` names by `pointer` or `parameter`.",
    )
    | _explained(
        CurveError,
        "The curves do not allow what was asked.",
        "Read `detail`, and the places in `errors`.",
    )
    | {
        "unknown-host": Explanation(
            "Misdirected Request",
            421,
            "The `Host` of the request is no name of this service. It answers to localhost, to"
            " addresses and to the name of its machine, so that no web page can reach it by a name"
            " of its own.",
            "Use one of these names, or have the one you use listed in IDEALFIT_HOSTS.",
        ),
        "malformed-host": Explanation(
            "Bad Request",
            400,
            "The request has no `Host`, several, or one that is no host name with a port.",
            "Send one `Host`, as every HTTP library does by itself.",
        ),
        "foreign-origin": Explanation(
            "Forbidden",
            403,
            "A page of another origin may not change anything here.",
            "Send the request from the service's own pages or by a program, or have the origin"
            " listed in IDEALFIT_CORS_ORIGINS.",
        ),
        "export-in-progress": Explanation(
            "The export is being made",
            503,
            "The file is large, and a worker is making it.",
            "Ask again after the seconds of `Retry-After`; then the file is there.",
        ),
        "disk-reserve": Explanation(
            "The disk is nearly full",
            507,
            "The disk has no more room than the reserve that the service leaves free. What needs"
            " none goes on: reading, changing and deleting.",
            "Delete records that are not needed any more, or ask whoever runs the server to make"
            " room.",
        ),
        "temporary-files": Explanation(
            "Too many temporary files",
            503,
            "Temporary files of all requests and jobs together take as much as they may.",
            "Ask again after the seconds of `Retry-After`, or send less at once.",
        ),
    }
)
"""Every problem type with an address of its own, by slug. The pages and the document are made of
it. `about:blank` means no more than the status says."""


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says when a temporary file finds no room."""


def problem_document(  # noqa: PLR0913 - the members of RFC 9457
    status: int,
    detail: str,
    facts: Sequence[Fact] = (),
    *,
    slug: str | None = None,
    title: str | None = None,
    request_id: str | None = None,
) -> dict[str, Any]:
    """A problem as JSON."""
    return {
        "type": PATH + slug if slug else "about:blank",
        "title": title or http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": [fact_fields(fact) for fact in facts],
        "request_id": request_id,
    }


def curve_problem(error: CurveError, request_id: str | None = None) -> dict[str, Any]:
    """What is wrong with curves or options, as JSON."""
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    return problem_document(
        status,
        error.detail,
        error.facts,
        slug=error.code,
        title=error.title,
        request_id=request_id,
    )


def fact_fields(fact: Fact) -> dict[str, Any]:
    """A fact without the places it does not name."""
    return {name: value for name, value in asdict(fact).items() if value is not None}
