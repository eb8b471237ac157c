"""The body of an error (RFC 9457), for a reply and for the record of a job that failed."""

from __future__ import annotations

import errno
import http
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from services.errors import CurveError, Fact, TooLarge, UnreadableFile

STATUS_OF: dict[type[Exception], int] = {UnreadableFile: 400, TooLarge: 413, CurveError: 422}


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
        "type": f"/problems/{slug}" if slug else "about:blank",
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
