"""Fits: for each training curve the library curves that fit it best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from flask import Response, current_app, g, url_for
from sqlalchemy.orm import Session

from api.engine import FunctionCache, assign_points, fields_of, make_fit, map_options
from api.errors import Problem
from api.http import (
    CSV,
    ETAG,
    JSON,
    LINK,
    LOCATION,
    Room,
    csv_reply,
    database,
    decode_cursor,
    encode_cursor,
    etag,
    if_match,
    limits,
    listing,
    not_modified,
    records_page,
)
from api.schemas.fits import (
    FIT_EXAMPLE,
    FIT_REQUEST_EXAMPLE,
    MATCH_EXAMPLE,
    FitReply,
    FitRequest,
    FitsQuery,
    FitsReply,
    MatchesQuery,
    MatchesReply,
    NamePatch,
)
from api.schemas.mappings import OUTCOME_EXAMPLE, EvaluateRequest, OutcomeReply
from api.store.base import Database, InUse, NotReady, find, find_version
from api.store.fits import (
    MATCH_FIELDS,
    Fit,
    FitMatch,
    first_matches,
    match_dict,
    page_of_matches,
)
from api.store.mappings import point_dicts, users_of_fit
from services.errors import Fact
from services.tables import Table
from services.writers import csv_lines

room = Room(
    "fits",
    prefix="/v1/fits",
    description="For each training curve, the library curves that fit it best.",
)

CSV_ROWS = 1000
"""Matches read at once for a CSV reply."""

FIRST = 100
"""Matches and points that a record itself shows."""


def show(session: Session, fits: list[Fit]) -> list[dict[str, Any]]:
    """Records with the first of their matches."""
    pages = first_matches(session, fits, FIRST)
    return [
        fit.as_dict()
        | {
            "matches": {
                "items": [match_dict(match) for match in pages[fit.id].items],
                "next": encode_cursor(pages[fit.id].next),
            }
        }
        for fit in fits
    ]


@room.route("", methods=["POST"])
@room.arguments(FitRequest, example=FIT_REQUEST_EXAMPLE)
@room.problems(400, 409, 413, 415)
@room.response(201, FitReply, example=FIT_EXAMPLE, headers=LOCATION | ETAG)
def create_fit(body: dict[str, Any]) -> Any:
    """Fit training curves to a library

    The mathematics is in docs/method.md. The fit is done in the request.
    """
    fit = make_fit(database(), body)
    with database().reading() as session:
        record = show(session, [fit])[0]
    location = url_for("fits.read_fit", fit_id=fit.id)
    return record, {"Location": location, "ETag": etag(fit.version)}


@room.route("", methods=["GET"])
@room.arguments(FitsQuery, location="query")
@room.response(200, FitsReply, example={"items": [FIT_EXAMPLE], "next": None}, headers=LINK)
def list_fits(query: dict[str, Any]) -> Any:
    """List fits"""
    with database().reading() as session:
        page = records_page(session, Fit, query)
        return listing(page, show(session, list(page.items)))


@room.route("/<fit_id>", methods=["GET"])
@room.problems(404)
@room.conditional
@room.response(200, FitReply, example=FIT_EXAMPLE, headers=ETAG)
def read_fit(fit_id: str) -> Any:
    """Read a fit's record"""
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
        return not_modified(fit.version) or (show(session, [fit])[0], {"ETag": etag(fit.version)})


@room.route("/<fit_id>", methods=["PATCH"])
@room.patches(NamePatch, {"name": "batch 7"})
@room.response(200, FitReply, example=FIT_EXAMPLE, headers=ETAG)
def change_fit(patch: dict[str, Any], fit_id: str) -> Any:
    """Change the name of a fit"""
    versions = if_match(required=True)
    with database().writing() as session:
        fit = find_version(session, Fit, fit_id, versions)
        fit.name = patch.get("name", fit.name)
        session.flush()
        return show(session, [fit])[0], {"ETag": etag(fit.version)}


