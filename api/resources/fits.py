"""Fits: for each training curve the library curves that fit it best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from flask import Response, g, url_for
from sqlalchemy.orm import Session

from api.http import jobs
from api.http.blueprint import StrictBlueprint
from api.http.downloads import asks_for_text, offers_tables, rows_reply
from api.http.media import JSON
from api.http.negotiation import make_etag, make_not_modified, read_if_match
from api.http.openapi_headers import ETAG, LINK
from api.http.paging import decode_cursor, encode_cursor, make_listing, read_records_page
from api.jobs.kinds import FITS
from api.jobs.mappings import map_options
from api.limits import limits_in_force
from api.resources import evaluations
from api.running import database, running
from api.schemas.fits import (
    FIT_EXAMPLE,
    FIT_ITEM_EXAMPLE,
    FIT_REQUEST_EXAMPLE,
    LISTED_MATCH_EXAMPLE,
    FitReply,
    FitRequest,
    FitsQuery,
    FitsReply,
    ListedMatchesReply,
    MatchesQuery,
    NamePatch,
)
from api.schemas.mappings import OUTCOME_EXAMPLE, EvaluateRequest, OutcomeReply
from api.store.base import Database, InUse, find, find_version
from api.store.fits import (
    MATCH_FIELDS,
    Fit,
    MatchFields,
    match_dict,
    read_first_matches,
    read_page_of_matches,
    send_matches,
)
from api.store.labels import NO_LABEL, read_labels
from api.store.mappings import find_mappings_of_fit
from services.export.batches import LISTED_MATCHES, matches_batch

blueprint = StrictBlueprint(
    "fits",
    prefix="/v1/fits",
    description="For each training curve, the library curves that fit it best.",
)

IDEAL_INDEX = MATCH_FIELDS.index("ideal_index")
"""Place of the position of the library curve among the fields of a match."""

FIRST = 100
"""Matches and points that a record itself shows."""


def show(session: Session, fits: list[Fit]) -> list[dict[str, Any]]:
    """Write records with the first of their matches."""
    pages = read_first_matches(session, fits, FIRST)
    return [
        jobs.write_columns(fit)
        | {
            "matches": {
                "items": [match_dict(match) for match in pages[fit.id].items],
                "next": encode_cursor(pages[fit.id].next),
            }
        }
        for fit in fits
    ]


@blueprint.route("", methods=["POST"])
@blueprint.arguments(FitRequest, example=FIT_REQUEST_EXAMPLE)
@blueprint.problems(400, 409, 413, 415)
@jobs.document_replies(blueprint, FitReply, FIT_EXAMPLE)
def create_fit(body: dict[str, Any]) -> Any:
    """Fit training curves to a library

    The mathematics is in docs/method.md. A small fit is done in the request; a large one is
    queued, and its record says how far it is.
    """
    return jobs.create(FITS, body, show, "fits")


@blueprint.route("", methods=["GET"])
@blueprint.arguments(FitsQuery, location="query")
@blueprint.response(
    200, FitsReply, example={"items": [FIT_ITEM_EXAMPLE], "next": None}, headers=LINK
)
def list_fits(query: dict[str, Any]) -> Any:
    """List fits

    Without their matches, which the record of each shows.
    """
    with database().reading() as session:
        page = read_records_page(session, Fit, query)
    return make_listing(page, page.items)


@blueprint.route("/<fit_id>", methods=["GET"])
@blueprint.problems(404)
@blueprint.conditional
@blueprint.response(200, FitReply, example=FIT_EXAMPLE, headers=ETAG)
def read_fit(fit_id: str) -> Any:
    """Read a fit's record"""
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
        return make_not_modified(fit.version) or (
            show(session, [fit])[0],
            {"ETag": make_etag(fit.version)},
        )


@blueprint.route("/<fit_id>", methods=["PATCH"])
@blueprint.patches(NamePatch, {"name": "batch 7"})
@blueprint.response(200, FitReply, example=FIT_EXAMPLE, headers=ETAG)
def change_fit(patch: dict[str, Any], fit_id: str) -> Any:
    """Change the name of a fit"""
    versions = read_if_match(required=True)
    with database().writing() as session:
        fit = find_version(session, Fit, fit_id, versions)
        fit.name = patch.get("name", fit.name)
        session.flush()
        return show(session, [fit])[0], {"ETag": make_etag(fit.version)}


