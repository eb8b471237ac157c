"""Words of fits and matches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, get_args

import marshmallow as ma
from marshmallow import fields

from api.limits import limits_in_force
from api.schemas.base import (
    MOST_FACTS,
    NO_NUL,
    Choice,
    Digits,
    Given,
    Moment,
    ProblemReply,
    Real,
    RecordsQuery,
    Reply,
    Request,
    RowsQuery,
    Whole,
    Words,
    name_field,
    next_field,
)
from services.choices import AlignmentKind, Criterion, MatchWarning, Outside, Sign, Transform
from services.tables import NAME_LENGTH

MOST_RANK = 2**31 - 1
"""Ranks that the database can hold; fits keep those that they were made with."""

MATCH_EXAMPLE = {
    "training": "y1",
    "training_index": 0,
    "rank": 1,
    "ideal": "y42",
    "ideal_index": 41,
    "score": 34.2466,
    "sse": 34.2466,
    "rmse": 0.2926,
    "mae": 0.2549,
    "max_deviation": 0.495968,
    "r2": 0.99984,
    "n": 400,
    "scale": 1.0,
    "offset": 0.0,
    "correlation": 0.99992,
    "cosine": 0.99993,
    "margin": 0.99867,
    "warnings": [],
}

LISTED_MATCH_EXAMPLE = MATCH_EXAMPLE | {"ideal_attributes": {"CAS": "64-17-5"}}

FIT_REQUEST_EXAMPLE = {
    "training_id": "0b5f3c5e8d1f4c56a7a90e7f4a1d2c3b",
    "ideal_id": "5d8e1c0a2b3f4d5e8f7a6b5c4d3e2f10",
    "criterion": "sse",
}

FIT_EXAMPLE = {
    "id": "c3f1a2b4d5e6478890a1b2c3d4e5f607",
    "name": "train / library",
    "training_id": "0b5f3c5e8d1f4c56a7a90e7f4a1d2c3b",
    "ideal_id": "5d8e1c0a2b3f4d5e8f7a6b5c4d3e2f10",
    "criterion": "sse",
    "transform": "none",
    "sign": "any",
    "alignment": "exact",
    "x_tolerance": 1e-07,
    "outside": "reject",
    "min_overlap": 1.0,
    "top_k": 1,
    "training_curves": None,
    "ideal_curves": None,
    "training_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "ideal_sha256": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
    "n_training": 4,
    "n_ideal": 50,
    "state": "succeeded",
    "progress": {"done": 50, "total": 50},
    "error": None,
    "engine": "numpy",
    "created_at": "2026-11-22T09:00:00.000000Z",
    "started_at": "2026-11-22T09:00:00.000000Z",
    "finished_at": "2026-11-22T09:00:00.010000Z",
    "version": 1,
    "matches": {"items": [MATCH_EXAMPLE], "next": None},
}

FIT_ITEM_EXAMPLE = {name: value for name, value in FIT_EXAMPLE.items() if name != "matches"}


def id_field(what: str) -> Words:
    """Make the field of the id of another record."""
    return Words(64, shortest=1, required=True, metadata={"description": f"Id of the {what}."})


class CurveNames(fields.Field[list[str]]):
    """Names of curves, each once, read at once."""

    def __init__(self, what: str) -> None:
        metadata = {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {
                "type": "string",
                "minLength": 1,
                "maxLength": NAME_LENGTH,
                "pattern": NO_NUL,
            },
            "description": f"Only these {what}; the order is the dataset's.",
        }
        super().__init__(load_default=None, allow_none=True, metadata=metadata)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        if not isinstance(value, list) or not value:
            raise ma.ValidationError("Not an array of names.")
        if len(value) > (most := limits_in_force().curves):
            raise ma.ValidationError(f"There are {len(value)} names; a dataset has {most} curves.")
        if set(map(type, value)) == {str} and len(set(value)) == len(value):
            lengths = set(map(len, value))
            if 0 not in lengths and max(lengths) <= NAME_LENGTH and "\0" not in "".join(value):
                return value
        raise ma.ValidationError(dict(islice(_wrong_names(value), MOST_FACTS)))


def _wrong_names(names: list[Any]) -> Iterator[tuple[int, Any]]:
    """Yield the position of each name that is none or stands twice, and what is wrong."""
    one, seen = Words(NAME_LENGTH, shortest=1), set()
    for position, name in enumerate(names):
        try:
            one.deserialize(name)
        except ma.ValidationError as error:
            yield position, error.messages
            continue
        if name in seen:
            yield position, ["The name stands twice."]
        seen.add(name)


def criterion_field(**kwargs: Any) -> Choice:
    """Make the field of the figure that ranks library curves."""
    return Choice(*get_args(Criterion), named="Criterion", **kwargs)


def transform_field(**kwargs: Any) -> Choice:
    """Make the field of the family that a library curve stands for."""
    return Choice(*get_args(Transform), named="Transform", **kwargs)


def sign_field(**kwargs: Any) -> Choice:
    """Make the field of the scales that a transform may fit."""
    return Choice(*get_args(Sign), named="Sign", **kwargs)


def alignment_field(**kwargs: Any) -> Choice:
    """Make the field of the way in which a library curve is read at another x."""
    return Choice(*get_args(AlignmentKind), named="Alignment", **kwargs)


def outside_field(**kwargs: Any) -> Choice:
    """Make the field of the treatment of x that the library does not cover."""
    return Choice(*get_args(Outside), named="Outside", **kwargs)


def state_field(**kwargs: Any) -> Choice:
    """Make the field of the state of a job."""
    words = ("queued", "running", "succeeded", "failed", "cancelled")
    return Choice(*words, named="JobState", **kwargs)


class FitRequest(Request):
    """What to fit, and how."""

    training_id = id_field("dataset of training curves")
    ideal_id = id_field("dataset that is the library")
    name = name_field(load_default=None, allow_none=True)
    criterion = criterion_field(load_default="sse")
    transform = transform_field(load_default="none")
    sign = sign_field(load_default="any")
    alignment = alignment_field(load_default="exact")
    x_tolerance = Real(load_default=None, allow_none=True, metadata={"minimum": 0})
    outside = outside_field(load_default="reject")
    min_overlap = Real(load_default=1.0, metadata={"exclusiveMinimum": 0, "maximum": 1})
    top_k = Whole(1, "top_k", load_default=1)
    training_curves = CurveNames("training curves")
    ideal_curves = CurveNames("library curves")


class NamePatch(Request):
    """A merge patch of the name."""

    name = name_field()


class ProgressReply(Reply):
    """How far a job is."""

    done = fields.Integer(required=True)
    total = fields.Integer(required=True)


class MatchReply(Reply):
    """One library curve in the ranking of one training curve."""

    training = fields.String(required=True)
    training_index = fields.Integer(required=True)
    rank = fields.Integer(required=True)
    ideal = fields.String(required=True)
    ideal_index = fields.Integer(required=True)
    score = fields.Float(required=True)
    sse = fields.Float(required=True, allow_none=True)
    rmse = fields.Float(required=True, allow_none=True)
    mae = fields.Float(required=True, allow_none=True)
    max_deviation = fields.Float(required=True, allow_none=True)
    r2 = fields.Float(required=True, allow_none=True)
    n = fields.Integer(required=True)
    scale = fields.Float(required=True)
    offset = fields.Float(required=True)
    correlation = fields.Float(required=True, allow_none=True)
    cosine = fields.Float(required=True, allow_none=True)
    margin = fields.Float(required=True, allow_none=True)
    warnings = fields.List(
        Choice(*get_args(MatchWarning), named="MatchWarning"), required=True, allow_none=True
    )


class MatchesReply(Reply):
    """A page of matches."""

    items = Given(MatchReply, many=True, required=True)
    next = next_field()


class ListedMatchReply(MatchReply):
    """A match with the attributes that its library curve has now."""

    ideal_attributes = fields.Dict(required=True)


class ListedMatchesReply(Reply):
    """A page of matches, with the attributes of their library curves."""

    items = Given(ListedMatchReply, many=True, required=True)
    next = next_field()


class JobReply(Reply):
    """What fits and mappings have in common."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    state = state_field(required=True)
    progress = fields.Nested(ProgressReply, required=True)
    error = Given(ProblemReply, required=True, allow_none=True)
    created_at = Moment(required=True)
    started_at = Moment(required=True, allow_none=True)
    finished_at = Moment(required=True, allow_none=True)
    version = fields.Integer(required=True)


