"""The service itself: its limits and its health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from marshmallow import fields

from api.config import Limits
from api.errors import RETRY_SECONDS, Problem
from api.http.room import Room
from api.inforce import limits
from api.running import database
from api.schemas.base import Reply
from api.store.migrate import is_current

room = Room("service", prefix="", description="Limits and health of this service.")


class LimitsReply(Reply):
    """What one request may ask for."""

    body_bytes = fields.Integer(required=True)
    json_body_bytes = fields.Integer(required=True)
    unpacked_bytes = fields.Integer(required=True)
    expansion = fields.Integer(
        required=True, metadata={"description": "How many times larger a file may become."}
    )
    sheet_bytes = fields.Integer(required=True)
    columns = fields.Integer(required=True)
    curves = fields.Integer(
        required=True, metadata={"description": "Curves of a file with one curve a row."}
    )
    rows = fields.Integer(required=True)
    json_values = fields.Integer(
        required=True, metadata={"description": "Numbers in one JSON reply."}
    )
    points = fields.Integer(required=True, metadata={"description": "Points of one evaluation."})
    reply_bytes = fields.Integer(
        required=True, metadata={"description": "Bytes that the reply of one evaluation may take."}
    )
    name_length = fields.Integer(required=True)
    top_k = fields.Integer(required=True)
    matches = fields.Integer(required=True, metadata={"description": "Matches of one fit."})
    page = fields.Integer(required=True)
    json_depth = fields.Integer(required=True)
    json_arrays = fields.Integer(
        required=True, metadata={"description": "Arrays and objects in one JSON body."}
    )
    json_texts = fields.Integer(
        required=True, metadata={"description": "Names and texts in one JSON body."}
    )
    form_parts = fields.Integer(required=True)
    form_text_bytes = fields.Integer(required=True)
    header_seconds = fields.Integer(required=True)
    body_stall_seconds = fields.Integer(required=True)
    slow_seconds = fields.Integer(required=True)
    body_bytes_per_second = fields.Integer(required=True)
    reply_bytes_per_second = fields.Integer(required=True)
    drain_seconds = fields.Integer(required=True)
    read_memory_bytes = fields.Integer(required=True)
    read_seconds = fields.Integer(required=True)


class HealthReply(Reply):
    """Whether the service can work."""

    status = fields.String(required=True)


LIMITS_EXAMPLE = asdict(Limits())


@room.route("/v1/limits", methods=["GET"])
@room.response(200, LimitsReply, example=LIMITS_EXAMPLE)
def read_limits() -> Any:
    """Read the limits in force"""
    return asdict(limits())


@room.route("/health/live", methods=["GET"])
@room.response(200, HealthReply, example={"status": "ok"})
def check_live() -> Any:
    """Tell whether the process answers"""
    return {"status": "ok"}


@room.route("/health/ready", methods=["GET"])
@room.problems(503)
@room.response(200, HealthReply, example={"status": "ok"})
def check_ready() -> Any:
    """Tell whether requests can be served

    503 with the reason when the database cannot be reached or is not migrated.
    """
    if not is_current(database()):
        detail = "The database is not migrated; run idealfit migrate."
        raise Problem(503, detail, headers={"Retry-After": str(RETRY_SECONDS)})
    return {"status": "ok"}
