"""The service itself: its limits and its health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from api.errors import RETRY_SECONDS, Problem
from api.http.blueprint import StrictBlueprint
from api.limits import limits_in_force
from api.running import database
from api.schemas.service import LIMITS_EXAMPLE, HealthReply, LimitsReply
from api.store.migrate import is_current

blueprint = StrictBlueprint("service", prefix="", description="Limits and health of this service.")


@blueprint.route("/v1/limits", methods=["GET"])
@blueprint.response(200, LimitsReply, example=LIMITS_EXAMPLE)
def read_limits() -> Any:
    """Read the limits in force"""
    return asdict(limits_in_force())


@blueprint.route("/health/live", methods=["GET"])
@blueprint.response(200, HealthReply, example={"status": "ok"})
def check_live() -> Any:
    """Tell whether the process answers"""
    return {"status": "ok"}


@blueprint.route("/health/ready", methods=["GET"])
@blueprint.problems(503)
@blueprint.response(200, HealthReply, example={"status": "ok"})
def check_ready() -> Any:
    """Tell whether requests can be served

    503 with the reason when the database cannot be reached or is not migrated.
    """
    if not is_current(database()):
        detail = "The database is not migrated; run idealfit migrate."
        raise Problem(503, detail, headers={"Retry-After": str(RETRY_SECONDS)})
    return {"status": "ok"}
