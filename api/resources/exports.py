"""Exports of mappings: small ones are made in the request, large ones once by a worker."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from flask import Response, request, send_file
from sqlalchemy.exc import IntegrityError, OperationalError

from api import slots
from api.errors import reply_with_type
from api.http.downloads import disposition
from api.http.jobs import identify_client, reply_with_failure
from api.http.media import SQLITE
from api.jobs.exports import export_seconds, open_export, plan_export
from api.problems import EXPORT_IN_PROGRESS
from api.running import database, running
from api.store.base import NotFound, find
from api.store.exports import Export, export_of, is_noted, note_use
from api.store.exports import send_file as send_kept
from api.store.jobs import require_succeeded
from api.store.mappings import Mapping

LONGEST_RETRY = 30
"""Most seconds after which a client is asked to come back."""


def send_export(mapping_id: str) -> Response:
    """Send the file, or say when to ask for it again; HEAD makes nothing."""
    with database().reading() as session:
        mapping = find(session, Mapping, mapping_id)
        require_succeeded(mapping, "exported")
        kept, seconds = export_of(session, mapping_id), export_seconds(session, mapping)
        noted = kept is not None and is_noted(session, kept)
    headers = {"Content-Disposition": disposition("attachment", mapping.name, ".db")}
    if kept and kept.state == "succeeded":
        headers["Content-Length"] = str(kept.nbytes)
    if request.method == "HEAD":
        return Response(iter(()), headers=headers, content_type=SQLITE)
    if kept and kept.state == "succeeded":
        with suppress(NotFound):
            return _send_kept(kept, headers, noted=noted)
    running().disk.require()
    if seconds <= running().settings.inline_seconds:
        if seconds > slots.SMALL_SECONDS:
            slots.enter()
        reply = send_file(open_export(database(), mapping_id), mimetype=SQLITE)
        reply.headers.update(headers)
        return reply
    if kept and kept.state == "failed":
        with suppress(NotFound):
            return reply_with_failure(kept)
    if kept is None or kept.state != "running":
        _queue(mapping)
    return _ask_to_return(seconds)


def _send_kept(kept: Export, headers: dict[str, str], *, noted: bool) -> Response:
    """Send the kept file; NotFound if it has just been deleted."""
    parts: Iterator[bytes] = send_kept(database(), kept)
    first = next(parts)
    if not noted:
        # Whoever cannot write now still gets the file.
        with suppress(OperationalError), database().writing() as session:
            note_use(session, kept)
    return Response(chain([first], parts), headers=headers, content_type=SQLITE)


def _queue(mapping: Mapping) -> None:
    """Queue the export, unless it is queued already or the mapping has just been deleted."""
    with suppress(IntegrityError), database().writing() as session:
        if export_of(session, mapping.id) is None:
            session.add(plan_export(session, mapping, identify_client()))


def _ask_to_return(seconds: float) -> Response:
    after = min(LONGEST_RETRY, max(1, math.ceil(seconds)))
    detail = f"The export is being made by a worker; ask again in {after} s."
    return reply_with_type(EXPORT_IN_PROGRESS, detail, {"Retry-After": str(after)})
