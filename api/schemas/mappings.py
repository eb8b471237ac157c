"""Words of mappings and points."""

from __future__ import annotations

import math
from typing import Any, get_args

from marshmallow import fields

from api.schemas.base import (
    Choice,
    Given,
    Numbers,
    Real,
    Reply,
    Request,
    RowsQuery,
    Words,
    name_field,
    next_field,
)
from api.schemas.fits import JobReply, JobsQuery, alignment_field, id_field
from services.choices import Policy, Reason
from services.tables import NAME_LENGTH

POINT_EXAMPLE = {
    "point": 0,
    "column": "y",
    "x": 17.5,
    "y": 34.16104,
    "training": "y2",
    "ideal": "y41",
    "deviation": 0.351,
    "limit": 0.7038583,
    "reason": None,
}

OUTCOME_EXAMPLE = {
    "policy": "all",
    "tolerance_factor": math.sqrt(2),
    "alignment": "exact",
    "x_tolerance": 1e-07,
    "n_points": 1,
    "mapped_points": 1,
    "unmapped_points": 0,
    "n_assignments": 1,
    "unmapped_reasons": {"deviation": 0, "x_not_covered": 0, "missing_value": 0},
    "functions": [
        {
            "training": "y2",
            "ideal": "y41",
            "limit": 0.7038583,
            "n_assignments": 1,
            "deviation_mean": 0.351,
            "deviation_max": 0.351,
        }
    ],
    "points": {"items": [POINT_EXAMPLE], "next": None},
}

MAPPING_REQUEST_EXAMPLE = {
    "fit_id": "c3f1a2b4d5e6478890a1b2c3d4e5f607",
    "test_id": "7a6b5c4d3e2f105d8e1c0a2b3f4d5e8f",
    "policy": "all",
}

MAPPING_EXAMPLE = {
    "id": "e5f607c3f1a2b4d5e6478890a1b2c3d4",
    "name": "test / train / library",
    "fit_id": "c3f1a2b4d5e6478890a1b2c3d4e5f607",
    "test_id": "7a6b5c4d3e2f105d8e1c0a2b3f4d5e8f",
    "state": "succeeded",
    "progress": {"done": 1, "total": 1},
    "error": None,
    "created_at": "2026-11-22T09:00:00.000000Z",
    "started_at": "2026-11-22T09:00:00.000000Z",
    "finished_at": "2026-11-22T09:00:00.010000Z",
    "version": 1,
    **OUTCOME_EXAMPLE,
}

MAPPING_ITEM_EXAMPLE = {
    name: value for name, value in MAPPING_EXAMPLE.items() if name not in {"functions", "points"}
}


def policy_field(**kwargs: Any) -> Choice:
    """Make the field of the choice among the functions that admit a point."""
    return Choice(*get_args(Policy), named="Policy", **kwargs)


class MapFields(Request):
    """How to admit points."""

    policy = policy_field(load_default="all")
    tolerance_factor = Real(
        load_default=math.sqrt(2),
        metadata={"minimum": 0, "description": "Times the fit's max_deviation is the limit."},
    )
    alignment = alignment_field(
        load_default=None,
        allow_none=True,
        metadata={"description": "Default: as the fit."},
    )
    x_tolerance = Real(
        load_default=None,
        allow_none=True,
        metadata={"minimum": 0, "description": "Default: as the fit."},
    )


class MappingRequest(MapFields):
    """What to map, with which fit, and how."""

    fit_id = id_field("fit")
    test_id = id_field("dataset of test points")
    name = name_field(load_default=None, allow_none=True)


class EvaluateRequest(MapFields):
    """Points to map at once; x and y are of equal length and may hold null."""

    x = Numbers(required=True, metadata={"minItems": 1})
    y = Numbers(required=True, metadata={"minItems": 1})


class ReasonsReply(Reply):
    """Unmapped points by reason."""

    deviation = fields.Integer(required=True)
    x_not_covered = fields.Integer(required=True)
    missing_value = fields.Integer(required=True)


class FunctionReply(Reply):
    """A chosen function and what it admitted."""

    training = fields.String(required=True)
    ideal = fields.String(required=True)
    limit = fields.Float(
        required=True, allow_none=True, metadata={"description": "null: beyond float64, no limit."}
    )
    n_assignments = fields.Integer(required=True)
    deviation_mean = fields.Float(required=True, allow_none=True)
    deviation_max = fields.Float(required=True, allow_none=True)


class PointReply(Reply):
    """One assignment, or one point that got none."""

    point = fields.Integer(required=True, metadata={"description": "Row in the test dataset."})
    column = fields.String(required=True)
    x = fields.Float(required=True, allow_none=True)
    y = fields.Float(required=True, allow_none=True)
    training = fields.String(required=True, allow_none=True)
    ideal = fields.String(required=True, allow_none=True)
    deviation = fields.Float(required=True, allow_none=True)
    limit = fields.Float(required=True, allow_none=True)
    reason = Choice(
        *get_args(Reason),
        named="UnmappedReason",
        required=True,
        allow_none=True,
    )


class PointsReply(Reply):
    """A page of points."""

    items = Given(PointReply, many=True, required=True)
    next = next_field()


class CountsReply(Reply):
    """How many points a mapping mapped, and with which options."""

    policy = policy_field(required=True)
    tolerance_factor = fields.Float(required=True)
    alignment = alignment_field(required=True)
    x_tolerance = fields.Float(required=True, allow_none=True)
    n_points = fields.Integer(required=True)
    mapped_points = fields.Integer(required=True)
    unmapped_points = fields.Integer(required=True)
    n_assignments = fields.Integer(required=True)
    unmapped_reasons = Given(ReasonsReply, required=True)


class OutcomeReply(CountsReply):
    """What a mapping found, and with which options."""

    functions = Given(FunctionReply, many=True, required=True)
    points = Given(PointsReply, required=True)


class MappingItem(JobReply, CountsReply):
    """A mapping's record as lists show it."""

    fit_id = fields.String(required=True)
    test_id = fields.String(required=True)


class MappingReply(MappingItem, OutcomeReply):
    """A mapping's record."""


class MappingsReply(Reply):
    """A page of mappings."""

    items = fields.List(fields.Nested(MappingItem), required=True)
    next = next_field()


class MappingsQuery(JobsQuery):
    """Part of the list of mappings."""

    fit_id = Words(64)
    test_id = Words(64)


class PointsQuery(RowsQuery):
    """Part of the points of a mapping."""

    status = Choice("mapped", "unmapped", named="PointStatus", load_default=None)
    ideal = Words(NAME_LENGTH, load_default=None)
    training = Words(NAME_LENGTH, load_default=None)
