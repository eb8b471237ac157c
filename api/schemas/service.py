"""Limits and health of the service."""

from __future__ import annotations

import dataclasses

from marshmallow import fields

from api.limits import Limits
from api.schemas.base import Reply

LIMITS_EXAMPLE = dataclasses.asdict(Limits())

LimitsReply = Reply.from_dict(
    {
        limit.name: fields.Integer(
            required=True, metadata={"description": limit.metadata["description"]}
        )
        for limit in dataclasses.fields(Limits)
    },
    name="LimitsReply",
)
"""The limits in force."""


class HealthReply(Reply):
    """Whether the service can work."""

    status = fields.String(required=True)