@blueprint.route("/<fit_id>", methods=["DELETE"])
@blueprint.deletes
@blueprint.response(204)
def delete_fit(fit_id: str) -> Any:
    """Delete a fit

    One that has not ended is cancelled. 409 while a mapping uses it.
    """
    with database().writing() as session:
        fit = find_version(session, Fit, fit_id, read_if_match(required=False))
        users = [
            url_for("mappings.read_mapping", mapping_id=mapping)
            for mapping in find_mappings_of_fit(session, fit_id)
        ]
        if users:
            raise InUse(f"The fit is used by {', '.join(users)}; delete these first.")
        session.delete(fit)
    running().functions.forget(fit_id)
    return Response(status=204)


@blueprint.route("/<fit_id>/matches", methods=["GET"])
@blueprint.arguments(MatchesQuery, location="query")
@offers_tables(blueprint, "training,...\ny1,...\n")
@blueprint.problems(404)
@blueprint.response(
    200,
    ListedMatchesReply,
    example={"items": [LISTED_MATCH_EXAMPLE], "next": None},
    headers=LINK,
)
def list_matches(query: dict[str, Any], fit_id: str) -> Any:
    """List the matches of a fit

    By training curve, then rank. `ideal_attributes` are the attributes that the library curve has
    now; in a file they are JSON text. A file holds all from `cursor` on, unless `limit` is given.
    """
    cursor = decode_cursor(query.pop("cursor"), int)
    limit, after = query.pop("limit"), cursor[0] if cursor else -1
    as_text = asks_for_text(query.pop("cells"))
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
        if g.media != JSON and limit is None:
            batches = _batches(database(), fit, query, after)
            return rows_reply(LISTED_MATCHES, batches, _stem(fit), as_text=as_text)
        page = read_page_of_matches(session, fit, query, after=after, limit=limit or FIRST)
        attributes = _read_attributes(session, fit, page.items)
    if g.media == JSON:
        return make_listing(page, list(map(_show_match, page.items, attributes)))
    batch = matches_batch(page.items, attributes)
    next_page = make_listing(page, [])[1]
    return rows_reply(LISTED_MATCHES, [batch], _stem(fit), next_page, as_text=as_text)


def _show_match(match: MatchFields, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return match_dict(match) | {"ideal_attributes": attributes}


def _read_attributes(
    session: Session, fit: Fit, matches: Sequence[MatchFields]
) -> list[Mapping[str, Any]]:
    """Return the attributes that the library curve of each match has now."""
    indices = [match[IDEAL_INDEX] for match in matches]
    labels = read_labels(session, fit.ideal_id, set(indices))
    return [labels.get(index, NO_LABEL).attributes for index in indices]


def _stem(fit: Fit) -> str:
    return f"{fit.name} matches"


def _batches(
    database: Database, fit: Fit, filters: dict[str, Any], after: int
) -> Iterator[pa.RecordBatch]:
    """Yield all matches after position `after`."""
    for matches in send_matches(database, fit, filters, after):
        with database.reading() as session:
            attributes = _read_attributes(session, fit, matches)
        yield matches_batch(matches, attributes)


@blueprint.route("/<fit_id>/cancel", methods=["POST"])
@blueprint.problems(404, 409)
@blueprint.response(202, FitReply, example=FIT_EXAMPLE | jobs.CANCELLED, headers=ETAG)
def cancel_fit(fit_id: str) -> Any:
    """Cancel a fit

    409 when it has ended; a fit done in its request always has.
    """
    return jobs.stop(Fit, fit_id, show)


@blueprint.route("/<fit_id>/evaluate", methods=["POST"])
@offers_tables(blueprint, "point,column,...\n0,y,...\n")
@blueprint.arguments(
    EvaluateRequest, read=evaluations.read_points, example={"x": [17.5, 0.3], "y": [34.16, 1.2]}
)
@blueprint.problems(400, 404, 409, 413, 415)
@blueprint.response(200, OutcomeReply, example=OUTCOME_EXAMPLE)
def evaluate_fit(body: dict[str, Any], fit_id: str) -> Any:
    """Map points at once

    The answer of a mapping, with nothing stored. A file has its points alone, as those of a
    mapping. The limits `points` and `reply_bytes` bound it, the latter as if it were JSON; beyond
    them post a mapping.
    """
    limits = limits_in_force()
    test = evaluations.check_points(body, limits)
    fit, functions = running().functions.get(fit_id)
    options = map_options(body, fit, functions.grid.x)
    if g.media != JSON:
        stem = f"{fit.name} points"
        return evaluations.answer_with_file(test, functions, options, limits, stem)
    return evaluations.answer(test, functions, options, limits)