class FitItem(JobReply):
    """A fit's record as lists show it."""

    training_id = fields.String(required=True)
    ideal_id = fields.String(required=True)
    criterion = criterion_field(required=True)
    transform = transform_field(required=True)
    sign = sign_field(required=True)
    alignment = alignment_field(required=True)
    x_tolerance = fields.Float(required=True, allow_none=True)
    outside = outside_field(required=True)
    min_overlap = fields.Float(required=True)
    top_k = fields.Integer(required=True)
    training_curves = fields.List(fields.String(), required=True, allow_none=True)
    ideal_curves = fields.List(fields.String(), required=True, allow_none=True)
    training_sha256 = fields.String(required=True)
    ideal_sha256 = fields.String(required=True)
    n_training = fields.Integer(required=True)
    n_ideal = fields.Integer(required=True)
    engine = fields.String(required=True)


class FitReply(FitItem):
    """A fit's record."""

    matches = Given(MatchesReply, required=True)


class FitsReply(Reply):
    """A page of fits."""

    items = fields.List(fields.Nested(FitItem), required=True)
    next = next_field()


class JobsQuery(RecordsQuery):
    """Part of a list of jobs."""

    state = state_field()


class FitsQuery(JobsQuery):
    """Part of the list of fits."""

    training_id = Words(64)
    ideal_id = Words(64)


class MatchesQuery(RowsQuery):
    """Part of the matches of a fit."""

    training = Words(NAME_LENGTH, load_default=None)
    rank = Digits(1, MOST_RANK, load_default=None)
