"""Requests and replies that fits and mappings share as jobs: create, wait, cancel."""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from flask import Response, request, url_for
from sqlalchemy.orm import Session

from api import slots
from api.errors import Problem, address_of_type, reply_with_problem
from api.http.blueprint import Handler, StrictBlueprint
from api.http.negotiation import make_etag
from api.http.openapi_headers import ETAG, LOCATION, RETRY
from api.jobs.kinds import JobKind
from api.jobs.run import submit
from api.running import database, running
from api.store.base import NotFound, find, find_version
from api.store.jobs import Job, cancel
from services.errors import Fact

Show = Callable[[Session, list[Any]], Sequence[dict[str, Any]]]
"""Function that writes records in the words of the contract."""

LONGEST_WAIT = 20
"""Seconds that a request may wait for its job; a stopping service lets it end."""

SHORTEST_LOOK, LONGEST_LOOK = 0.02, 0.25
"""Seconds between two looks of a waiting request: the pause grows from one to the other."""

RETRY_AFTER = {"Retry-After": "1"}

CANCELLED = {"state": "cancelled", "version": 7}
"""Fields of the example of a cancelled job."""

_PREFER = {
    "in": "header",
    "name": "Prefer",
    "required": False,
    "description": "`respond-async`: 202 at once. `wait=5`: up to 5 seconds first.",
    "schema": {"type": "string"},
    "example": "wait=5",
}
_APPLIED = {
    "Preference-Applied": {
        "description": "What of `Prefer` was done.",
        "schema": {"type": "string"},
    }
}


# What stands between commas, and between semicolons, that are not in quotes.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*+"?)++')
_PARAMETER = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*+"?)*+')


def document_replies(
    blueprint: StrictBlueprint, schema: type, example: dict[str, Any]
) -> Callable[[Handler], Handler]:
    """Document the replies of a POST that makes a job, and its `Prefer` header."""
    queued = example | {"state": "queued", "started_at": None, "finished_at": None}

    def decorator(function: Handler) -> Handler:
        headers = LOCATION | ETAG | _APPLIED
        function = blueprint.response(201, schema, example=example, headers=headers)(function)
        function = blueprint.alt_response(
            202,
            schema=schema,
            example=queued,
            headers=headers | RETRY,
            description="Queued.",
            success=True,
        )(function)
        return cast("Handler", blueprint.doc(parameters=[_PREFER])(function))

    return decorator


@dataclass(frozen=True, slots=True)
class Preferences:
    """Preferences of the client that the service knows (RFC 7240); others are ignored."""

    respond_async: bool
    wait: int | None


def read_preferences() -> Preferences:
    """Read the preferences of this request; the first of several equal names counts."""
    found: dict[str, str] = {}
    for part in _PREFERENCE.findall(request.headers.get("Prefer", "")):
        name, _, value = _PARAMETER.findall(part)[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = found.get("wait", "")
    known = wait.isascii() and wait.isdigit() and len(wait) < 10  # noqa: PLR2004 - any will do
    return Preferences("respond-async" in found, min(int(wait), LONGEST_WAIT) if known else None)


def create(kind: JobKind[Any, Any], body: dict[str, Any], show: Show, endpoint: str) -> Any:
    """Do a small job in the request, queue a large one, and return the reply."""
    running().disk.require()
    wish = read_preferences()
    most = -math.inf if wish.respond_async else running().settings.inline_seconds
    job = submit(
        database(),
        kind,
        body,
        client=identify_client(),
        most_seconds=most,
        may_begin=_may_begin,
        ranker=running().ranker,
    )
    waited = wish.wait is not None and (job.ended or _wait(job, wish.wait))
    applied = [f"wait={wish.wait}"] if waited else []
    with database().reading() as session:
        if waited:
            job = _find_again(session, job)
        # Otherwise as it was stored: a worker may have ended it by now.
        record = show(session, [job])[0]
    if job.state == "failed":
        return reply_with_failure(job)
    noun = endpoint.rstrip("s")
    key: dict[str, Any] = {f"{noun}_id": job.id}
    location = url_for(f"{endpoint}.read_{noun}", **key)
    headers = {"Location": location, "ETag": make_etag(job.version)}
    done = job.state == "succeeded"
    if wish.respond_async and not done:
        applied.insert(0, "respond-async")
    if applied:
        headers["Preference-Applied"] = ", ".join(applied)
    return (record, 201, headers) if done else (record, 202, headers | RETRY_AFTER)


def _may_begin(seconds: float) -> bool:
    """Tell whether a job of this estimate may be done in the request; a large one needs a slot."""
    return seconds <= slots.SMALL_SECONDS or slots.try_enter()


def _wait(job: Job, seconds: int) -> bool:
    """Wait until the job has ended or the time is over; False if too many wait already."""
    waiters = running().waiters
    if not waiters.acquire(blocking=False):
        return False
    try:
        pause, deadline = SHORTEST_LOOK, time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(1.5 * pause, LONGEST_LOOK)
            # Between two looks no transaction is open.
            with database().reading() as session:
                if _find_again(session, job).ended:
                    break
    finally:
        waiters.release()
    return True


def _find_again(session: Session, job: Job) -> Job:
    try:
        return find(session, type(job), job.id)
    except NotFound:
        kind = type(job).__name__.lower()
        detail = f"The {kind} was deleted while this request waited for it."
        raise Problem(409, detail) from None


def reply_with_failure(job: Job) -> Response:
    """Delete a job that failed while its request waited, and return its error as the reply."""
    with database().writing() as session:
        session.delete(find(session, type(job), job.id, lock=True))
    error = dict(job.error or {})
    facts = [Fact(**fact) for fact in error["errors"]]
    _, _, slug = error["type"].partition("/problems/")
    return reply_with_problem(
        error["status"], error["detail"], facts, slug=slug, title=error["title"]
    )


def write_columns(job: Job) -> dict[str, Any]:
    """Return the columns of a job; its error has the type that a reply would have."""
    record = job.as_dict()
    if job.error:
        record["error"] = job.error | {"type": address_of_type(job.error["type"])}
    return record


def stop(model: type[Job], job_id: str, show: Show) -> Any:
    """Cancel a job that has not ended."""
    with database().writing() as session:
        job = find_version(session, model, job_id, None)
        cancel(session, job)
        return show(session, [job])[0], {"ETag": make_etag(job.version)}


def identify_client() -> str:
    """Return the client of this request; the queue gives each client its share of the workers.

    That is the address, of IPv6 the network of 64 bits that one customer has.
    """
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        # A socket of the file system has no address.
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
