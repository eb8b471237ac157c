"""Mappings: each test point with the chosen functions that admit it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from flask import Response, g
from sqlalchemy.orm import Session

from api.http import jobs
from api.http.blueprint import StrictBlueprint
from api.http.downloads import asks_for_text, offers_tables, rows_reply
from api.http.media import JSON, SQLITE
from api.http.negotiation import make_etag, make_not_modified, read_if_match
from api.http.openapi_headers import ETAG, LINK
from api.http.paging import decode_cursor, encode_cursor, make_listing, read_records_page
from api.jobs.kinds import MAPPINGS
from api.resources import exports
from api.running import database
from api.schemas.fits import NamePatch
from api.schemas.mappings import (
    MAPPING_EXAMPLE,
    MAPPING_ITEM_EXAMPLE,
    MAPPING_REQUEST_EXAMPLE,
    POINT_EXAMPLE,
    MappingReply,
    MappingRequest,
    MappingsQuery,
    MappingsReply,
    PointsQuery,
    PointsReply,
)
from api.store.base import Database, find, find_version
from api.store.mappings import (
    ItemFilter,
    Mapping,
    make_point_dicts,
    read_first_items,
    read_page_of_items,
    send_items,
)
from services.export.batches import POINTS, PointBatches

blueprint = StrictBlueprint(
    "mappings",
    prefix="/v1/mappings",
    description="Each test point with the chosen functions that admit it.",
)

FIRST = 100
"""Points that a record itself shows."""


def show(session: Session, mappings: Sequence[Mapping]) -> list[dict[str, Any]]:
    """Write records with the first of their points."""
    return [jobs.write_columns(mapping) | _first_points(session, mapping) for mapping in mappings]


def _first_points(session: Session, mapping: Mapping) -> dict[str, Any]:
    page = read_first_items(session, mapping, FIRST)
    items = make_point_dicts(page.items.tolist(), mapping.columns, mapping.functions)
    return {"points": {"items": items, "next": encode_cursor(page.next)}}


@blueprint.route("", methods=["POST"])
@blueprint.arguments(MappingRequest, example=MAPPING_REQUEST_EXAMPLE)
@blueprint.problems(400, 409, 413, 415)
@jobs.document_replies(blueprint, MappingReply, MAPPING_EXAMPLE)
def create_mapping(body: dict[str, Any]) -> Any:
    """Map test points to the functions that a fit chose

    A point is admitted within max_deviation times tolerance_factor. A small mapping is done in
    the request; a large one is queued, and its record says how far it is.
    """
    return jobs.create(MAPPINGS, body, show, "mappings")


@blueprint.route("", methods=["GET"])
@blueprint.arguments(MappingsQuery, location="query")
@blueprint.response(
    200, MappingsReply, example={"items": [MAPPING_ITEM_EXAMPLE], "next": None}, headers=LINK
)
def list_mappings(query: dict[str, Any]) -> Any:
    """List mappings

    Without their functions and points, which the record of each shows.
    """
    with database().reading() as session:
        page = read_records_page(session, Mapping, query)
    return make_listing(page, page.items)


@blueprint.route("/<mapping_id>", methods=["GET"])
@blueprint.problems(404)
@blueprint.conditional
@blueprint.response(200, MappingReply, example=MAPPING_EXAMPLE, headers=ETAG)
def read_mapping(mapping_id: str) -> Any:
    """Read a mapping's record"""
    with database().reading() as session:
        mapping = find(session, Mapping, mapping_id)
        same = make_not_modified(mapping.version)
        return same or (show(session, [mapping])[0], {"ETag": make_etag(mapping.version)})


@blueprint.route("/<mapping_id>", methods=["PATCH"])
@blueprint.patches(NamePatch, {"name": "batch 7"})
@blueprint.response(200, MappingReply, example=MAPPING_EXAMPLE, headers=ETAG)
def change_mapping(patch: dict[str, Any], mapping_id: str) -> Any:
    """Change the name of a mapping"""
    versions = read_if_match(required=True)
    with database().writing() as session:
        mapping = find_version(session, Mapping, mapping_id, versions)
        mapping.name = patch.get("name", mapping.name)
        session.flush()
        return show(session, [mapping])[0], {"ETag": make_etag(mapping.version)}


