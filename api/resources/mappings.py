"""Mappings: each test point with the chosen functions that admit it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flask import Response, g, send_file, url_for
from sqlalchemy.orm import Session

from api.engine import export_project, make_mapping
from api.http import (
    CSV,
    ETAG,
    JSON,
    LINK,
    LOCATION,
    SQLITE,
    Room,
    csv_reply,
    database,
    decode_cursor,
    encode_cursor,
    etag,
    if_match,
    listing,
    not_modified,
    records_page,
)
from api.schemas.fits import NamePatch
from api.schemas.mappings import (
    MAPPING_EXAMPLE,
    MAPPING_REQUEST_EXAMPLE,
    POINT_EXAMPLE,
    MappingReply,
    MappingRequest,
    MappingsQuery,
    MappingsReply,
    PointsQuery,
    PointsReply,
)
from api.store.base import Database, NotReady, find, find_version
from api.store.mappings import (
    POINT_FIELDS,
    ItemFilter,
    Mapping,
    first_items,
    page_of_items,
    point_columns,
    point_dicts,
    stream_items,
)
from services.mapping import Items
from services.writers import csv_lines

room = Room(
    "mappings",
    prefix="/v1/mappings",
    description="Each test point with the chosen functions that admit it.",
)

FIRST = 100
"""Points that a record itself shows."""


def show(session: Session, mappings: Sequence[Mapping]) -> list[dict[str, Any]]:
    """Records with the first of their points."""
    pages = first_items(session, mappings, FIRST)
    return [
        mapping.as_dict()
        | {
            "points": {
                "items": point_dicts(pages[mapping.id].items, mapping.columns, mapping.functions),
                "next": encode_cursor(pages[mapping.id].next),
            }
        }
        for mapping in mappings
    ]


@room.route("", methods=["POST"])
@room.arguments(MappingRequest, example=MAPPING_REQUEST_EXAMPLE)
@room.problems(400, 409, 413, 415)
@room.response(201, MappingReply, example=MAPPING_EXAMPLE, headers=LOCATION | ETAG)
def create_mapping(body: dict[str, Any]) -> Any:
    """Map test points to the functions that a fit chose

    A point is admitted within max_deviation times tolerance_factor. The mapping is done in the
    request.
    """
    mapping = make_mapping(database(), body)
    with database().reading() as session:
        record = show(session, [mapping])[0]
    location = url_for("mappings.read_mapping", mapping_id=mapping.id)
    return record, {"Location": location, "ETag": etag(mapping.version)}


@room.route("", methods=["GET"])
@room.arguments(MappingsQuery, location="query")
@room.response(200, MappingsReply, example={"items": [MAPPING_EXAMPLE], "next": None}, headers=LINK)
def list_mappings(query: dict[str, Any]) -> Any:
    """List mappings"""
    with database().reading() as session:
        page = records_page(session, Mapping, query)
        return listing(page, show(session, page.items))


@room.route("/<mapping_id>", methods=["GET"])
@room.problems(404)
@room.conditional
@room.response(200, MappingReply, example=MAPPING_EXAMPLE, headers=ETAG)
def read_mapping(mapping_id: str) -> Any:
    """Read a mapping's record"""
    with database().reading() as session:
        mapping = find(session, Mapping, mapping_id)
        same = not_modified(mapping.version)
        return same or (show(session, [mapping])[0], {"ETag": etag(mapping.version)})


@room.route("/<mapping_id>", methods=["PATCH"])
@room.patches(NamePatch, {"name": "batch 7"})
@room.response(200, MappingReply, example=MAPPING_EXAMPLE, headers=ETAG)
def change_mapping(patch: dict[str, Any], mapping_id: str) -> Any:
    """Change the name of a mapping"""
    versions = if_match(required=True)
    with database().writing() as session:
        mapping = find_version(session, Mapping, mapping_id, versions)
        mapping.name = patch.get("name", mapping.name)
        session.flush()
        return show(session, [mapping])[0], {"ETag": etag(mapping.version)}


@room.route("/<mapping_id>", methods=["DELETE"])
@room.deletes
@room.response(204)
def delete_mapping(mapping_id: str) -> Any:
    """Delete a mapping"""
    with database().writing() as session:
        session.delete(find_version(session, Mapping, mapping_id, if_match(required=False)))
    return Response(status=204)


@room.route("/<mapping_id>/points", methods=["GET"])
@room.arguments(PointsQuery, location="query")
@room.offers(JSON, CSV)
@room.problems(404)
@room.response(200, {"type": "string"}, content_type=CSV, example="point,column,...\n0,y,...\n")
@room.response(200, PointsReply, example={"items": [POINT_EXAMPLE], "next": None}, headers=LINK)
def list_points(query: dict[str, Any], mapping_id: str) -> Any:
    """List the points of a mapping

    By test row, column, training curve. CSV holds all from `cursor` on, unless `limit` is
    given.
    """
    cursor = decode_cursor(query["cursor"], int)
    limit, after = query["limit"], cursor[0] if cursor else -1
    with database().reading() as session:
        mapping = find(session, Mapping, mapping_id)
        wanted = _filter(mapping, query)
        if g.media == CSV and limit is None:
            return csv_reply(point_rows(database(), mapping, wanted, after), "points")
        page = page_of_items(session, mapping, wanted, after, limit or FIRST)
    if g.media == JSON:
        return listing(page, point_dicts(page.items, mapping.columns, mapping.functions))
    lines = _point_lines(page.items, mapping, header=True)
    return csv_reply(lines, "points", listing(page, [])[1])


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


def point_rows(
    database: Database, mapping: Mapping, wanted: ItemFilter, after: int = -1
) -> Iterator[bytes]:
    """All points from behind `after` on, as CSV, a block at a time."""
    yield from csv_lines(POINT_FIELDS, [[] for _ in POINT_FIELDS])
    with database.reading() as session:
        for _, items in stream_items(session, mapping, wanted, after):
            yield from _point_lines(items, mapping, header=False)


def _point_lines(items: Items, mapping: Mapping, *, header: bool) -> Iterator[bytes]:
    columns = point_columns(items, mapping.columns, mapping.functions)
    return csv_lines(POINT_FIELDS, list(columns.values()), header=header)


@room.route("/<mapping_id>/cancel", methods=["POST"])
@room.problems(404, 409)
@room.response(202, MappingReply, example=MAPPING_EXAMPLE)
def cancel_mapping(mapping_id: str) -> Any:
    """Cancel a mapping

    409 when it has ended; a mapping done in its request always has.
    """
    with database().reading() as session:
        mapping = find(session, Mapping, mapping_id)
    raise NotReady(f"The mapping has {mapping.state}; there is nothing to cancel.")


@room.route("/<mapping_id>/export", methods=["GET"])
@room.offers(SQLITE)
@room.problems(404)
@room.response(200, {"type": "string", "format": "binary"}, content_type=SQLITE)
def export_mapping(mapping_id: str) -> Any:
    """Export training, library, test and mapped points as a SQLite file

    The tables are training_data, ideal_functions, test_data and mapped_test_data.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "project.db"
        export_project(database(), mapping_id, path)
        # The open file outlives its name, so nothing is left behind.
        stream = path.open("rb")
    name = f"mapping-{mapping_id}.db"
    return send_file(stream, mimetype=SQLITE, as_attachment=True, download_name=name)