@room.route("/<fit_id>", methods=["DELETE"])
@room.deletes
@room.response(204)
def delete_fit(fit_id: str) -> Any:
    """Delete a fit

    409 while a mapping uses it.
    """
    with database().writing() as session:
        fit = find_version(session, Fit, fit_id, if_match(required=False))
        users = [f"/v1/mappings/{mapping}" for mapping in users_of_fit(session, fit_id)]
        if users:
            raise InUse(f"The fit is used by {', '.join(users)}; delete these first.")
        session.delete(fit)
    _functions().forget(fit_id)
    return Response(status=204)


def _functions() -> FunctionCache:
    return cast("FunctionCache", current_app.extensions["idealfit.functions"])


@room.route("/<fit_id>/matches", methods=["GET"])
@room.arguments(MatchesQuery, location="query")
@room.offers(JSON, CSV)
@room.problems(404)
@room.response(200, {"type": "string"}, content_type=CSV, example="training,...\ny1,...\n")
@room.response(200, MatchesReply, example={"items": [MATCH_EXAMPLE], "next": None}, headers=LINK)
def list_matches(query: dict[str, Any], fit_id: str) -> Any:
    """List the matches of a fit

    By training curve, then rank. CSV holds all from `cursor` on, unless `limit` is given.
    """
    cursor = decode_cursor(query.pop("cursor"), int)
    limit, after = query.pop("limit"), cursor[0] if cursor else -1
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
        if g.media == CSV and limit is None:
            return csv_reply(_match_rows(database(), fit, query, after), "matches")
        page = page_of_matches(session, fit, query, after=after, limit=limit or FIRST)
    if g.media == JSON:
        return listing(page, [match_dict(match) for match in page.items])
    return csv_reply(_match_lines(page.items, header=True), "matches", listing(page, [])[1])


def _match_rows(
    database: Database, fit: Fit, filters: dict[str, Any], after: int
) -> Iterator[bytes]:
    """All matches from behind `after` on, as CSV, a page at a time."""
    header, last = True, after
    with database.reading() as session:
        while header or last >= 0:
            page = page_of_matches(session, fit, filters, after=last, limit=CSV_ROWS)
            yield from _match_lines(page.items, header=header)
            header, last = False, page.next[0] if page.next else -1


def _match_lines(matches: Sequence[FitMatch], *, header: bool) -> Iterator[bytes]:
    columns = [[getattr(match, name) for match in matches] for name in MATCH_FIELDS]
    return csv_lines(MATCH_FIELDS, columns, header=header)


@room.route("/<fit_id>/cancel", methods=["POST"])
@room.problems(404, 409)
@room.response(202, FitReply, example=FIT_EXAMPLE)
def cancel_fit(fit_id: str) -> Any:
    """Cancel a fit

    409 when it has ended; a fit done in its request always has.
    """
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
    raise NotReady(f"The fit has {fit.state}; there is nothing to cancel.")


@room.route("/<fit_id>/evaluate", methods=["POST"])
@room.arguments(EvaluateRequest, example={"x": [17.5, 0.3], "y": [34.16, 1.2]})
@room.problems(400, 404, 409, 413, 415)
@room.response(200, OutcomeReply, example=OUTCOME_EXAMPLE)
def evaluate_fit(body: dict[str, Any], fit_id: str) -> Any:
    """Map points at once

    The answer of a mapping, with nothing stored.
    """
    x, y = body["x"], body["y"]
    if x.size != y.size or not x.size:
        detail = f"x has {x.size} numbers and y {y.size}; send as many of both, and at least one."
        raise Problem(422, detail, [Fact(detail, "ragged", pointer="/y")])
    fit, functions = _functions().get(fit_id)
    options = map_options(body, fit, functions.grid)
    _refuse_many(x.size * len(functions.matches))
    found: list[Any] = []
    outcome = assign_points(Table(x, y[None], ("y",)), functions, options, found.append)
    items = [point for batch in found for point in point_dicts(batch, ["y"], outcome.functions)]
    return fields_of(options) | fields_of(outcome) | {"points": {"items": items, "next": None}}


def _refuse_many(cells: int) -> None:
    most = limits().json_values
    if cells > most:
        raise Problem(413, f"Points times functions may be {most} here; post a mapping instead.")