@blueprint.route("/<mapping_id>", methods=["DELETE"])
@blueprint.deletes
@blueprint.response(204)
def delete_mapping(mapping_id: str) -> Any:
    """Delete a mapping

    One that has not ended is cancelled.
    """
    with database().writing() as session:
        session.delete(find_version(session, Mapping, mapping_id, read_if_match(required=False)))
    return Response(status=204)


@blueprint.route("/<mapping_id>/points", methods=["GET"])
@blueprint.arguments(PointsQuery, location="query")
@offers_tables(blueprint, "point,column,...\n0,y,...\n")
@blueprint.problems(404)
@blueprint.response(
    200, PointsReply, example={"items": [POINT_EXAMPLE], "next": None}, headers=LINK
)
def list_points(query: dict[str, Any], mapping_id: str) -> Any:
    """List the points of a mapping

    By test row, column, training curve. A file holds all from `cursor` on, unless `limit` is
    given.
    """
    cursor = decode_cursor(query["cursor"], int)
    limit, after = query["limit"], cursor[0] if cursor else -1
    as_text = asks_for_text(query["cells"])
    with database().reading() as session:
        mapping = find(session, Mapping, mapping_id)
        wanted = _filter(mapping, query)
        if g.media != JSON and limit is None:
            batches = point_batches(database(), mapping, wanted, after)
            return rows_reply(POINTS, batches, _stem(mapping), as_text=as_text)
        page = read_page_of_items(session, mapping, wanted, after, limit or FIRST)
    if g.media == JSON:
        return make_listing(
            page, make_point_dicts(page.items.tolist(), mapping.columns, mapping.functions)
        )
    batch = PointBatches(mapping.columns, mapping.functions).batch(page.items)
    return rows_reply(POINTS, [batch], _stem(mapping), make_listing(page, [])[1], as_text=as_text)


def _stem(mapping: Mapping) -> str:
    return f"{mapping.name} points"


def _filter(mapping: Mapping, query: dict[str, Any]) -> ItemFilter:
    status, ideal, training = query["status"], query["ideal"], query["training"]
    functions = None
    if ideal is not None or training is not None:
        functions = [
            position
            for position, function in enumerate(mapping.functions)
            if ideal in (None, function["ideal"]) and training in (None, function["training"])
        ]
    return ItemFilter(None if status is None else status == "mapped", functions)


def point_batches(
    database: Database, mapping: Mapping, wanted: ItemFilter, after: int = -1
) -> Iterator[pa.RecordBatch]:
    """Yield all points after position `after`."""
    batches = PointBatches(mapping.columns, mapping.functions)
    yield from map(batches.batch, send_items(database, mapping, wanted, after))


@blueprint.route("/<mapping_id>/cancel", methods=["POST"])
@blueprint.problems(404, 409)
@blueprint.response(202, MappingReply, example=MAPPING_EXAMPLE | jobs.CANCELLED, headers=ETAG)
def cancel_mapping(mapping_id: str) -> Any:
    """Cancel a mapping

    409 when it has ended; a mapping done in its request always has.
    """
    return jobs.stop(Mapping, mapping_id, show)


@blueprint.route("/<mapping_id>/export", methods=["GET"])
@blueprint.offers(SQLITE)
@blueprint.problems(404, 409, 503, 507)
@blueprint.response(200, {"type": "string", "format": "binary"}, content_type=SQLITE)
def export_mapping(mapping_id: str) -> Any:
    """Export training, library, test and mapped points as a SQLite file

    The tables are training_data, ideal_functions, test_data and mapped_test_data. A large export
    is made once by a worker: 503 with `Retry-After` until it is there.
    """
    return exports.send_export(mapping_id)
